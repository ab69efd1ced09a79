"""A head trained on embeddings that were computed before: seconds, since the backbone takes no part in it."""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from asterisk.core.errors import UserError
from asterisk.core.progress import progress_bar
from asterisk.heads.arguments import HeadSettings
from asterisk.heads.losses import Loss
from asterisk.models.parameter_groups import parameter_groups

# Embeddings of which the development loss is computed at a time.
EVALUATION_ROWS = 65_536
MAX_GRADIENT_NORM = 1.0


@dataclass
class Examples:
    """Embeddings (texts, dimensions) and labels, as [`asterisk.data.labels.label_array`] gives them."""

    embeddings: torch.Tensor
    labels: torch.Tensor


def train_on_embeddings(
    head: nn.Module, train: Examples, development: Examples | None, loss: Loss, arguments: HeadSettings, seed: int
) -> tuple[list[float], int]:
    """Trains a head, as the Trainer would: AdamW, warm-up, linear decay, and early stopping if there is development.

    Args:
        head: Ends with the weights of the lowest development loss, or of the last pass.
        train: What it learns from.
        development: What says when to stop.
        loss: Of logits and labels, a mean.
        arguments: As `resolve_arguments` gives them.
        seed: Of the order.

    Returns:
        The development loss after each pass, and the number of passes.

    Raises:
        UserError: The weights are not finite any more.
    """
    epochs, size = arguments.num_epochs, arguments.batch_size
    rows, device = len(train.labels), next(head.parameters()).device
    train = Examples(train.embeddings.to(device), train.labels.to(device))
    groups = parameter_groups(head.parameters(), arguments.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=arguments.learning_rate, fused=True)
    steps = epochs * -(-rows // size)
    warmup = max(1, round(arguments.warmup_ratio * steps))
    schedule = LambdaLR(optimizer, lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup)))
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    best, done = None, 0
    with progress_bar("Training", "passes", total=epochs) as progress:
        for _ in range(epochs):
            head.train()
            for batch in torch.randperm(rows, generator=generator).to(device).split(size):
                optimizer.zero_grad()
                loss(head(train.embeddings[batch]), train.labels[batch]).backward()
                nn.utils.clip_grad_norm_(head.parameters(), MAX_GRADIENT_NORM)
                optimizer.step()
                schedule.step()
            done += 1
            progress.update(1)
            if not all(torch.isfinite(weight).all() for weight in head.parameters()):
                raise UserError("Training broke off at weights that are not finite; give a lower --learning_rate.")
            if development is None:
                continue
            losses.append(mean_loss(head, development, loss))
            if losses[-1] == min(losses):
                best = copy.deepcopy(head.state_dict())
            elif len(losses) - 1 - losses.index(min(losses)) >= arguments.patience:
                break
    if best is not None:
        head.load_state_dict(best)
    return losses, done


@torch.inference_mode()
def mean_loss(head: nn.Module, examples: Examples, loss: Loss) -> float:
    """The mean loss over examples."""
    head.eval()
    device = next(head.parameters()).device
    parts = zip(examples.embeddings.split(EVALUATION_ROWS), examples.labels.split(EVALUATION_ROWS), strict=True)
    total = sum(loss(head(x.to(device)), y.to(device)).item() * len(y) for x, y in parts)
    return total / len(examples.labels)
