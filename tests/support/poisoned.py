"""Malicious artefacts: how each is made, and the sentence with which a command refuses it."""

import gzip
import json
import lzma
import os
import pickle
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification

import evaluate_mteb
import publish
import serve
import train_distill
import train_head
from asterisk.core.checksums import file_hash
from asterisk.core.files import MANIFEST
from asterisk.models.onnx import OnnxEmbedder
from asterisk.teachers.shards import shard_name, write_shard
from asterisk.teachers.store import EmbeddingStore
from tests.support.labelled import topic_rows, write_table, write_tiny_asterisk

WEIGHTS, TABLE = "model.safetensors", "embeddings.embed_tokens.weight"
DEEP = "[" * 100_000

Change = Callable[[Path], object]


@dataclass
class Case:
    """An artefact and the command that reads it."""

    name: str
    reader: str
    make: Change  # changes a valid artefact, or writes one into an empty folder
    sentence: str  # a part of the error message

    def __str__(self) -> str:
        return f"{self.name}, {self.reader}"


@dataclass
class Refusal:
    """The refusal of one artefact."""

    kind: str
    sentence: str
    seconds: float  # processor time, which does not depend on other processes
    peak_mb: float  # peak resident memory above the start


def change_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def make(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        change(weights)
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})

    return make


def put_number(value: float) -> Change:
    """Write a number into a row of the token table that few texts need."""
    return change_weights(lambda weights: weights[TABLE][3].fill_(value))


def change_json(name: str, **fields: object) -> Change:
    def make(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | fields))

    return make


def write(name: str, content: str | bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def only_a_pickle(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def far_token(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["goal"] = 1_000_000
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def cut(name: str) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def weights_elsewhere(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.parent / "other.safetensors")
    names = dict.fromkeys(load_file(folder.parent / "other.safetensors"), "../other.safetensors")
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


def config(**fields: object) -> Change:
    return change_json("config.json", **fields)


def shrink_table(weights: dict[str, torch.Tensor]) -> None:
    weights[TABLE] = weights[TABLE][:5].clone()


# Changes of a valid model, with the message at every place that loads it.
MODELS: list[tuple[str, Change, str]] = [
    ("a weight too many", change_weights(lambda w: w.update(evil=torch.zeros(2))), "are unknown: evil"),
    ("a weight too few", change_weights(lambda w: w.pop("norm.weight")), "norm.weight"),
    ("a weight of another shape", change_weights(lambda w: w.update({"norm.weight": torch.ones(3)})), "(3,)"),
    ("a smaller token table", change_weights(shrink_table), "(5, 16)"),
    ("a weight that is not a number", put_number(float("nan")), "are not finite"),
    ("an infinite weight", put_number(float("inf")), "are not finite"),
    ("a pickle instead of safetensors", only_a_pickle, "no file named model.safetensors"),
    ("weights that were cut off", cut(WEIGHTS), ""),
    ("weights with a header of 2^62 bytes", write(WEIGHTS, (2**62).to_bytes(8, "little") + b"{}"), "header"),
    ("a vocabulary of 10^12", config(vocab_size=10**12), "vocab_size must be at most 100,000,000"),
    ("a table of 10^14 numbers", config(vocab_size=10**8, hidden_size=10**6), "there must be at most 1,000,000,000"),
    ("10^9 layers", config(num_hidden_layers=10**9), "num_hidden_layers must be at most 1,000"),
    ("layers of 10^12 numbers", config(num_hidden_layers=999, hidden_size=10**5), "at most 1,000,000,000"),
    ("10^9 labels", config(num_labels=10**9), "num_labels must be at most 1,000,000"),
    ("a size that is text", config(hidden_size="16"), "hidden_size must be a whole number"),
    ("a configuration nested 10^5 deep", write("config.json", DEEP), "recursion"),
    ("a token beyond the table", far_token, "1000000"),
    ("a tokenizer that was cut off", cut("tokenizer.json"), ""),
]


def add_onnx(folder: Path) -> None:
    """An ONNX file whose table has five rows, beside a tokenizer of many more tokens."""
    table = onnx.numpy_helper.from_array(np.eye(5, 4, dtype=np.float32), "table")
    nodes = [
        onnx.helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        onnx.helper.make_node("Cast", ["attention_mask"], ["mask"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Einsum", ["rows", "mask"], ["sentence_embedding"], equation="btd,bt->bd"),
    ]
    take = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    give = [onnx.helper.make_tensor_value_info("sentence_embedding", onnx.TensorProto.FLOAT, ["batch", 4])]
    graph = onnx.helper.make_graph(nodes, "model", take, give, [table])
    (folder / "onnx").mkdir()
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "onnx" / "model.onnx")


def run(main: Callable[[], None], *argv: object) -> None:
    sys.argv = list(map(str, argv))
    main()


def load_automatically(artefact: Path, work: Path) -> None:
    AutoModel.from_pretrained(artefact, trust_remote_code=True).encode(["soup goal"])


def load_classifier(artefact: Path, work: Path) -> None:
    AutoModelForSequenceClassification.from_pretrained(artefact, trust_remote_code=True)


def publish_it(artefact: Path, work: Path) -> None:
    run(publish.main, "publish.py", artefact, "--output_dir", work / "out")


def evaluate_it(artefact: Path, work: Path) -> None:
    file = work / "data" / "sts" / "STSBenchmark.test.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table({"sentence1": ["a"], "sentence2": ["b"], "score": [1.0]}), file)
    flags = ("--tasks", "STSBenchmark", "--data_dir", work / "data", "--output_dir", work / "out")
    model = next(artefact.glob("onnx/*.onnx"), artefact)
    run(evaluate_mteb.main, "evaluate_mteb.py", "--model", model, *flags)


def train_its_head(artefact: Path, work: Path) -> None:
    table = write_table(work / "train.csv", topic_rows(20))
    flags = ("--train_file", table, "--output_dir", work / "out")
    run(train_head.main, "train_head.py", "--model", artefact, *flags)


def train_it_on(artefact: Path, work: Path) -> None:
    (work / "texts.txt").write_text("\n".join(text for text, _ in topic_rows(20)))
    flags = ("--corpus", work / "texts.txt", "--simcse_weight", 1, "--output_dir", work / "out")
    run(train_distill.main, "train_distill.py", "--encoder", artefact, *flags)


def learn_from_it(artefact: Path, work: Path) -> None:
    (work / "texts.txt").write_text("\n".join(text for text, _ in topic_rows(20)))
    flags = ("--corpus", work / "texts.txt", "--output_dir", work / "out")
    run(train_distill.main, "train_distill.py", "--teacher", artefact, *flags)


def embed_by_onnx(artefact: Path, work: Path) -> None:
    OnnxEmbedder(artefact / "onnx" / "model.onnx")


def serve_it(artefact: Path, work: Path) -> None:
    run(serve.main, "serve.py", artefact, "--port", 18_231)


def read_as_corpus(artefact: Path, work: Path) -> None:
    flags = ("--encoder", work / "model", "--simcse_weight", 1, "--output_dir", work / "out")
    run(train_distill.main, "train_distill.py", "--corpus", *artefact.iterdir(), *flags)


def read_as_labelled_texts(artefact: Path, work: Path) -> None:
    flags = ("--train_file", *artefact.iterdir(), "--output_dir", work / "out")
    run(train_head.main, "train_head.py", "--model", work / "model", *flags)


def read_as_recipe(artefact: Path, work: Path) -> None:
    run(train_distill.main, "train_distill.py", "--config", *artefact.iterdir(), "--output_dir", work / "out")


def open_as_store(artefact: Path, work: Path) -> None:
    EmbeddingStore(artefact).check_shards()


READERS: dict[str, Callable[[Path, Path], None]] = {
    "AutoModel": load_automatically,
    "publish.py": publish_it,
    "evaluate_mteb.py --model": evaluate_it,
    "train_head.py --model": train_its_head,
    "train_distill.py --encoder": train_it_on,
    "serve.py": serve_it,
    "train_distill.py --teacher": learn_from_it,
    "OnnxEmbedder": embed_by_onnx,
    "a classifier": load_classifier,
    "train_distill.py --corpus": read_as_corpus,
    "train_head.py --train_file": read_as_labelled_texts,
    "train_distill.py --config": read_as_recipe,
    "a store": open_as_store,
}
CLASSIFIER = ["AsteriskForSequenceClassification"]
MODEL_READERS = list(READERS)[:5]
# These start from a valid model, too.
OF_MODELS = {*MODEL_READERS, "train_distill.py --teacher", "OnnxEmbedder", "a classifier"}


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


def one_nested_list(folder: Path) -> None:
    """A kilobyte that holds a nested list of 10^8 equal numbers."""
    inner = pa.ListArray.from_arrays(pa.array([0, ITEMS], pa.int32()), pa.array(np.zeros(ITEMS, np.int8)))
    outer = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), inner)
    pq.write_table(pa.table({"text": ["soup"], "label": outer}), folder / "rows.parquet", compression="zstd")


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
    ("Parquet, a row of one list of 10^8 items", one_nested_list, "over 200 times its own"),
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

# Messages of transformers itself.
OTHERWISE = {
    ("a weight of another shape", "AutoModel"): "`ignore_mismatched_sizes`",
    ("a smaller token table", "AutoModel"): "`ignore_mismatched_sizes`",
}

CASES = [
    *(
        Case(name, reader, make, OTHERWISE.get((name, reader), said))
        for name, make, said in MODELS
        for reader in MODEL_READERS
    ),
    *(
        Case("a list of weights that names ../x", reader, weights_elsewhere, "which is not in its folder")
        for reader in MODEL_READERS[1:]
    ),
    Case("a head that is not there", "publish.py", config(architectures=CLASSIFIER), "classifier.dense.bias"),
    Case("a head that is not there", "a classifier", config(architectures=CLASSIFIER), "classifier.dense.bias"),
    Case("a pickle instead of safetensors", "train_distill.py --teacher", only_a_pickle, "model.safetensors"),
    *(
        Case("ONNX, a token beyond the table", reader, add_onnx, "a token of id 16, which the embedding table lacks")
        for reader in ("evaluate_mteb.py --model", "OnnxEmbedder")
    ),
    *(Case(name, "train_distill.py --corpus", make, said) for name, make, said in TEXTS),
    *(Case(name, "train_head.py --train_file", make, said) for name, make, said in TEXTS),
    *(Case(name, "train_distill.py --config", make, said) for name, make, said in RECIPES),
    *(Case(name, "a store", make, said) for name, make, said in STORES),
]


def refuse(case: Case, work: Path) -> Refusal | None:
    """Return the refusal of a case, which runs in a separate process; None if it is accepted."""
    artefact = work / "artefact"
    model = write_tiny_asterisk(work / "model")
    if case.reader in OF_MODELS:
        model.rename(artefact)
    else:
        artefact.mkdir()
    case.make(artefact)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        answer = pickle.dumps(_tried(case, artefact, work))
        with os.fdopen(writing, "wb") as file:
            file.write(answer)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        answer = file.read()
    os.waitpid(child, 0)
    assert answer, f"The process that tried {case} died."
    return pickle.loads(answer)


def _tried(case: Case, artefact: Path, work: Path) -> Refusal | None:
    said = (work / "said").open("w+")
    sys.stdout, sys.stderr = (work / "printed").open("w"), said
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()

    def refusal(kind: str, sentence: str) -> Refusal:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        return Refusal(kind, sentence.replace(str(work), ""), time.process_time() - start, peak / 1024)

    try:
        READERS[case.reader](artefact, work)
    except SystemExit as error:
        said.flush()
        return refusal(f"exit {error.code}", (work / "said").read_text())
    except Exception as error:
        return refusal(type(error).__name__, str(error))
    return None
