"""Each objective is what its paper says, on numbers small enough to check by hand."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from asterisk.distillation.objectives import (
    contrastive_loss,
    cosine_loss,
    false_negatives,
    label_contrast,
    mse_loss,
    ranking_loss,
    relation_loss,
    similarity_loss,
    truncations,
)


@pytest.fixture
def two() -> tuple[torch.Tensor, torch.Tensor]:
    """A student's and a teacher's unit vectors: eight of sixteen dimensions each."""
    first, second = normalize(torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    return first, second


@pytest.mark.parametrize("objective", [cosine_loss, mse_loss, similarity_loss])
def test_is_zero_only_where_the_student_equals_the_teacher(objective: object, two: tuple) -> None:
    first, second = two
    assert objective(first, first).item() == pytest.approx(0, abs=1e-6)  # type: ignore[operator]
    assert objective(first, second) > 0.01  # type: ignore[operator]


def test_cosine_and_mse_differ_only_in_scale_between_unit_vectors(two: tuple) -> None:
    assert mse_loss(*two).item() == pytest.approx(cosine_loss(*two).item() * 2 / 16, rel=1e-5)


def test_the_papers_mixture_gives_its_published_losses() -> None:
    # arXiv 2411.05691: 0.7080 for an untrained student (cosine near 0), 0.2427 at cosine 0.65.
    for cosine, published in ((0.0, 0.7080), (0.65, 0.2427)):
        teacher = torch.zeros(1, 256)
        teacher[0, 0] = 1
        student = torch.zeros(1, 256)
        student[0, 0], student[0, 1] = cosine, math.sqrt(1 - cosine**2)
        loss = 0.7 * cosine_loss(student, teacher) + 0.3 * mse_loss(student, teacher)
        assert loss.item() == pytest.approx(published, abs=0.01)


def test_similarity_ignores_rotations_and_dimensions(two: tuple) -> None:
    student, teacher = two
    rotation, _ = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(1)))
    wider = torch.cat([teacher @ rotation, torch.zeros(8, 5)], dim=1)
    assert similarity_loss(student, wider).item() == pytest.approx(similarity_loss(student, teacher).item(), rel=1e-4)


def test_relation_is_zero_where_the_similarities_are_equal(two: tuple) -> None:
    student, teacher = two
    rotation, _ = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(1)))
    wider = torch.cat([student @ rotation, torch.zeros(8, 5)], dim=1)
    assert relation_loss(student, wider, 0.05).item() == pytest.approx(0, abs=1e-4)
    assert relation_loss(student, teacher, 0.05) > 0.1


def test_relation_is_the_divergence_over_the_other_texts() -> None:
    # Cosines of the first text to the two others: student 1 and 0, teacher 0 and 0.
    student = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    teacher = torch.eye(3)
    first = 0.5 * math.log(0.5 / (math.e / (math.e + 1))) + 0.5 * math.log(0.5 / (1 / (math.e + 1)))
    # The second text sees the same; the third sees two cosines of 0, as the teacher does.
    assert relation_loss(student, teacher, 1.0).item() == pytest.approx(2 * first / 3, rel=1e-5)


def test_label_contrast_pulls_a_group_together_and_pushes_texts_of_no_group_away() -> None:
    embeddings = torch.tensor([[1.0, 0], [0, 1], [1, 0]])
    # Texts 0 and 1 are a group; text 2 is in none, so it is a negative of both.
    groups = torch.tensor([[True], [True], [False]])
    first = -math.log(1 / (1 + math.e))
    second = -math.log(1 / 2)
    assert label_contrast(embeddings, groups, 1.0).item() == pytest.approx((first + second) / 2, rel=1e-5)
    closer = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    assert label_contrast(closer, groups, 1.0) < label_contrast(embeddings, groups, 1.0)


def test_label_contrast_of_texts_that_share_no_group_is_zero() -> None:
    embeddings = torch.eye(2, requires_grad=True)
    loss = label_contrast(embeddings, torch.tensor([[True, False], [False, True]]), 0.1)
    loss.backward()
    assert loss.item() == 0
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()


def test_contrast_is_the_cross_entropy_of_finding_ones_own() -> None:
    anchors = torch.eye(3)
    assert contrastive_loss(anchors, anchors, 1.0).item() == pytest.approx(-math.log(math.e / (math.e + 2)))
    # A hard negative that equals an anchor costs as much as another positive would.
    with_negative = torch.cat([anchors, anchors[:1]])
    first, others = -math.log(math.e / (2 * math.e + 2)), -math.log(math.e / (math.e + 3))
    assert contrastive_loss(anchors, with_negative, 1.0).item() == pytest.approx((first + 2 * others) / 3)
    excluded = torch.tensor([[False, False, False, True]] * 3)
    assert contrastive_loss(anchors, with_negative, 1.0, excluded).item() == pytest.approx(
        contrastive_loss(anchors, anchors, 1.0).item()
    )


def test_candidates_closer_than_the_positive_are_no_negatives() -> None:
    anchors = normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), dim=-1)
    candidates = normalize(torch.tensor([[1.0, 0.5], [0.2, 1.0], [1.0, 0.1]]), dim=-1)
    assert false_negatives(anchors, candidates).tolist() == [[False, False, True], [False, False, False]]


def test_truncations_are_of_unit_length(two: tuple) -> None:
    first, second = two
    for (student, target), kept in zip(truncations(first, second, [16, 4]), [16, 4], strict=True):
        assert student.shape == target.shape == (8, kept)
        torch.testing.assert_close(student.norm(dim=1), torch.ones(8))
        torch.testing.assert_close(target, normalize(second[:, :kept], dim=-1))


def test_order_costs_what_cosent_costs_and_groups_are_apart(two: tuple) -> None:
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss

    first, second = two
    scores = torch.tensor([0.0, 1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 1.0])
    ours = ranking_loss(first, second, scores, torch.zeros(8, dtype=torch.long), 0.05)
    theirs = CoSENTLoss(None, scale=20.0)  # type: ignore[arg-type]
    torch.testing.assert_close(ours, theirs.compute_loss_from_embeddings([first, second], scores))
    apart = ranking_loss(first, second, scores, torch.arange(8), 0.05)
    assert apart.item() == 0
