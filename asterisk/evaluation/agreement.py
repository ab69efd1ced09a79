"""How alike a student and its teacher embed text that neither was trained on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from asterisk.core.errors import UserError

# Of more texts a sample is taken: all their similarities, for the nearest neighbours, take seconds.
MAX_TEXTS = 10_000
# Enough for the third digit of a Spearman correlation.
SAMPLED_PAIRS = 50_000
NEIGHBOURS = 10
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
LENGTHS = (8, 16, 32, 64, 128)
LISTED = 20
SHOWN_PAIRS = 1_000
ROWS_AT_A_TIME = 1_024


@dataclass
class Histogram:
    """Counts of values between `edges`, of which there is one more."""

    edges: list[float]
    counts: list[int]


@dataclass
class Cosines:
    """Cosines between the student's and the teacher's vector of the same text, both in one space."""

    mean: float
    percentiles: dict[str, float]
    histogram: Histogram


@dataclass
class Band:
    """Agreement on the texts of one range of lengths or rarities; cosines are None where there are none."""

    name: str
    texts: int
    cosine: float | None
    cosine_p5: float | None
    cosine_p95: float | None
    neighbour_overlap: float


@dataclass
class DifferingText:
    """A text that student and teacher embed differently, and what each finds most similar to it."""

    text: str
    tokens: int
    cosine: float
    student_nearest: str
    teacher_nearest: str


@dataclass
class DifferingPair:
    """Two texts, and the cosine that each model gives them."""

    first: str
    second: str
    student: float
    teacher: float


@dataclass
class Agreement:
    """What [`agreement`] measured; `dataclasses.asdict` makes it JSON.

    `uniformity`, `anisotropy` and `similarities` (histograms of the sampled pairs' cosines) have a `student` and a
    `teacher`. `random_pairs` and `near_pairs` are samples to draw: the student's and the teacher's cosine of pairs.
    """

    texts: int
    student_dimensions: int
    teacher_dimensions: int
    cosines: Cosines | None
    cosine_space: str
    sampled_pairs: int
    similarity_spearman: float
    neighbours: int
    neighbour_overlap: float
    uniformity: dict[str, float]
    anisotropy: dict[str, float]
    similarities: dict[str, Histogram]
    by_length: list[Band]
    by_rarity: list[Band]
    differing_texts: list[DifferingText]
    differing_pairs: list[DifferingPair]
    random_pairs: list[tuple[float, float]]
    near_pairs: list[tuple[float, float]]


def agreement(
    student_vectors: np.ndarray,
    teacher_vectors: np.ndarray,
    texts: Sequence[str],
    token_ids: Sequence[Sequence[int]],
    projection: np.ndarray | None = None,
    seed: int = 0,
) -> Agreement:
    """Compares the vectors of two models on texts that neither was trained on.

    Similarities are cosines. Uniformity is log E exp(-2 |x - y|²) over random pairs of unit vectors, lower is more
    uniform (Wang and Isola 2020, arXiv 2005.10242, with its t = 2); anisotropy is the mean cosine of random pairs
    (Ethayarajh 2019, arXiv 1909.00512). Rarity is the mean inverse document frequency, in bits, of a text's tokens,
    counted on these texts; its bands are quarters of the texts.

    Args:
        student_vectors: (texts, student's dimensions), of any length above zero.
        teacher_vectors: (texts, teacher's dimensions), likewise.
        texts: At least 12; of more than `MAX_TEXTS`, that many are drawn.
        token_ids: The tokens of each text, for length and rarity; the student's, or any tokenizer's.
        projection: (teacher's dimensions, student's dimensions): the map that the student was trained towards; the
            identity for a student in its teacher's own space. Without it, the orthogonal map that fits best
            (Schönemann 1966) is taken from each half of the texts for the other half, if there are enough of them.
        seed: Of every draw.

    Raises:
        UserError: There are too few texts, or a vector is missing or not finite.
    """
    student, teacher = _units(student_vectors, len(texts), "student"), _units(teacher_vectors, len(texts), "teacher")
    if len(texts) < NEIGHBOURS + 2:
        raise UserError(f"Agreement needs at least {NEIGHBOURS + 2} texts, but there are {len(texts)}.")
    if len(token_ids) != len(texts):
        raise ValueError(f"{len(texts)} texts, but tokens of {len(token_ids)}")
    generator = np.random.default_rng(seed)
    if len(texts) > MAX_TEXTS:
        rows = np.sort(generator.permutation(len(texts))[:MAX_TEXTS])
        student, teacher = student[rows], teacher[rows]
        texts, token_ids = [texts[row] for row in rows], [token_ids[row] for row in rows]

    cosines, space = _cosines(student, teacher, projection, generator)
    overlap, student_nearest, teacher_nearest = _neighbours(student, teacher)
    drawn = _pairs(len(texts), generator)
    near = _distinct(np.concatenate([_beside(student_nearest), _beside(teacher_nearest)]))
    lengths = np.array([len(tokens) for tokens in token_ids])
    similarities = {"student": _similarities(student, drawn), "teacher": _similarities(teacher, drawn)}
    near_similarities = {"student": _similarities(student, near), "teacher": _similarities(teacher, near)}
    return Agreement(
        texts=len(texts),
        student_dimensions=student.shape[1],
        teacher_dimensions=teacher.shape[1],
        cosines=None if cosines is None else _summary(cosines),
        cosine_space=space,
        sampled_pairs=len(drawn),
        similarity_spearman=float(spearmanr(similarities["student"], similarities["teacher"]).statistic),
        neighbours=NEIGHBOURS,
        neighbour_overlap=float(overlap.mean()),
        # Of unit vectors |x - y|² is 2 - 2 cos.
        uniformity={name: float(np.log(np.exp(4 * values - 4).mean())) for name, values in similarities.items()},
        anisotropy={name: float(values.mean()) for name, values in similarities.items()},
        similarities={name: _histogram(values) for name, values in similarities.items()},
        by_length=_bands(_length_bands(lengths), cosines, overlap),
        by_rarity=_bands(_rarity_bands(token_ids), cosines, overlap),
        differing_texts=_differing_texts(texts, lengths, cosines, student_nearest, teacher_nearest),
        differing_pairs=_differing_pairs(
            texts,
            np.concatenate([drawn, near]),
            np.concatenate([similarities["student"], near_similarities["student"]]),
            np.concatenate([similarities["teacher"], near_similarities["teacher"]]),
        ),
        random_pairs=_drawable(similarities, generator),
        near_pairs=_drawable(near_similarities, generator),
    )


def _units(vectors: np.ndarray, count: int, whose: str) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != count:
        raise UserError(f"The {whose}'s vectors have shape {vectors.shape}; {count} texts need one row each.")
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise UserError(f"The {whose}'s vector of text {broken[0]} (from 0) holds a number that is not finite.")
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _cosines(
    student: np.ndarray, teacher: np.ndarray, projection: np.ndarray | None, generator: np.random.Generator
) -> tuple[np.ndarray | None, str]:
    """The cosine of each text, and in words in which space."""
    widths = teacher.shape[1], student.shape[1]
    if projection is not None:
        if projection.shape != widths:
            raise UserError(f"The projection has shape {projection.shape}, but these models need {widths}.")
        return _row_cosines(student, teacher @ projection), "the space the student was trained towards"
    # An orthogonal map has about half as many free numbers as a square matrix; with fewer texts it fits only itself.
    enough = 2 * max(widths)
    if len(student) < enough:
        return None, (
            f"not measured: without the projection of the training run it takes {enough:,} texts "
            f"to bring both models into one space, and there are {len(student):,}"
        )
    cosines = np.empty(len(student), dtype=np.float32)
    order = generator.permutation(len(student))
    half = len(order) // 2
    for fitted, measured in ((order[:half], order[half:]), (order[half:], order[:half])):
        left, _, right = np.linalg.svd(teacher[fitted].T @ student[fitted], full_matrices=False)
        cosines[measured] = _row_cosines(student[measured], teacher[measured] @ (left @ right))
    return cosines, "the orthogonal map that fits best, taken from one half of the texts for the other"


def _row_cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / np.maximum(norms, 1e-12)


def _neighbours(student: np.ndarray, teacher: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The share of nearest neighbours that both have in common, and the nearest by each: all of shape (texts,)."""
    overlap = np.empty(len(student))
    nearest = np.empty((2, len(student)), dtype=np.int64)
    for start in range(0, len(student), ROWS_AT_A_TIME):
        rows = np.arange(start, min(start + ROWS_AT_A_TIME, len(student)))
        found = []
        for model, vectors in enumerate((student, teacher)):
            similarities = vectors[rows] @ vectors.T
            similarities[np.arange(len(rows)), rows] = -np.inf
            nearest[model, rows] = similarities.argmax(axis=1)
            found.append(np.argpartition(similarities, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:])
        overlap[rows] = (found[0][:, :, None] == found[1][:, None, :]).sum(axis=(1, 2)) / NEIGHBOURS
    return overlap, nearest[0], nearest[1]


def _pairs(count: int, generator: np.random.Generator) -> np.ndarray:
    """Distinct pairs of different rows, (pairs, 2): all of them, or a random sample."""
    if count * (count - 1) // 2 <= SAMPLED_PAIRS:
        return np.stack(np.triu_indices(count, k=1), axis=1)
    first = generator.integers(count, size=SAMPLED_PAIRS)
    return _distinct(np.stack([first, (first + generator.integers(1, count, size=SAMPLED_PAIRS)) % count], axis=1))


def _beside(nearest: np.ndarray) -> np.ndarray:
    return np.stack([np.arange(len(nearest)), nearest], axis=1)


def _distinct(pairs: np.ndarray) -> np.ndarray:
    return np.unique(np.sort(pairs, axis=1), axis=0)


def _similarities(vectors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    parts = np.array_split(pairs, len(pairs) // 8_192 + 1)
    return np.concatenate([(vectors[part[:, 0]] * vectors[part[:, 1]]).sum(axis=1) for part in parts])


def _histogram(values: np.ndarray) -> Histogram:
    """Bins of a width that people read easily, over the range of the values."""
    width = 0.02
    low, high = np.floor(values.min() / width), np.floor(values.max() / width) + 1
    edges = np.arange(low, high + 1) * width
    counts, _ = np.histogram(values, edges)
    return Histogram([round(float(edge), 2) for edge in edges], counts.tolist())


def _summary(cosines: np.ndarray) -> Cosines:
    found = np.percentile(cosines, PERCENTILES)
    percentiles = {f"p{name}": float(value) for name, value in zip(PERCENTILES, found, strict=True)}
    return Cosines(float(cosines.mean()), percentiles, _histogram(cosines))


def _length_bands(lengths: np.ndarray) -> dict[str, np.ndarray]:
    edges = [0, *LENGTHS, np.inf]
    names = [f"{low + 1:.0f}–{high:.0f}" for low, high in zip([0, *LENGTHS[:-1]], LENGTHS, strict=True)]
    names.append(f"over {LENGTHS[-1]}")
    lengths = np.maximum(lengths, 1)
    return {
        name: np.flatnonzero((lengths > low) & (lengths <= high))
        for name, low, high in zip(names, edges[:-1], edges[1:], strict=True)
    }


def _rarity_bands(token_ids: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    documents = Counter(token for tokens in token_ids for token in set(tokens))
    # What is in every text, such as a start token, says nothing and would make short texts look common.
    bits = {token: np.log2(len(token_ids) / count) for token, count in documents.items() if count < len(token_ids)}
    rarity = [np.mean([bits[token] for token in tokens if token in bits] or [0.0]) for tokens in token_ids]
    names = ("commonest", "common", "rare", "rarest")
    return dict(zip(names, np.array_split(np.argsort(rarity, kind="stable"), 4), strict=True))


def _bands(rows_of: Mapping[str, np.ndarray], cosines: np.ndarray | None, overlap: np.ndarray) -> list[Band]:
    bands = []
    for name, rows in rows_of.items():
        if len(rows):
            here = None if cosines is None else cosines[rows]
            mean = None if here is None else float(here.mean())
            low, high = (None, None) if here is None else map(float, np.percentile(here, (5, 95)))
            bands.append(Band(name, len(rows), mean, low, high, float(overlap[rows].mean())))
    return bands


def _differing_texts(
    texts: Sequence[str],
    lengths: np.ndarray,
    cosines: np.ndarray | None,
    student_nearest: np.ndarray,
    teacher_nearest: np.ndarray,
) -> list[DifferingText]:
    if cosines is None:
        return []
    return [
        DifferingText(
            texts[row],
            int(lengths[row]),
            float(cosines[row]),
            texts[student_nearest[row]],
            texts[teacher_nearest[row]],
        )
        for row in np.argsort(cosines, kind="stable")[:LISTED]
    ]


def _differing_pairs(
    texts: Sequence[str], pairs: np.ndarray, student: np.ndarray, teacher: np.ndarray
) -> list[DifferingPair]:
    found: list[DifferingPair] = []
    seen: set[int] = set()
    for index in np.argsort(-np.abs(student - teacher), kind="stable"):
        first, second = map(int, pairs[index])
        # One odd text differs from everything; its first pair says so.
        if first not in seen and second not in seen:
            seen |= {first, second}
            found.append(DifferingPair(texts[first], texts[second], float(student[index]), float(teacher[index])))
        if len(found) == LISTED:
            break
    return found


def _drawable(similarities: Mapping[str, np.ndarray], generator: np.random.Generator) -> list[tuple[float, float]]:
    rows = generator.permutation(len(similarities["student"]))[:SHOWN_PAIRS]
    student, teacher = (
        np.round(similarities[name][rows].astype(float), 4).tolist() for name in ("student", "teacher")
    )
    return list(zip(student, teacher, strict=True))
