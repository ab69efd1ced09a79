"""The packaged teacher with a small vocabulary: its token table takes seconds to embed, not half a minute."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from asterisk.core.files import read_json, write_json
from asterisk.models.resolve import resolve_model
from tests.support.paths import TEACHER

TABLE = "embeddings.word_embeddings.weight"


def write_small_teacher(folder: Path, texts: Iterable[str]) -> None:
    """Save the teacher with the tokens of the texts, the ASCII characters and the special tokens.

    WordPiece takes the longest token that fits. So the texts keep their tokens and their vectors.
    """
    shutil.copytree(resolve_model(TEACHER), folder, dirs_exist_ok=True)
    (folder / "vocab.txt").unlink()
    settings = read_json(folder / "tokenizer.json")
    vocabulary: dict[str, int] = settings["model"]["vocab"]
    tokenizer = Tokenizer.from_str(json.dumps(settings))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    used = {index for encoding in tokenizer.encode_batch(list(texts)) for index in encoding.ids}
    used |= {index for token, index in vocabulary.items() if token.isascii() and len(token.removeprefix("##")) == 1}
    used |= {token["id"] for token in settings["added_tokens"]}
    kept = sorted(used)
    position = {old: new for new, old in enumerate(kept)}
    settings["model"]["vocab"] = {token: position[old] for token, old in vocabulary.items() if old in position}
    for token in settings["added_tokens"]:
        token["id"] = position[token["id"]]
    for token in settings["post_processor"]["special_tokens"].values():
        token["ids"] = [position[index] for index in token["ids"]]
    write_json(folder / "tokenizer.json", settings)
    write_json(folder / "config.json", read_json(folder / "config.json") | {"vocab_size": len(kept)})
    weights = load_file(folder / "model.safetensors")
    weights[TABLE] = weights[TABLE][kept]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
