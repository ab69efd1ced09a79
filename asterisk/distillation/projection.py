"""Linear maps between the teacher's dimensions and the student's."""

import copy
from typing import Any

import numpy as np
import torch

from asterisk.core.vectors import nearest_orthonormal, orthogonal_map, principal_directions, unit
from asterisk.distillation.batching import sorted_parts
from asterisk.distillation.label_tasks import LabelledCorpus
from asterisk.teachers.store import EmbeddingStore, JoinedStore
from asterisk.teachers.token_store import TokenStore
from modeling_asterisk import AsteriskModel
from modeling_asterisk.modeling_asterisk import pool

# Rows to fit a projection on; more rows hardly change the second moments.
PROJECTION_ROWS = 100_000
# Token weights are SIF / (SIF + frequency): the value of Arora et al. 2017.
SIF = 1e-3
# Strength of the regression's penalty, relative to the mean second moment.
RIDGE = 1e-4
# Rows to compare a trained student with its teacher on.
ALIGNMENT_ROWS = 20_000


def fit_projection(store: EmbeddingStore | JoinedStore, dimensions: int, rows: np.ndarray, seed: int) -> np.ndarray:
    """Return the orthonormal map to the principal directions of the teacher's vectors (uncentred SVD).

    No other map to as many dimensions keeps more of the vectors' norms. The most important dimension comes first.

    Args:
        store: The teacher's vectors.
        dimensions: Dimensions to keep; if the teacher has fewer, the map is a rotation, padded with zeros.
        rows: The rows to fit on; a sample is drawn if they are many.
        seed: Seed of the sample.

    Returns:
        (teacher's dimensions, `dimensions`), float32.
    """
    sample = np.sort(np.random.default_rng(seed).permutation(rows)[:PROJECTION_ROWS])
    width = store.settings["dimension"]
    moments = np.zeros((width, width))
    for part in np.array_split(sample, max(1, len(sample) // 8_192)):
        vectors = store.embeddings(part).astype(np.float64)
        moments += vectors.T @ vectors
        # A large sample touches nearly every page of the shards.
        store.release()
    directions = principal_directions(moments, dimensions)
    projection = np.zeros((width, dimensions), dtype=np.float32)
    projection[:, : directions.shape[1]] = directions
    return projection


def stretch_between_groups(
    projection: np.ndarray, store: EmbeddingStore | JoinedStore, labelled: LabelledCorpus
) -> np.ndarray:
    """Return the projection, followed by a map that lengthens the directions that separate a task's groups.

    The directions are Fisher's linear discriminants of the task's groups and of the texts in no group. A classifier
    that is trained on few examples finds long directions first. The map is invertible, so embeddings can still be
    mapped back to the teacher's space.

    A projection that an earlier training has stretched is made orthonormal first. Stretching is thus idempotent.

    Args:
        projection: (teacher's dimensions, student's dimensions), float32.
        store: The teacher's vectors.
        labelled: Labelled texts with their rows in the store; each task's `stretch` is added to the length, 1.

    Returns:
        (teacher's dimensions, student's dimensions), float32.
    """
    if not any(task.stretch and task.known.any() for task in labelled.tasks):
        return projection
    projection = nearest_orthonormal(projection)
    width = projection.shape[1]
    lengthened = np.eye(width)
    for task in labelled.tasks:
        if not task.stretch or not task.known.any():
            continue
        vectors = unit(store.embeddings(labelled.rows[task.known]).astype(np.float32) @ projection).astype(np.float64)
        groups = task.groups[task.known]
        groups = np.column_stack([groups, ~groups.any(axis=1)])
        groups = groups[:, groups.any(axis=0)]
        means = np.stack([vectors[members].mean(axis=0) for members in groups.T])
        scatter = np.mean([np.cov(vectors[members].T, bias=True) for members in groups.T], axis=0)
        # Regularised discriminant analysis: the trace damps directions of little variance.
        scatter += np.trace(scatter) / width * np.eye(width)
        left, lengths, _ = np.linalg.svd(np.linalg.solve(scatter, (means - means.mean(axis=0)).T), full_matrices=False)
        directions = left[:, lengths > 1e-6 * lengths.max()]
        lengthened += task.stretch * directions @ directions.T
    return (projection @ lengthened).astype(np.float32)


@torch.inference_mode()
def projection_to_student(
    student: Any, tokens: TokenStore, store: EmbeddingStore | JoinedStore, rows: np.ndarray, seed: int
) -> np.ndarray:
    """Return the map to the teacher's principal directions, rotated to match a trained student's vectors.

    Args:
        student: As in [`asterisk.distillation.loop.Distillation`], on the CPU.
        tokens: The sentences, as the student's token ids.
        store: The teacher's vectors of the same rows.
        rows: The rows to compare on; a sample is drawn if they are many.
        seed: Seed of the sample.

    Returns:
        (teacher's dimensions, student's dimensions), float32.
    """
    student.eval()
    sample = np.random.default_rng(seed).permutation(rows)[:ALIGNMENT_ROWS]
    parts = sorted_parts(tokens.lengths, sample)
    embeddings = []
    for part in parts:
        ids, mask = map(torch.from_numpy, tokens.padded(part))
        embeddings.append(student(input_ids=ids, attention_mask=mask).pooler_output.float().numpy())
    projection = fit_projection(store, student.config.embedding_size, rows, seed)
    rotation = orthogonal_map(store.embeddings(np.concatenate(parts)) @ projection, np.concatenate(embeddings))
    return projection @ rotation


@torch.no_grad()
def fit_static_exit(
    student: Any,
    tokens: TokenStore,
    store: EmbeddingStore | JoinedStore,
    projection: np.ndarray,
    rows: np.ndarray,
    seed: int,
) -> None:
    """Initialise the exit at depth 0 from data.

    Frequent tokens get small weights (SIF, Arora et al. 2017, openreview.net/forum?id=SyK00v5xx). The linear map
    is a ridge regression from the weighted mean of the token vectors to the teacher's vectors.

    Args:
        student: An Asterisk with an exit at depth 0, on the CPU.
        tokens: The sentences, as the student's token ids.
        store: The teacher's vectors of the same rows.
        projection: (teacher's dimensions, student's dimensions), float32.
        rows: The rows to fit on; a sample is drawn if they are many.
        seed: Seed of the sample.
    """
    sample = np.random.default_rng(seed).permutation(rows)[:ALIGNMENT_ROWS]
    parts = sorted_parts(tokens.lengths, sample)
    batches = [tuple(map(torch.from_numpy, tokens.padded(part))) for part in parts]
    counts = torch.zeros(student.config.vocab_size)
    for ids, mask in batches:
        counts += torch.bincount(ids[mask.bool()], minlength=len(counts))
    static = student.exits["0"]
    static.token_weight.weight.copy_((SIF / (SIF + counts / counts.sum())).unsqueeze(1))
    means = [
        pool(static(student.embeddings.embed_tokens(ids), ids), mask, student.config.pooling).numpy()
        for ids, mask in batches
    ]
    inputs = np.concatenate(means).astype(np.float64)
    targets = (store.embeddings(np.concatenate(parts)).astype(np.float32) @ projection).astype(np.float64)
    moments = inputs.T @ inputs
    moments += RIDGE * np.trace(moments) / len(moments) * np.eye(len(moments))
    solution = torch.from_numpy(np.linalg.solve(moments, inputs.T @ targets).astype(np.float32))
    static.projection.weight.copy_(solution.T)


def with_teacher_spaces(
    student: AsteriskModel, projection: np.ndarray, spaces: list[tuple[str, int]]
) -> AsteriskModel:
    """Return a copy of the student that stores the maps to its teachers' spaces.

    The map to a teacher's space is the teacher's part of the projection's pseudo-inverse. This is its transpose,
    unless label tasks have stretched it.

    Args:
        student: The student.
        projection: (sum of the teachers' dimensions, student's dimensions), float32.
        spaces: The teachers' names and dimensions, in the order of the projection.
    """
    config = copy.deepcopy(student.config)
    config.teacher_spaces = spaces
    extended = AsteriskModel(config)
    parts = np.split(np.linalg.pinv(projection), np.cumsum([size for _, size in spaces])[:-1], axis=1)
    maps = {f"teacher_map_{index}": torch.tensor(part) for index, part in enumerate(parts)}
    weights = {name: weight for name, weight in student.state_dict().items() if not name.startswith("teacher_map_")}
    extended.load_state_dict(weights | maps)
    extended.tokenizer = student.tokenizer
    return extended


def in_teacher_space(student: AsteriskModel, name: str) -> AsteriskModel:
    """Return an Asterisk without exits whose embeddings are in the space of one of the student's teachers.

    The map to that space becomes the final projection, so the embedding has the teacher's dimensions.

    Args:
        student: The student.
        name: A name of `config.teacher_spaces`, or "teacher" for the first.

    Raises:
        ValueError: The student stores no map to this space.
    """
    spaces = dict(student.config.teacher_spaces or ())
    name = next(iter(spaces), name) if name == "teacher" else name
    if name not in spaces:
        raise ValueError(
            f"The model stores no map to the space of {name!r}; its spaces are {', '.join(spaces) or 'none'}."
        )
    config = copy.deepcopy(student.config)
    config.projection_dim, config.exit_layers, config.teacher_spaces = spaces[name], None, None
    model = AsteriskModel(config)
    weights = student.state_dict()
    matrix = weights[f"teacher_map_{list(spaces).index(name)}"].T
    own = {key: weight for key, weight in weights.items() if key in model.state_dict()}
    if student.config.projection_dim:
        own |= {
            "projection.weight": matrix @ own["projection.weight"],
            "projection.bias": matrix @ own["projection.bias"],
        }
    else:
        own |= {"projection.weight": matrix, "projection.bias": torch.zeros(spaces[name])}
    model.load_state_dict(own)
    model.tokenizer = student.tokenizer
    return model.eval()


def stored_projection(student: AsteriskModel) -> np.ndarray | None:
    """Return the projection of the student's earlier training, (teacher's dimensions, student's dimensions), float32.

    None if the student stores no map to a teacher's space.
    """
    maps = [getattr(student, f"teacher_map_{index}") for index in range(len(student.config.teacher_spaces or ()))]
    return np.linalg.pinv(torch.cat(maps, dim=1).float().numpy()) if maps else None
