"""Contrastive fine-tuning of a backbone before its head: texts of one label pulled together, others apart.

For few labelled texts, after SetFit (Tunstall et al. 2022, arXiv:2209.11055), but with the batch's supervised
contrastive loss (Khosla et al. 2020) in place of single pairs.
"""

from collections import defaultdict

import numpy as np
import torch

from asterisk.core.progress import progress_bar
from asterisk.heads.arguments import HeadArguments
from asterisk.heads.fine_tuning import parameter_groups
from asterisk.heads.losses import supervised_contrastive_loss
from asterisk.heads.token_rows import TokenizedRows, narrowed_table
from modeling_asterisk import AsteriskForSequenceClassification

PAIRS_OF_BATCH = 32
TEMPERATURE = 0.1


def contrast_labels(
    model: AsteriskForSequenceClassification, train: TokenizedRows, arguments: HeadArguments, seed: int
) -> None:
    """Trains the backbone for `arguments.contrastive_epochs` passes over pairs of texts of one label.

    Args:
        model: Its backbone learns, the lower the layer the slower; its head does not.
        train: Of single labels. Texts that are alone with theirs take no part.
        arguments: As `resolve_arguments` gives them; the learning rate falls to nothing.
        seed: Of the pairs.
    """
    generator = np.random.default_rng(seed)
    labels = train.labels.numpy()
    passes = [label_pairs(labels, generator) for _ in range(arguments.contrastive_epochs)]
    batches = [own[start : start + PAIRS_OF_BATCH] for own in passes for start in range(0, len(own), PAIRS_OF_BATCH)]
    with narrowed_table(model, train) as (rows,):
        groups = parameter_groups(model, arguments.learning_rate or 0, arguments.layer_decay, arguments.weight_decay)
        optimizer = torch.optim.AdamW(groups, fused=True)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, max(1, len(batches)))
        model.train()
        with progress_bar("Contrasting labels", "steps", total=len(batches)) as progress:
            for pairs in batches:
                batch = {
                    name: value.to(model.device) for name, value in rows.__getitems__(pairs.ravel().tolist()).items()
                }
                own = batch.pop("labels")
                loss = supervised_contrastive_loss(model.asterisk(**batch).pooler_output, own, TEMPERATURE)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                progress.update(1)


def label_pairs(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Pairs of rows of one label, (pairs, 2), in random order; each row is in one, but for those left over."""
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row in generator.permutation(len(labels)):
        rows_of[int(labels[row])].append(int(row))
    pairs = [own[start : start + 2] for own in rows_of.values() for start in range(0, len(own) - 1, 2)]
    return generator.permutation(np.array(pairs, np.int64).reshape(-1, 2), axis=0)
