"""The losses, each with its paper. All take embeddings of unit length: (batch, dimensions), float32."""

from collections.abc import Sequence

import torch
from torch.nn import functional


def cosine_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """1 − cosine, mean over the batch: a part of Asterisk*'s objective (Semenov 2024, arXiv 2411.05691)."""
    return 1 - functional.cosine_similarity(student, teacher, dim=-1).mean()


def mse_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean squared error over batch and dimensions.

    The other part of Asterisk*'s objective (Semenov 2024, arXiv 2411.05691): 0.7 · cosine + 0.3 · this gives its
    published losses. Alone, and to a teacher reduced by PCA, it is HPD's (arXiv 2203.07687).
    """
    return functional.mse_loss(student, teacher)


def similarity_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean squared difference between the cosines of all pairs in the batch: Jasper and Stella (arXiv 2412.19048).

    The two may differ in their number of dimensions: the teacher needs no projection here.
    """
    difference = student @ student.T - teacher @ teacher.T
    pairs = len(student) * (len(student) - 1)
    # The diagonal is zero but for rounding.
    return difference.square().sum() / max(1, pairs)


def contrastive_loss(
    anchors: torch.Tensor,
    candidates: torch.Tensor,
    temperature: float,
    excluded: torch.Tensor | None = None,
) -> torch.Tensor:
    """In-batch InfoNCE: anchor i should find candidate i among all (SimCSE, Gao et al. 2021, arXiv 2104.08821).

    Without labels, as in DistilFACE (arXiv 2401.12472), both are the same sentences, seen through different dropout
    masks. With labels, the candidates are the positives, followed by hard negatives, if any.

    Args:
        anchors: (batch, dimensions).
        candidates: (at least batch, dimensions); the first `batch` rows are the anchors' positives, in their order.
        temperature: Divides the cosines.
        excluded: (batch, candidates), true where a candidate is no negative of an anchor.
    """
    logits = anchors @ candidates.T / temperature
    if excluded is not None:
        logits = logits.masked_fill(excluded, float("-inf"))
    return functional.cross_entropy(logits, torch.arange(len(anchors), device=anchors.device))


def false_negatives(anchors: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """Candidates that the teacher finds closer to an anchor than its positive (GISTEmbed, arXiv 2402.16829).

    Args:
        anchors: The teacher's vectors: (batch, dimensions).
        candidates: The teacher's vectors of the positives, in order, and of any further candidates.

    Returns:
        (batch, candidates), boolean; never true for an anchor's own positive.
    """
    cosines = anchors @ candidates.T
    excluded = cosines > cosines.diagonal().unsqueeze(1)
    excluded.fill_diagonal_(False)
    return excluded


def ranking_loss(
    first: torch.Tensor, second: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Pairs that people found closer should have the larger cosine: CoSENT (Su 2022, kexue.fm/archives/8847).

    log(1 + sum of exp((cosine of pair j - cosine of pair i) / temperature)) over all i, j of one group where pair i
    has the higher score.

    Args:
        first: (pairs, dimensions).
        second: (pairs, dimensions).
        scores: (pairs,), on any scale of which only the order counts.
        groups: (pairs,), int64: pairs of different groups, with scales of their own, are not compared.
        temperature: Divides the differences; CoSENT's is 0.05.
    """
    cosines = (first * second).sum(dim=-1) / temperature
    compared = (scores[:, None] > scores[None, :]) & (groups[:, None] == groups[None, :])
    differences = (cosines[None, :] - cosines[:, None])[compared]
    return torch.logsumexp(torch.cat([differences.new_zeros(1), differences]), dim=0)


def truncations(
    student: torch.Tensor, target: torch.Tensor, dimensions: Sequence[int]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The first so many dimensions of both, scaled to unit length again: Matryoshka (arXiv 2205.13147).

    Args:
        student: (batch, dimensions).
        target: What the student should be, in the same dimensions, the weightiest first.
        dimensions: Each a number of dimensions to keep.
    """
    return [
        (functional.normalize(student[:, :kept], dim=-1), functional.normalize(target[:, :kept], dim=-1))
        for kept in dimensions
    ]
