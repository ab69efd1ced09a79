"""The losses and their papers. All embeddings are (batch, dimensions), float32, of unit length; losses are scalars."""

from collections.abc import Sequence

import torch
from torch.nn import functional


def cosine_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return 1 − cosine, averaged over the batch: one part of Asterisk*'s loss (Semenov 2024, arXiv 2411.05691)."""
    return 1 - functional.cosine_similarity(student, teacher, dim=-1).mean()


def mse_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error over batch and dimensions.

    This is the other part of Asterisk*'s loss (Semenov 2024, arXiv 2411.05691): 0.7 · cosine + 0.3 · MSE reproduces
    the published values. On its own, with the teacher's vectors reduced by PCA, it is HPD's loss (arXiv 2203.07687).
    """
    return functional.mse_loss(student, teacher)


def similarity_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of all pairwise cosines in the batch: Jasper and Stella (arXiv 2412.19048).

    Student and teacher may differ in dimensions, so the teacher needs no projection.
    """
    difference = student @ student.T - teacher @ teacher.T
    pairs = len(student) * (len(student) - 1)
    # The diagonal is zero up to rounding.
    return difference.square().sum() / max(1, pairs)


def relation_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the KL divergence from the student's to the teacher's distribution over the other texts of the batch.

    A text's distribution is the softmax of its cosines to the others (Luxical, 2025; RKD, Park et al. 2019,
    arXiv 1904.05068). Student and teacher may differ in dimensions.

    Args:
        student: (batch, dimensions).
        teacher: (batch, teacher's dimensions).
        temperature: Divides the cosines.
    """
    diagonal = torch.eye(len(student), dtype=torch.bool, device=student.device)
    learned, wanted = (
        functional.log_softmax((vectors @ vectors.T / temperature).masked_fill(diagonal, -1e9), dim=-1)
        for vectors in (student, teacher)
    )
    return functional.kl_div(learned, wanted, reduction="batchmean", log_target=True)


def label_contrast(embeddings: torch.Tensor, groups: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the supervised contrastive loss: texts of one group attract, all others repel (SupCon, arXiv 2004.11362).

    A text may be in several groups; two texts attract each other if they share one. A text in no group only repels.

    Args:
        embeddings: (batch, dimensions).
        groups: (batch, groups), boolean.
        temperature: Divides the cosines.
    """
    diagonal = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    logits = (embeddings @ embeddings.T / temperature).masked_fill(diagonal, -1e9)
    membership = groups.to(embeddings.dtype)
    positives = (membership @ membership.T > 0) & ~diagonal
    counts = positives.sum(dim=1)
    likelihoods = (functional.log_softmax(logits, dim=-1) * positives).sum(dim=1) / counts.clamp(min=1)
    return -likelihoods.sum() / (counts > 0).sum().clamp(min=1)


def contrastive_loss(
    anchors: torch.Tensor,
    candidates: torch.Tensor,
    temperature: float,
    excluded: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return in-batch InfoNCE: anchor i should find candidate i (SimCSE, Gao et al. 2021, arXiv 2104.08821).

    Without labels, anchors and candidates are the same sentences under different dropout masks, as in DistilFACE
    (arXiv 2401.12472). With labels, the candidates are the positives, followed by any hard negatives.

    Args:
        anchors: (batch, dimensions).
        candidates: (at least batch, dimensions); the first `batch` rows are the anchors' positives, in their order.
        temperature: Divides the cosines.
        excluded: (batch, candidates), boolean, true where a candidate is not a negative of the anchor.
    """
    logits = anchors @ candidates.T / temperature
    if excluded is not None:
        logits = logits.masked_fill(excluded, float("-inf"))
    return functional.cross_entropy(logits, torch.arange(len(anchors), device=anchors.device))


def false_negatives(anchors: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """Mark candidates that are closer to an anchor than its positive for the teacher (GISTEmbed, arXiv 2402.16829).

    Args:
        anchors: The teacher's vectors: (batch, dimensions).
        candidates: The teacher's vectors of the positives, in order, and of any further candidates.

    Returns:
        (batch, candidates), boolean; never true for the anchor's positive.
    """
    cosines = anchors @ candidates.T
    excluded = cosines > cosines.diagonal().unsqueeze(1)
    excluded.fill_diagonal_(False)
    return excluded


def ranking_loss(
    first: torch.Tensor, second: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the CoSENT loss: pairs with higher scores should have larger cosines (Su 2022, kexue.fm/archives/8847).

    It is log(1 + sum of exp((cosine of pair j - cosine of pair i) / temperature)), over all i, j of one group where
    pair i has the higher score.

    Args:
        first: (pairs, dimensions).
        second: (pairs, dimensions).
        scores: (pairs,), on any scale; only their order counts.
        groups: (pairs,), int64; pairs of different groups are not compared.
        temperature: Divides the differences; 0.05 in CoSENT.
    """
    cosines = (first * second).sum(dim=-1) / temperature
    compared = (scores[:, None] > scores[None, :]) & (groups[:, None] == groups[None, :])
    differences = (cosines[None, :] - cosines[:, None])[compared]
    return torch.logsumexp(torch.cat([differences.new_zeros(1), differences]), dim=0)


def truncations(
    student: torch.Tensor, target: torch.Tensor, dimensions: Sequence[int]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Truncate student and target to their first dimensions and renormalise: Matryoshka (arXiv 2205.13147).

    Args:
        student: (batch, dimensions).
        target: (batch, dimensions), the projected teacher vectors, the most important dimension first.
        dimensions: The numbers of dimensions to keep.

    Returns:
        A pair of student and target per entry of `dimensions`.
    """
    return [
        (functional.normalize(student[:, :size], dim=-1), functional.normalize(target[:, :size], dim=-1))
        for size in dimensions
    ]
