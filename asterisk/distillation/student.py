"""A new student: its tokenizer, its sizes and its initial weights; and how a student is saved and loaded."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from asterisk.core.errors import UserError
from asterisk.core.progress import progress_bar
from asterisk.core.vectors import principal_directions
from asterisk.teachers.teacher import Teacher
from modeling_asterisk import AsteriskConfig, AsteriskModel

if TYPE_CHECKING:
    pass


# Standard deviation of a token table that starts from the teacher's vectors, chosen on STS-B dev.
TABLE_STD = 0.05


def new_student(config: AsteriskConfig, teacher: Teacher | None, tokenizer: PreTrainedTokenizerFast) -> AsteriskModel:
    """A student with random weights, or, given a teacher, with a token table that starts from the teacher's vectors.

    Each token's vector is the teacher's embedding of that token alone, centred, reduced to `config.hidden_size`
    dimensions by PCA and scaled (after WECHSEL, Minixhofer et al. 2022, and model2vec). Under a tokenizer other than
    the teacher's it is the embedding of the token's string, without leading space; a token that is no string (a
    special one, white space, or a part of a character) is all zeros, the mean.

    Raises:
        UserError: The teacher embeds no texts but those of its corpus.
    """
    model = AsteriskModel(config)
    if teacher is not None:
        vectors, known = _token_vectors(teacher, tokenizer)
        table = torch.from_numpy(_reduced(vectors, config.hidden_size))
        rows = torch.from_numpy(np.flatnonzero(known))
        with torch.no_grad():
            weight = model.embeddings.embed_tokens.weight
            weight[: len(known)] = 0
            weight[rows, : table.shape[1]] = table * (TABLE_STD / table.std())
    return model


def _token_vectors(teacher: Teacher, tokenizer: PreTrainedTokenizerFast) -> tuple[np.ndarray, np.ndarray]:
    """The teacher's vectors (number of True, dimension) of the tokens that `known` (number of tokens) is True for."""
    own = getattr(teacher, "tokenizer", None)
    # The teacher's own tokens come first, as they are: to it, "##ing" is not "ing".
    own_first = own is not None and own.get_vocab().items() <= tokenizer.get_vocab().items()
    shared = len(own) if own is not None and own_first and hasattr(teacher, "encode_tokens") else 0
    strings = token_strings(tokenizer)[shared:]
    distinct = list(dict.fromkeys(string for string in strings if string))
    parts = [teacher.encode_tokens(list(range(shared)))] if shared else []
    with progress_bar("Embedding tokens", "tokens", total=len(distinct)) as progress:
        for start in range(0, len(distinct), 2_048):
            part = distinct[start : start + 2_048]
            try:
                parts.append(teacher.encode(part)[0])
            except UserError as error:  # such as that it only has vectors made before
                raise UserError(
                    f"The token table cannot start from the teacher's vectors (choose --table random): {error}"
                ) from error
            progress.update(len(part))
    row = {string: shared + index for index, string in enumerate(distinct)}
    vectors = np.concatenate(parts)[[*range(shared), *(row[string] for string in strings if string)]]
    return vectors, np.array([True] * shared + [bool(string) for string in strings])


def token_strings(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """What each token stands for in a text, by id: without leading space; "" for one that is no string of its own."""
    backend = tokenizer.backend_tokenizer
    prefix = getattr(backend.model, "continuing_subword_prefix", None) or ""
    special = set(tokenizer.all_special_ids)
    strings = []
    for token_id in range(len(tokenizer)):
        string = backend.decode([token_id], skip_special_tokens=False).strip()
        # Half a character decodes to the replacement character.
        strings.append("" if token_id in special or "\ufffd" in string else string.removeprefix(prefix))
    return strings


def _reduced(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """The first principal components of the rows: (rows, at most `dimensions`), float32."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    return (centred @ principal_directions(centred.T @ centred, dimensions)).astype(np.float32)
