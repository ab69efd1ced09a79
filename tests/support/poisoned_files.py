"""Malicious text files, recipes and stores, and the message that refuses each."""

import functools
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from asterisk.core.checksums import file_hash
from asterisk.core.files import MANIFEST
from asterisk.teachers.shards import shard_name, write_shard

DEEP = "[" * 100_000


Change = Callable[[Path], object]


def write(name: str, content: str | bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def times(name: str, part: bytes, number: int, head: bytes = b"") -> Change:
    """A compressed file that repeats one part; the format allows concatenated parts."""
    compress = gzip.compress if name.endswith(".gz") else lzma.compress
    return lambda folder: (folder / name).write_bytes(compress(head) + compress(part) * number)


def one_value_in_many_rows(folder: Path) -> None:
    """A file of ten kilobytes that expands to twenty gigabytes of text."""
    column = pa.DictionaryArray.from_arrays(np.zeros(2_000_000, np.int32), ["soup " * 2_000])
    label = pa.DictionaryArray.from_arrays(np.arange(2_000_000, dtype=np.int32) % 2, ["a", "b"])
    pq.write_table(pa.table({"text": column, "label": label}), folder / "rows.parquet")


def large_values_in_some_rows(folder: Path) -> None:
    """Eight thousand rows that expand to thirty gigabytes."""
    column = pa.DictionaryArray.from_arrays(np.zeros(8_192, np.int32), ["soup " * 800_000])
    pq.write_table(pa.table({"text": column, "label": column}), folder / "rows.parquet", compression="zstd")


def one_large_value(folder: Path) -> None:
    table = pa.table({"text": ["soup " * 4_000_000], "label": ["a"]})
    pq.write_table(table, folder / "rows.parquet", compression="zstd", use_dictionary=False)


def lying_footer(true: Callable[[pq.FileMetaData], int], lie: int, times: int = -1) -> Change:
    """Replace a number in the footer of a Parquet file, everywhere or a given number of times."""

    def make(folder: Path) -> None:
        path = folder / "rows.parquet"
        pq.write_table(pa.table({"text": ["soup"] * ROWS, "label": ["a", "b"] * (ROWS // 2)}), path)
        content, metadata = path.read_bytes(), pq.read_metadata(path)
        start = len(content) - 8 - metadata.serialized_size
        footer = content[start:-8].replace(_varint(true(metadata)), _varint(lie), times)
        path.write_bytes(content[:start] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
        assert len(footer) > len(content) - 8 - start

    return make


def rows_of(metadata: pq.FileMetaData) -> int:
    return metadata.num_rows


def bytes_of(metadata: pq.FileMetaData) -> int:
    return metadata.row_group(0).total_byte_size


def _varint(number: int) -> bytes:
    """Encode a number in Thrift's compact protocol."""
    number, digits = 2 * number, []
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


def long_footer(folder: Path) -> None:
    pq.write_table(pa.table({"text": ["soup"], "label": ["a"]}), folder / "rows.parquet")
    content = (folder / "rows.parquet").read_bytes()
    (folder / "rows.parquet").write_bytes(content[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1")


@functools.cache
def nested_list() -> bytes:
    """A Parquet file of a kilobyte that holds a nested list of 10^8 equal numbers; writing it takes seconds."""
    inner = pa.ListArray.from_arrays(pa.array([0, ITEMS], pa.int32()), pa.array(np.zeros(ITEMS, np.int8)))
    outer = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), inner)
    file = io.BytesIO()
    pq.write_table(pa.table({"text": ["soup"], "label": outer}), file, compression="zstd")
    return file.getvalue()


def open_quote(folder: Path) -> None:
    """A sparse file of two gigabytes that starts with text."""
    with (folder / "rows.csv").open("wb") as file:
        file.write(b'text,label\nsoup,a\n"' + b"soup,a\n" * 200_000)
        file.truncate(1 << 31)


def laughs(first: str, line: str) -> str:
    """YAML of nine levels, each with nine aliases of the level below."""
    aliases = (f"a{level}: &a{level} {line % ', '.join([f'*a{level - 1}'] * 9)}" for level in range(1, 10))
    return "\n".join([f"a0: &a0 {first}", *aliases]) + "\n"


ROWS, ITEMS = 7_778, 10**8


LONG = "soup " * 6_000


LABELLED_ROW = json.dumps({"text": LONG, "label": "a"}).encode()


TEXTS: list[tuple[str, Change, str]] = [
    ("a gigabyte that is one line, gzip", times("t.jsonl.gz", b"soup " * 3_000_000, 70), "more than 16,777,216 char"),
    ("a gigabyte of rows, xz", times("t.jsonl.xz", (LABELLED_ROW + b"\n") * 500, 70), "over 200 times its own"),
    ("a gigabyte of CSV, xz", times("t.csv.xz", f"{LONG},a\n".encode() * 500, 70, b"text,label\n"), "200 times"),
    ("a gigabyte of JSON, xz", times("t.json.xz", (LABELLED_ROW + b",") * 500, 70, b"["), "200 times"),
    ("a CSV file whose quote stays open", open_quote, "a quotation mark may be left open"),
    ("Parquet, a value in two million rows", one_value_in_many_rows, "over 200 times its own"),
    ("Parquet, values of four megabytes", large_values_in_some_rows, "over 200 times its own"),
    ("Parquet, a value of 20 megabytes", one_large_value, "over 200 times its own"),
    ("Parquet, 10^12 rows by the footer", lying_footer(rows_of, 10**12, 1), "holds 7,778 rows, but its footer says"),
    ("Parquet, 10^12 values by the footer", lying_footer(rows_of, 10**12), "over 200 times its own"),
    ("Parquet, a part of ten gigabytes by the footer", lying_footer(bytes_of, 10**10), "over 200 times its own"),
    ("Parquet, a footer longer than the file", long_footer, "smaller than the size reported by footer"),
    (
        "Parquet, a row of one list of 10^8 items",
        lambda folder: write("rows.parquet", nested_list())(folder),
        "over 200 times its own",
    ),
    ("a row nested 10^5 deep", write("t.jsonl", '{"text": ' + DEEP), "line 1 is not JSON"),
]


RECIPES: list[tuple[str, Change, str]] = [
    ("a recipe of lists of lists", write("r.yaml", laughs("[1]", "[%s]")), "*a0 is an alias"),
    ("a recipe of merged mappings", write("r.yaml", laughs("{b: 1}", "{<<: [%s]}")), "*a0 is an alias"),
    ("a recipe nested 10^5 deep", write("r.yaml", DEEP), "recursion"),
]


def store(file: str) -> Change:
    """A complete store with a wrong shard name in its manifest."""

    def make(folder: Path) -> None:
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(2, np.float16)), 2)
        path = folder / shard_name(0)
        write_shard(path, pa.table({"text": pa.array(["a" * 77], pa.large_string()), "embedding": vectors}))
        shard = {"file": file, "rows": 1, "sha256": file_hash(path)}
        manifest = {"version": 1, "settings": {"dimension": 2}, "truncated": 0, "shards": [shard]}
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return make


def wild_offsets(folder: Path) -> None:
    """A store whose offsets point a terabyte past the end of the file."""
    store(shard_name(0))(folder)
    path, manifest = folder / shard_name(0), json.loads((folder / MANIFEST).read_text())
    offsets = np.array([0, 77], np.int64).tobytes()
    content = path.read_bytes()
    assert content.count(offsets) == 1
    path.write_bytes(content.replace(offsets, np.array([0, 1 << 40], np.int64).tobytes()))
    manifest["shards"][0]["sha256"] = file_hash(path)
    (folder / MANIFEST).write_text(json.dumps(manifest))


STORES: list[tuple[str, Change, str]] = [
    ("a manifest that names ../../x", store("../../x"), "names '../../x' where shard-00000.arrow belongs"),
    ("a manifest that names /etc/passwd", store("/etc/passwd"), "names '/etc/passwd'"),
    ("a manifest nested 10^5 deep", write(MANIFEST, DEEP), "cannot be read as JSON"),
    ("a shard with text beyond its end", wild_offsets, "is missing or damaged"),
]
