"""Parquet files and the Arrow files of `datasets`, in bounded memory."""

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from asterisk.data.text_files import SizeLimit

# Minimum bytes of a value in memory; in a file, repeated values may take far fewer.
VALUE_BYTES = 8

# Bytes of rows converted to Python objects at once, and bytes of a row in addition to its strings.
PIECE_BYTES, ROW_BYTES = 1 << 26, 64


def parquet_rows(file: str, column: str | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file; if the file has `column`, yield this column only.

    Raises:
        ValueError: The file is damaged, or expands far beyond its size.
    """
    with fsspec.open(file) as content:
        limit = SizeLimit(content.seek(0, io.SEEK_END))
        content.seek(0)
        metadata = pq.read_metadata(content)
        groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        for group in groups:
            limit.check(max(group.total_byte_size, VALUE_BYTES * group.num_rows * group.num_columns))
        fields = [metadata.schema.column(index) for index in range(metadata.num_columns)]
        # Dictionary encoding keeps a repeated string in memory only once.
        strings = [field.path for field in fields if field.logical_type.type == "STRING"]
        table = pq.ParquetFile(content, metadata=metadata, read_dictionary=strings)
        if lists := [index for index, field in enumerate(fields) if field.max_repetition_level]:
            # Raise an error for a damaged column, whose metadata would crash the process.
            table.scan_contents([fields[index].path for index in lists])
            for group in groups:
                limit.check(VALUE_BYTES * sum(group.column(index).num_values for index in lists))
        columns = [column] if column in table.schema_arrow.names else None
        size, rows = 0, 0
        for batch in table.iter_batches(8_192, columns=columns):
            rows += len(batch)
            step = max(1, PIECE_BYTES // max(1, batch.nbytes))
            for start in range(0, len(batch), step):
                piece = batch.slice(start, step).to_pylist()
                values = (value for row in piece for value in row.values() if isinstance(value, (str, list)))
                size += ROW_BYTES * len(piece) + sum(map(len, values))
                limit.check(size)
                yield from piece
        if rows != metadata.num_rows:
            raise ValueError(f"it holds {rows:,} rows, but its footer says {metadata.num_rows:,}; it is damaged")


def arrow_rows(file: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of an Arrow file that `save_to_disk` of `datasets` wrote."""
    with pa.memory_map(file) as content:
        for batch in open_arrow(content):
            yield from batch.to_pylist()


def file_class_names(file: str, kind: str) -> dict[str, list[str]]:
    """Read the class names that `datasets` wrote to a Parquet or Arrow file; see [`class_names_of`]."""
    if kind == ".parquet":
        with fsspec.open(file) as content:
            metadata = pq.read_schema(content).metadata
    else:
        with pa.memory_map(file) as content:
            metadata = open_arrow(content).schema.metadata
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return class_names_of(features)


def class_names_of(features: Any) -> dict[str, list[str]]:
    """Return the class names of each ClassLabel column, lists included, from the features of `datasets` as JSON."""
    found = {}
    for column, feature in features.items() if isinstance(features, Mapping) else ():
        while isinstance(feature, Mapping) and feature.get("_type") in ("Sequence", "List", "LargeList"):
            feature = feature.get("feature")
        if isinstance(feature, list) and feature:
            feature = feature[0]
        if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel":
            names = feature.get("names")
            if isinstance(names, list) and all(isinstance(name, str) for name in names):
                found[column] = names
    return found


def with_class_names(row: dict[str, Any], names: Mapping[str, list[str]]) -> dict[str, Any]:
    """Replace class numbers in a row by names; -1, which means no label, becomes None."""
    for column, classes in names.items():
        if column in row:
            row[column] = _name_classes(row[column], classes)
    return row


def _name_classes(value: Any, classes: list[str]) -> Any:
    if isinstance(value, list):
        return [_name_classes(item, classes) for item in value]
    if isinstance(value, int) and -1 <= value < len(classes):
        return classes[value] if value >= 0 else None
    return value


def open_arrow(content: pa.NativeFile) -> Any:
    """Open an Arrow file or stream, the format in which `datasets` saves, as a `RecordBatchReader`."""
    try:
        return pa.ipc.open_stream(content)
    except pa.ArrowInvalid:
        content.seek(0)
        reader = pa.ipc.open_file(content)
        return pa.RecordBatchReader.from_batches(
            reader.schema, map(reader.get_batch, range(reader.num_record_batches))
        )
