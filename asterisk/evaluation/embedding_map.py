"""A map of the embedding space: the same texts in two dimensions, once for the student and once for the teacher."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asterisk.core.errors import UserError
from asterisk.core.vectors import unit
from asterisk.reporting.plots import CLASS_COLOURS

# Enough to show the classes; t-SNE of more takes a minute.
MAP_TEXTS = 1_000
MIN_TEXTS = 12
CLUSTERS = 8


@dataclass
class EmbeddingMap:
    """Two layouts of the same texts, each of shape (texts, 2)."""

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
) -> EmbeddingMap:
    """Lay out texts by t-SNE of their unit vectors (van der Maaten and Hinton 2008), for student and teacher.

    Both layouts start from the teacher's first two principal components, so that they can be compared. The map shows
    at most `MAP_TEXTS` texts with the ten most frequent labels. Unlabelled texts are coloured by k-means clusters of
    the teacher's vectors.

    Args:
        student_vectors: (texts, student's dimensions), of any norm.
        teacher_vectors: (texts, teacher's dimensions), of any norm.
        texts: The texts.
        labels: The label of each text, if there are labels.

    Raises:
        UserError: There are fewer than `MIN_TEXTS` texts.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    frequent = [label for label, _ in Counter(labels or []).most_common(len(CLASS_COLOURS))]
    rows = np.array([row for row in range(len(texts)) if labels is None or labels[row] in frequent], dtype=int)
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:MAP_TEXTS])
    if len(rows) < MIN_TEXTS:
        raise UserError(f"A map needs at least {MIN_TEXTS} texts, but there are {len(rows)}.")
    student, teacher = (unit(np.asarray(part, dtype=float)[rows]) for part in (student_vectors, teacher_vectors))
    if labels is None:
        clusters = KMeans(CLUSTERS, n_init=1, random_state=0).fit_predict(teacher)
        shown = [f"cluster {cluster + 1}" for cluster in clusters]
        caption = f"{len(rows):,} texts, coloured by the k-means cluster of the teacher's vectors"
    else:
        shown = [labels[row] for row in rows]
        classes = len(set(labels))
        caption = f"{len(rows):,} texts of {classes} classes"
        if classes > len(frequent):
            caption = f"{len(rows):,} texts of the {len(frequent)} most frequent of {classes} classes"
    start = PCA(2, random_state=0).fit_transform(teacher)
    layout = TSNE(
        init=1e-4 * start / start[:, 0].std(), perplexity=min(30, (len(rows) - 1) / 3), max_iter=500, random_state=0
    )
    return EmbeddingMap(
        [texts[row] for row in rows], shown, layout.fit_transform(student), layout.fit_transform(teacher), caption
    )
