"""Agreement measures on real vectors of the teacher and on distortions of them."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from asterisk.core.errors import UserError
from asterisk.evaluation.agreement import Agreement, compare_vectors
from asterisk.teachers.encoder import SentenceTransformerTeacher


@pytest.fixture(scope="module")
def texts(sentences: list[str]) -> list[str]:
    return sentences[::6]


@pytest.fixture(scope="module")
def token_ids(texts: list[str], teacher: SentenceTransformerTeacher) -> list[list[int]]:
    assert teacher.tokenizer is not None
    return teacher.tokenizer(texts)["input_ids"]


@pytest.fixture(scope="module")
def vectors(texts: list[str], teacher: SentenceTransformerTeacher) -> np.ndarray:
    return teacher.encode(texts)[0]


@pytest.fixture(scope="module")
def noisy(vectors: np.ndarray) -> np.ndarray:
    """A student in the teacher's space: each vector is half signal and half noise."""
    noise = np.random.default_rng(0).normal(size=vectors.shape).astype(np.float32)
    return vectors + noise / np.linalg.norm(noise, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def measured(noisy: np.ndarray, vectors: np.ndarray, texts: list[str], token_ids: list[list[int]]) -> Agreement:
    return compare_vectors(noisy, vectors, texts, token_ids, np.eye(vectors.shape[1], dtype=np.float32))


def test_a_model_agrees_with_itself(vectors: np.ndarray, texts: list[str], token_ids: list[list[int]]) -> None:
    itself = compare_vectors(vectors * 3, vectors, texts, token_ids, np.eye(vectors.shape[1]))
    assert itself.cosines is not None
    assert itself.cosines.mean == pytest.approx(1, abs=1e-5)
    assert itself.similarity_spearman == pytest.approx(1, abs=1e-5)
    assert itself.neighbour_overlap > 0.999
    assert itself.uniformity["student"] == pytest.approx(itself.uniformity["teacher"], abs=1e-5)


def test_numbers_are_those_of_their_definitions(measured: Agreement, noisy: np.ndarray, vectors: np.ndarray) -> None:
    student = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
    cosines = (student * vectors).sum(axis=1)
    assert measured.cosines is not None
    assert measured.cosines.mean == pytest.approx(cosines.mean(), abs=1e-5)
    assert measured.cosines.percentiles["p5"] == pytest.approx(np.percentile(cosines, 5), abs=1e-5)
    # Over all pairs; the report samples them.
    similarities = (vectors @ vectors.T)[np.triu_indices(len(vectors), k=1)]
    assert measured.anisotropy["teacher"] == pytest.approx(similarities.mean(), abs=0.003)
    uniformity = np.log(np.exp(-2 * (2 - 2 * similarities)).mean())
    assert measured.uniformity["teacher"] == pytest.approx(uniformity, abs=0.02)
    overlaps = []
    for row in range(len(vectors)):
        tops = [set(np.argsort(-np.delete(part @ part[row], row))[:10]) for part in (student, vectors)]
        overlaps.append(len(tops[0] & tops[1]) / 10)
    assert measured.neighbour_overlap == pytest.approx(np.mean(overlaps), abs=1e-4)


def test_each_text_is_in_exactly_one_band(measured: Agreement, texts: list[str]) -> None:
    for bands in (measured.by_length, measured.by_rarity):
        assert sum(band.texts for band in bands) == len(texts)
    assert [band.name for band in measured.by_rarity] == ["commonest", "common", "rare", "rarest"]
    assert measured.by_length[0].name == "1–8"


def test_a_rotated_student_is_mapped_back_into_its_teachers_space(
    noisy: np.ndarray, vectors: np.ndarray, texts: list[str], token_ids: list[list[int]], measured: Agreement
) -> None:
    rotation = ortho_group.rvs(vectors.shape[1], random_state=0).astype(np.float32)
    rotated = compare_vectors(noisy @ rotation, vectors, texts, token_ids)
    assert rotated.cosines is not None
    assert measured.cosines is not None
    # The map is fitted on other texts than it is applied to, so it underestimates the agreement.
    assert 0.3 < rotated.cosines.mean < measured.cosines.mean
    # Spearman's correlation does not depend on the space.
    assert rotated.similarity_spearman == pytest.approx(measured.similarity_spearman, abs=1e-4)


def test_too_few_texts_for_a_map_give_a_reason_instead_of_a_cosine(
    noisy: np.ndarray, vectors: np.ndarray, texts: list[str], token_ids: list[list[int]]
) -> None:
    few = compare_vectors(noisy[:100], vectors[:100], texts[:100], token_ids[:100])
    assert few.cosines is None
    assert "768 texts" in few.cosine_space
    assert few.differing_texts == []
    assert few.by_length[0].neighbour_overlap > 0


def test_a_corrupted_text_is_listed_first(vectors: np.ndarray, texts: list[str], token_ids: list[list[int]]) -> None:
    corrupted = vectors.copy()
    corrupted[7] = -corrupted[7]
    found = compare_vectors(corrupted, vectors, texts, token_ids, np.eye(vectors.shape[1]))
    assert found.differing_texts[0].text == texts[7]
    assert found.differing_texts[0].tokens == len(token_ids[7])
    assert texts[7] in (found.differing_pairs[0].first, found.differing_pairs[0].second)


def test_invalid_vectors_are_refused(vectors: np.ndarray, texts: list[str], token_ids: list[list[int]]) -> None:
    broken = vectors.copy()
    broken[3, 5] = np.nan
    with pytest.raises(UserError, match="student's vector of text 3"):
        compare_vectors(broken, vectors, texts, token_ids)
    with pytest.raises(UserError, match="at least 12"):
        compare_vectors(vectors[:5], vectors[:5], texts[:5], token_ids[:5])
    with pytest.raises(UserError, match="teacher's vectors have shape"):
        compare_vectors(vectors, vectors[:9], texts, token_ids)
    with pytest.raises(UserError, match="projection has shape"):
        compare_vectors(vectors, vectors, texts, token_ids, np.eye(3))
