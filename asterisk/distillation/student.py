"""New students: their sizes, exits and initial token table; and averages with the weights before training."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from asterisk.core.errors import UserError
from asterisk.core.progress import progress_bar
from asterisk.core.vectors import principal_directions
from asterisk.distillation.arguments import StudentArguments
from asterisk.teachers.teacher import Teacher
from modeling_asterisk import AsteriskConfig, AsteriskModel

# Standard deviation of a token table that starts from the teacher's vectors, chosen on STS-B dev.
TABLE_STD = 0.05
# Token strings per call of the teacher.
STRINGS_PER_CALL = 2_048


def student_config(arguments: StudentArguments, vocab_size: int, pad_token_id: int | None = None) -> AsteriskConfig:
    """Return the configuration of a new Asterisk.

    Raises:
        UserError: A size is out of range, or the sizes do not fit each other.
    """
    if arguments.table not in ("teacher", "random"):
        raise UserError(f"--table must be teacher or random, not {arguments.table!r}.")
    try:
        return AsteriskConfig(
            hidden_size=arguments.hidden_size,
            num_hidden_layers=arguments.num_hidden_layers,
            num_attention_heads=arguments.num_attention_heads,
            intermediate_size=arguments.intermediate_size,
            projection_dim=arguments.projection_dim or None,
            exit_layers=_checked_exits(arguments) or None,
            max_position_embeddings=arguments.max_length,
            position_encoding=arguments.position_encoding,
            is_causal=arguments.is_causal,
            hidden_dropout_prob=arguments.dropout,
            attention_probs_dropout_prob=arguments.dropout,
            vocab_size=vocab_size,
            pad_token_id=pad_token_id,
        )
    except ValueError as error:
        raise UserError(str(error)) from None


def _checked_exits(arguments: StudentArguments) -> list[int]:
    depth = arguments.num_hidden_layers
    if wrong := [exit_depth for exit_depth in arguments.exit_layers if not 0 <= exit_depth < depth]:
        raise UserError(f"exit_layers must lie between 0 and {depth - 1}, below num_hidden_layers, not {wrong[0]}.")
    return arguments.exit_layers


def with_exits(student: AsteriskModel, depths: Sequence[int]) -> AsteriskModel:
    """Return the student with exits at these depths; without depths, return it unchanged.

    A new exit starts from the final norm and projection or, at depth 0, from the unweighted token vectors.
    """
    if list(depths) == list(student.config.exit_layers or ()) or not depths:
        return student
    config = copy.deepcopy(student.config)
    config.exit_layers = list(depths)
    extended = AsteriskModel(config)
    weights = extended.state_dict() | student.state_dict()
    for name in [name for name in weights if name.startswith("exits.") and name not in student.state_dict()]:
        weights[name] = student.state_dict().get(name.split(".", 2)[2], weights[name])
    extended.load_state_dict({name: weights[name] for name in extended.state_dict()})
    return extended


def new_student(config: AsteriskConfig, teacher: Teacher | None, tokenizer: PreTrainedTokenizerFast) -> AsteriskModel:
    """Return a student with random weights or, given a teacher, with a token table made from the teacher's vectors.

    The vector of a token is the teacher's embedding of that token alone, centred, reduced to `config.hidden_size`
    dimensions by PCA, and scaled (after WECHSEL, Minixhofer et al. 2022, and model2vec). If the tokenizer is not the
    teacher's, the teacher embeds the token's string. A token without a string gets zeros, the mean of the others.

    Raises:
        UserError: The teacher can embed only the texts of its corpus.
    """
    model = AsteriskModel(config)
    if teacher is not None:
        vectors, known = token_vectors(teacher, tokenizer)
        table = torch.from_numpy(_principal_components(vectors, config.hidden_size))
        rows = torch.from_numpy(np.flatnonzero(known))
        with torch.no_grad():
            weight = model.embeddings.embed_tokens.weight
            weight[: len(known)] = 0
            weight[rows, : table.shape[1]] = table * (TABLE_STD / table.std())
    return model


def token_vectors(teacher: Teacher, tokenizer: PreTrainedTokenizerFast) -> tuple[np.ndarray, np.ndarray]:
    """Return the teacher's vectors of a tokenizer's tokens.

    Returns:
        The vectors (known tokens, teacher's dimensions), and which tokens are known (tokens,), boolean.

    Raises:
        UserError: The teacher can embed only the texts of its corpus.
    """
    teacher_tokenizer: Any = getattr(teacher, "tokenizer", None)
    # The teacher's own tokens are embedded by id, because its "##ing" differs from the text "ing".
    extends_teacher = teacher_tokenizer is not None and (
        teacher_tokenizer.get_vocab().items() <= tokenizer.get_vocab().items()
    )
    shared = len(teacher_tokenizer) if extends_teacher and hasattr(teacher, "encode_tokens") else 0
    strings = token_strings(tokenizer)[shared:]
    distinct = list(dict.fromkeys(string for string in strings if string))
    parts = [teacher.encode_tokens(list(range(shared)))] if shared else []
    with progress_bar("Embedding tokens", "tokens", total=len(distinct)) as progress:
        for start in range(0, len(distinct), STRINGS_PER_CALL):
            part = distinct[start : start + STRINGS_PER_CALL]
            try:
                parts.append(teacher.encode(part)[0])
            except UserError as error:  # such as a teacher of precomputed vectors
                raise UserError(
                    f"The token table cannot start from the teacher's vectors (choose --table random): {error}"
                ) from error
            progress.update(len(part))
    row = {string: shared + index for index, string in enumerate(distinct)}
    vectors = np.concatenate(parts)[[*range(shared), *(row[string] for string in strings if string)]]
    return vectors, np.array([True] * shared + [bool(string) for string in strings])


def token_strings(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Return the string of each token by id, without leading space.

    Special tokens, white space and parts of a character get an empty string.
    """
    backend = tokenizer.backend_tokenizer
    prefix = getattr(backend.model, "continuing_subword_prefix", None) or ""
    special = set(tokenizer.all_special_ids)
    strings = []
    for token_id in range(len(tokenizer)):
        string = backend.decode([token_id], skip_special_tokens=False).strip()
        # Part of a character decodes to the replacement character.
        strings.append("" if token_id in special or "\ufffd" in string else string.removeprefix(prefix))
    return strings


def views_are_equal(student: Any) -> bool:
    """Return whether two training passes return the same embeddings, from which SimCSE learns nothing."""
    token_ids = torch.tensor([[1, 2]] * 64)
    was_training = student.training
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        first, second = (student.train()(token_ids).pooler_output for _ in range(2))
    student.train(was_training)
    return torch.equal(first, second)


def _principal_components(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """Return the first principal components of the rows: (rows, at most `dimensions`), float32."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    return (centred @ principal_directions(centred.T @ centred, dimensions)).astype(np.float32)


@torch.no_grad()
def average_with_start(student: nn.Module, start: Mapping[str, torch.Tensor], weight: float) -> None:
    """Average a trained student with its weights before training, in place: WiSE-FT (arXiv 2109.01903).

    The average keeps more of the model's quality on texts that differ from those of the last training. Exits that the
    training added are not averaged.

    Args:
        student: The trained student.
        start: The weights before training, by name.
        weight: The share of the weights before training, from 0 to 1.
    """
    for name, trained in student.state_dict().items():
        if name in start and trained.is_floating_point():
            trained.lerp_(start[name].to(trained), weight)
