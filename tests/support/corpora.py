"""Text files of every form, and corpora built from them."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from asterisk.data.corpus import Corpus, build_corpus

PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".xz": lzma.compress,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


THREE = ["One apple.", "Two pears.", "Three plums."]


def build(source: Path | str, tmp_path: Path, **options: object) -> Corpus:
    return build_corpus([str(source)], tmp_path / "out" / "corpus", **options)  # type: ignore[arg-type]


def sentences(corpus: Corpus) -> list[str]:
    return [text for index in range(len(corpus.rows_per_shard)) for text in corpus.shard(index)]


def write(path: Path) -> Path:
    """Writes THREE in the form that the file's name asks for."""
    form, *packing = path.suffixes
    if form == ".parquet":
        pq.write_table(pa.table({"text": THREE, "id": [0, 1, 2]}), path)
        return path
    rows: dict[str, list[str]] = {
        ".txt": THREE,
        ".jsonl": [json.dumps({"text": text}) for text in THREE],
        ".json": [json.dumps([{"text": text} for text in THREE])],
        ".csv": ["text,id", *(f"{text},{n}" for n, text in enumerate(THREE))],
        ".tsv": ["text\tid", *(f"{text}\t{n}" for n, text in enumerate(THREE))],
    }
    content = "".join(line + "\n" for line in rows[form]).encode()
    path.write_bytes(PACKED[packing[0]](content) if packing else content)
    return path
