"""Agreement: how similarly a student and its teacher embed texts that neither was trained on."""

import itertools
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asterisk.core.errors import UserError
from asterisk.core.vectors import orthogonal_map, unit
from asterisk.evaluation.metrics.functions import correlations

# Nearest neighbours need all pairwise similarities, so larger collections are sampled.
MAX_TEXTS = 10_000
# Enough for three stable digits of a Spearman correlation.
SAMPLED_PAIRS = 50_000
NEIGHBOURS = 10
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
LENGTH_BOUNDS = (8, 16, 32, 64, 128)
MAX_LISTED = 20
PLOTTED_PAIRS = 1_000
BIN_WIDTH = 0.02


@dataclass
class Histogram:
    """Counts of values between consecutive `edges`."""

    edges: list[float]
    counts: list[int]


@dataclass
class Cosines:
    """Cosines between the student's and the teacher's vectors of the same text, in a common space."""

    mean: float
    percentiles: dict[str, float]
    histogram: Histogram


@dataclass
class Band:
    """Agreement on the texts in one range of lengths or rarities; the cosines are None if they were not measured."""

    name: str
    texts: int
    cosine: float | None
    cosine_p5: float | None
    cosine_p95: float | None
    neighbour_overlap: float


@dataclass
class DifferingText:
    """A text that student and teacher embed differently, and the nearest text according to each."""

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
    """The result of [`compare_vectors`]; `dataclasses.asdict` turns it into JSON.

    `uniformity`, `anisotropy` and `similarities` (histograms of the sampled pairs' cosines) have the keys `student`
    and `teacher`. `random_pairs` and `near_pairs` are for a scatter plot: (student's cosine, teacher's cosine).
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


def compare_vectors(
    student_vectors: np.ndarray,
    teacher_vectors: np.ndarray,
    texts: Sequence[str],
    tokens: Sequence[Sequence[Hashable]],
    projection: np.ndarray | None = None,
) -> Agreement:
    """Compare the vectors of two models on texts that neither was trained on.

    Similarities are cosines. Uniformity is log E exp(-2 |x - y|²) over random pairs of unit vectors; lower is more
    uniform (Wang and Isola 2020, arXiv:2005.10242, with t = 2). Anisotropy is the mean cosine of random pairs
    (Ethayarajh 2019, arXiv:1909.00512). Rarity is the mean inverse document frequency of a text's tokens in these
    texts, in bits; each of its bands has a quarter of the texts.

    Args:
        student_vectors: (texts, student's dimensions), of any nonzero norm.
        teacher_vectors: (texts, teacher's dimensions), of any nonzero norm.
        texts: At least 12; `MAX_TEXTS` of them are sampled if there are more.
        tokens: The tokens or token ids of each text from any tokenizer, for length and rarity.
        projection: The map from the teacher's vectors to the student's training targets (teacher's dimensions,
            student's dimensions); the identity for a student in its teacher's space. If it is absent and there are
            enough texts, the best orthogonal map is fitted on each half of the texts and applied to the other half.

    Raises:
        UserError: There are too few texts, a vector is missing or not finite, or the projection has the wrong shape.
    """
    student = _unit_vectors(student_vectors, len(texts), "student")
    teacher = _unit_vectors(teacher_vectors, len(texts), "teacher")
    if len(texts) < NEIGHBOURS + 2:
        raise UserError(f"Agreement needs at least {NEIGHBOURS + 2} texts, but there are {len(texts)}.")
    generator = np.random.default_rng(0)
    if len(texts) > MAX_TEXTS:
        rows = np.sort(generator.permutation(len(texts))[:MAX_TEXTS])
        student, teacher = student[rows], teacher[rows]
        texts, tokens = [texts[row] for row in rows], [tokens[row] for row in rows]

    cosines, space = _text_cosines(student, teacher, projection, generator)
    models = {"student": student, "teacher": teacher}
    neighbours = [_neighbours(vectors) for vectors in models.values()]
    overlap = (neighbours[0][:, :, None] == neighbours[1][:, None, :]).sum(axis=(1, 2)) / NEIGHBOURS
    nearest = [rows[:, 0] for rows in neighbours]
    sampled = _random_pairs(len(texts), generator)
    near = _distinct_pairs(np.concatenate([np.stack([np.arange(len(texts)), rows], axis=1) for rows in nearest]))
    lengths = np.array([len(text) for text in tokens])
    similarities = {name: _pair_cosines(vectors, sampled) for name, vectors in models.items()}
    near_similarities = {name: _pair_cosines(vectors, near) for name, vectors in models.items()}
    differences = {name: np.concatenate([similarities[name], near_similarities[name]]) for name in models}
    return Agreement(
        texts=len(texts),
        student_dimensions=student.shape[1],
        teacher_dimensions=teacher.shape[1],
        cosines=None if cosines is None else _summary(cosines),
        cosine_space=space,
        sampled_pairs=len(sampled),
        similarity_spearman=correlations(similarities["student"], similarities["teacher"])["spearman"],
        neighbours=NEIGHBOURS,
        neighbour_overlap=float(overlap.mean()),
        # For unit vectors |x - y|² = 2 - 2 cos.
        uniformity={name: float(np.log(np.exp(4 * values - 4).mean())) for name, values in similarities.items()},
        anisotropy={name: float(values.mean()) for name, values in similarities.items()},
        similarities={name: _histogram(values) for name, values in similarities.items()},
        by_length=_bands(_length_bands(lengths), cosines, overlap),
        by_rarity=_bands(_rarity_bands(tokens), cosines, overlap),
        differing_texts=[]
        if cosines is None
        else [
            DifferingText(texts[row], int(lengths[row]), float(cosines[row]), *(texts[rows[row]] for rows in nearest))
            for row in np.argsort(cosines, kind="stable")[:MAX_LISTED]
        ],
        differing_pairs=_differing_pairs(texts, np.concatenate([sampled, near]), **differences),
        random_pairs=_plotted_pairs(**similarities, generator=generator),
        near_pairs=_plotted_pairs(**near_similarities, generator=generator),
    )


def _unit_vectors(vectors: np.ndarray, count: int, model: str) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != count:
        raise UserError(f"The {model}'s vectors have shape {vectors.shape}; {count} texts need one row each.")
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise UserError(f"The {model}'s vector of text {broken[0]} (from 0) holds a number that is not finite.")
    return unit(vectors)


def _text_cosines(
    student: np.ndarray, teacher: np.ndarray, projection: np.ndarray | None, generator: np.random.Generator
) -> tuple[np.ndarray | None, str]:
    """Return the cosine of each text, and a description of the space in which it was measured."""
    shape = teacher.shape[1], student.shape[1]
    if projection is not None:
        if projection.shape != shape:
            raise UserError(f"The projection has shape {projection.shape}, but these models need {shape}.")
        return (student * unit(teacher @ projection)).sum(axis=1), "the space of the student's training target"
    # An orthogonal map has about half as many parameters as a square matrix, so it would overfit fewer texts.
    needed = 2 * max(shape)
    if len(student) < needed:
        return None, (
            f"not measured: without the projection of the training run, mapping both models into one space needs "
            f"{needed:,} texts, but there are {len(student):,}"
        )
    cosines = np.empty(len(student), dtype=np.float32)
    halves = np.array_split(generator.permutation(len(student)), [len(student) // 2])
    for fitted, measured in (halves, reversed(halves)):
        mapped = teacher[measured] @ orthogonal_map(teacher[fitted], student[fitted])
        cosines[measured] = (student[measured] * unit(mapped)).sum(axis=1)
    return cosines, "the best orthogonal map, fitted on one half of the texts and applied to the other"


def _neighbours(vectors: np.ndarray) -> np.ndarray:
    """Return the rows of each text's nearest neighbours, the nearest first: (texts, NEIGHBOURS)."""
    from sklearn.neighbors import NearestNeighbors

    # For unit vectors, distances rank like cosines. Without an argument, `kneighbors` excludes each row itself.
    return NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute").fit(vectors).kneighbors(return_distance=False)


def _random_pairs(count: int, generator: np.random.Generator) -> np.ndarray:
    """Return distinct pairs of different rows (pairs, 2): all of them, or a random sample."""
    if count * (count - 1) // 2 <= SAMPLED_PAIRS:
        return np.stack(np.triu_indices(count, k=1), axis=1)
    first = generator.integers(count, size=SAMPLED_PAIRS)
    second = (first + generator.integers(1, count, size=SAMPLED_PAIRS)) % count
    return _distinct_pairs(np.stack([first, second], axis=1))


def _distinct_pairs(pairs: np.ndarray) -> np.ndarray:
    return np.unique(np.sort(pairs, axis=1), axis=0)


def _pair_cosines(vectors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    parts = np.array_split(pairs, len(pairs) // 8_192 + 1)
    return np.concatenate([(vectors[part[:, 0]] * vectors[part[:, 1]]).sum(axis=1) for part in parts])


def _histogram(values: np.ndarray) -> Histogram:
    low, high = np.floor(values.min() / BIN_WIDTH), np.floor(values.max() / BIN_WIDTH) + 1
    edges = np.arange(low, high + 1) * BIN_WIDTH
    counts, _ = np.histogram(values, edges)
    return Histogram([round(float(edge), 2) for edge in edges], counts.tolist())


def _summary(cosines: np.ndarray) -> Cosines:
    values = np.percentile(cosines, PERCENTILES).tolist()
    percentiles = {f"p{name}": value for name, value in zip(PERCENTILES, values, strict=True)}
    return Cosines(float(cosines.mean()), percentiles, _histogram(cosines))


def _length_bands(lengths: np.ndarray) -> dict[str, np.ndarray]:
    names = [f"{low + 1}–{high}" for low, high in itertools.pairwise((0, *LENGTH_BOUNDS))]
    names.append(f"over {LENGTH_BOUNDS[-1]}")
    bands = np.searchsorted(LENGTH_BOUNDS, np.maximum(lengths, 1))
    return {name: np.flatnonzero(bands == band) for band, name in enumerate(names)}


def _rarity_bands(tokens: Sequence[Sequence[Hashable]]) -> dict[str, np.ndarray]:
    documents = Counter(token for text in tokens for token in set(text))
    # Tokens in every text, such as a start token, carry no information and make short texts look common.
    bits = {token: np.log2(len(tokens) / count) for token, count in documents.items() if count < len(tokens)}
    rarity = [np.mean([bits[token] for token in text if token in bits] or [0.0]) for text in tokens]
    names = ("commonest", "common", "rare", "rarest")
    return dict(zip(names, np.array_split(np.argsort(rarity, kind="stable"), 4), strict=True))


def _bands(rows_of: Mapping[str, np.ndarray], cosines: np.ndarray | None, overlap: np.ndarray) -> list[Band]:
    bands = []
    for name, rows in rows_of.items():
        if not len(rows):
            continue
        mean = low = high = None
        if cosines is not None:
            mean = float(cosines[rows].mean())
            low, high = np.percentile(cosines[rows], (5, 95)).tolist()
        bands.append(Band(name, len(rows), mean, low, high, float(overlap[rows].mean())))
    return bands


def _differing_pairs(
    texts: Sequence[str], pairs: np.ndarray, student: np.ndarray, teacher: np.ndarray
) -> list[DifferingPair]:
    """Return the pairs that differ most; each text is in at most one pair, so that no outlier fills the list."""
    found: list[DifferingPair] = []
    seen: set[int] = set()
    for index in np.argsort(-np.abs(student - teacher), kind="stable"):
        first, second = map(int, pairs[index])
        if first not in seen and second not in seen:
            seen |= {first, second}
            found.append(DifferingPair(texts[first], texts[second], float(student[index]), float(teacher[index])))
        if len(found) == MAX_LISTED:
            break
    return found


def _plotted_pairs(
    student: np.ndarray, teacher: np.ndarray, generator: np.random.Generator
) -> list[tuple[float, float]]:
    rows = generator.permutation(len(student))[:PLOTTED_PAIRS]
    values = np.round(np.stack([student[rows], teacher[rows]], axis=1).astype(float), 4)
    return [(first, second) for first, second in values.tolist()]
