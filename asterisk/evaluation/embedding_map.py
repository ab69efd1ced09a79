"""A map of the embedding space: the same texts in two dimensions, as the student and as the teacher sees them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asterisk.core.errors import UserError
from asterisk.reporting.plots import CLASS_COLOURS

# Enough to see the classes by; t-SNE takes a minute of more.
MAP_TEXTS = 1_000


@dataclass
class EmbeddingMap:
    """The same texts in two dimensions, twice; both of shape (texts, 2)."""

    texts: list[str]
    labels: list[str]
    student: np.ndarray
    teacher: np.ndarray
    caption: str


def embedding_map(
    student_vectors: np.ndarray,
    teacher_vectors: np.ndarray,
    texts: Sequence[str],
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> EmbeddingMap:
    """Lays out texts by t-SNE of their cosines (van der Maaten and Hinton 2008), for the student and for the teacher.

    Both layouts start from the teacher's two principal components, so that like lies in like places. Of more than ten
    labels the ten most frequent are drawn, and of more than `MAP_TEXTS` texts a sample. Texts without labels are
    coloured by their cluster: eight, by k-means on the teacher's vectors.

    Args:
        student_vectors: (texts, student's dimensions).
        teacher_vectors: (texts, teacher's dimensions).
        texts: At least 12.
        labels: One for each text.
        seed: Of the sample, the layout and the clusters.

    Raises:
        UserError: There are too few texts.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import normalize

    frequent = [label for label, _ in Counter(labels or []).most_common(len(CLASS_COLOURS))]
    rows = np.array([row for row in range(len(texts)) if labels is None or labels[row] in frequent], dtype=int)
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MAP_TEXTS])
    if len(rows) < 12:
        raise UserError(f"A map needs at least 12 texts, but there are {len(rows)}.")
    student, teacher = (normalize(np.asarray(part, dtype=float)[rows]) for part in (student_vectors, teacher_vectors))
    if labels is None:
        clusters = KMeans(8, n_init=1, random_state=seed).fit_predict(teacher)
        shown = [f"cluster {cluster + 1}" for cluster in clusters]
        caption = f"{len(rows):,} texts, coloured by k-means cluster of the teacher's vectors"
    else:
        shown = [labels[row] for row in rows]
        classes = len(set(labels))
        caption = f"{len(rows):,} texts of {classes} classes" + (
            f", the {len(frequent)} most frequent drawn" if classes > len(frequent) else ""
        )
    start = PCA(2, random_state=seed).fit_transform(teacher)
    layout = TSNE(
        init=1e-4 * start / start[:, 0].std(), perplexity=min(30, (len(rows) - 1) / 3), max_iter=500, random_state=seed
    )
    return EmbeddingMap(
        [texts[row] for row in rows], shown, layout.fit_transform(student), layout.fit_transform(teacher), caption
    )
