"""Training of a head on precomputed embeddings, which takes seconds, because the backbone does not run."""

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

EVALUATION_ROWS = 65_536
MAX_GRADIENT_NORM = 1.0


@dataclass
class Examples:
    """Embeddings (texts, dimensions), and labels from [`asterisk.data.labels.label_array`]."""

    embeddings: torch.Tensor
    labels: torch.Tensor


def train_on_embeddings(
    head: nn.Module, train: Examples, development: Examples | None, loss: Loss, settings: HeadSettings, seed: int
) -> tuple[list[float], int]:
    """Train a head in place, as the Trainer would: AdamW, linear warm-up and decay, and early stopping.

    The head ends with the weights of the lowest development loss or, without development texts, of the last pass.

    Args:
        head: Takes embeddings (texts, dimensions) and returns logits (texts, classes).
        train: The training examples.
        development: The development examples; without them, there is no early stopping.
        loss: The mean loss of logits and labels.
        settings: The arguments of the training.
        seed: Determines the order of the examples.

    Returns:
        The development loss after each pass, and the number of passes.

    Raises:
        UserError: A trained weight is not finite.
    """
    rows, device = len(train.labels), next(head.parameters()).device
    train = Examples(train.embeddings.to(device), train.labels.to(device))
    groups = parameter_groups(head.parameters(), settings.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
    steps = settings.num_epochs * -(-rows // settings.batch_size)
    warmup = max(1, round(settings.warmup_ratio * steps))
    schedule = LambdaLR(optimizer, lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup)))
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    best, passes = None, 0
    with progress_bar("Training", "passes", total=settings.num_epochs) as progress:
        while passes < settings.num_epochs:
            head.train()
            for batch in torch.randperm(rows, generator=generator).to(device).split(settings.batch_size):
                optimizer.zero_grad()
                loss(head(train.embeddings[batch]), train.labels[batch]).backward()
                nn.utils.clip_grad_norm_(head.parameters(), MAX_GRADIENT_NORM)
                optimizer.step()
                schedule.step()
            passes += 1
            progress.update(1)
            check_finite(head)
            if development is None:
                continue
            losses.append(mean_loss(head, development, loss))
            if losses[-1] == min(losses):
                best = copy.deepcopy(head.state_dict())
            elif len(losses) - 1 - losses.index(min(losses)) >= settings.patience:
                break
    if best is not None:
        head.load_state_dict(best)
    return losses, passes


@torch.inference_mode()
def mean_loss(head: nn.Module, examples: Examples, loss: Loss) -> float:
    """Return the mean loss over the examples, in evaluation mode."""
    head.eval()
    device = next(head.parameters()).device
    parts = zip(examples.embeddings.split(EVALUATION_ROWS), examples.labels.split(EVALUATION_ROWS), strict=True)
    total = sum(loss(head(vectors.to(device)), labels.to(device)).item() * len(labels) for vectors, labels in parts)
    return total / len(examples.labels)


def check_finite(model: nn.Module) -> None:
    """Raise a [`UserError`] if a trained weight is not finite."""
    if not all(torch.isfinite(weight).all() for weight in model.parameters()):
        raise UserError("Training stopped at weights that are not finite; give a lower --learning_rate.")
