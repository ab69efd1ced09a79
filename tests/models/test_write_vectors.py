"""embed.py writes the vectors of any number of texts, by one process or several, whole or not at all."""

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers.util import quantize_embeddings

from asterisk.core.errors import UserError
from asterisk.core.processes import this_process
from asterisk.core.vectors import read_ranges
from asterisk.models import write_vectors as embedding_file
from asterisk.models.write_vectors import CHUNK, write_embeddings
from modeling_asterisk import AsteriskModel
from tests.support.labelled import topic_rows, write_tiny_asterisk
from tests.support.mounting import small_file_system
from tests.support.paths import REPOSITORY
from tests.support.programs import run_here


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Short texts for more than one chunk."""
    return ["", *(text for text, _ in topic_rows(CHUNK + 1_000))]


@pytest.fixture(scope="module")
def file(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_rows_are_the_models_vectors_in_the_order_of_the_texts(
    file: Path, texts: list[str], tmp_path: Path, processes: int
) -> None:
    folder, output = write_tiny_asterisk(tmp_path / "model"), tmp_path / "vectors.npy"
    command = ["embed.py", str(file), "--model", str(folder), "--output_file", str(output)]
    if processes == 1:
        result = run_here(*command)
    else:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        result = subprocess.run(
            [sys.executable, *launch, *command],
            cwd=REPOSITORY,
            env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(f"{len(texts):,} vectors of") == 1
    vectors = np.load(output, mmap_mode="r")
    model = AsteriskModel.from_pretrained(folder)
    some = [0, 1, CHUNK - 1, CHUNK, len(texts) - 1]
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(texts), model.config.embedding_size)
    np.testing.assert_allclose(vectors[some], model.encode([texts[row] for row in some]), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors[1:], axis=1), 1, atol=1e-5)  # the first text has no token
    assert {path.name for path in tmp_path.iterdir()} == {"model", "vectors.npy"}


class Counting:
    """An encoder whose vectors are the text's number."""

    dimension = 16

    def encode(self, texts: list[str], batch_size: int = 64, prompt: str | None = None) -> np.ndarray:
        return np.repeat(np.array([[float(text)] for text in texts], dtype=np.float32), self.dimension, axis=1)


COUNTING: Any = Counting()


def numbers(count: int) -> Iterator[str]:
    return map(str, range(count))


def test_memory_does_not_grow_with_the_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_file, "CHUNK", 500)
    peaks = []
    for count in (2_000, 40_000):
        tracemalloc.start()
        write_embeddings(COUNTING, partial(numbers, count), tmp_path / "v.npy", this_process())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        np.testing.assert_array_equal(np.load(tmp_path / "v.npy")[:, 3], np.arange(count))
    # The larger file has 2.4 MB more.
    assert peaks[1] < peaks[0] + 200_000


def test_half_precision_halves_the_file(tmp_path: Path) -> None:
    for dtype in ("float32", "float16"):
        write_embeddings(COUNTING, lambda: numbers(100), tmp_path / f"{dtype}.npy", this_process(), dtype=dtype)
    assert np.load(tmp_path / "float16.npy").nbytes * 2 == np.load(tmp_path / "float32.npy").nbytes
    np.testing.assert_array_equal(np.load(tmp_path / "float16.npy"), np.load(tmp_path / "float32.npy"))


@pytest.mark.parametrize("dtype", ["int8", "ubinary"])
def test_quantised_files_equal_sentence_transformers(tmp_path: Path, dtype: Any) -> None:
    for name in ("float32", dtype):
        write_embeddings(COUNTING, lambda: numbers(100), tmp_path / f"{name}.npy", this_process(), dtype=name)
    expected: Any = quantize_embeddings(np.load(tmp_path / "float32.npy"), dtype)
    found = np.load(tmp_path / f"{dtype}.npy")
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    # The ranges quantise later texts alike.
    assert (tmp_path / "int8.ranges.npy").exists() == (dtype == "int8")
    if dtype == "int8":
        ranges, queries = read_ranges(tmp_path / "int8.ranges.npy", 16), tmp_path / "queries.npy"
        write_embeddings(COUNTING, lambda: numbers(10), queries, this_process(), dtype="int8", ranges=ranges)
        np.testing.assert_array_equal(np.load(queries), expected[:10])
        with pytest.raises(UserError, match=r"have shape \(2, 16\); they must be \(2, 8\)"):
            read_ranges(tmp_path / "int8.ranges.npy", 8)


def test_full_disk_is_named_and_the_older_file_stays(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_file_system(disk, "256k"):
        write_embeddings(COUNTING, lambda: numbers(100), disk / "v.npy", this_process())
        with pytest.raises(UserError, match=r"v\.npy could not be written: No space left on device"):
            write_embeddings(COUNTING, lambda: numbers(20_000), disk / "v.npy", this_process())
        assert len(np.load(disk / "v.npy")) == 100
        assert [path.name for path in disk.iterdir()] == ["v.npy"]


def test_a_table_is_read_with_the_given_separator_and_encoding(tmp_path: Path) -> None:
    model = write_tiny_asterisk(tmp_path / "model")
    table, output = tmp_path / "table.csv", tmp_path / "vectors.npy"
    table.write_bytes("ça^text\né^soup with salt\nè^the team\n".encode("mac_roman"))
    flags = ["--separator", "^", "--encoding", "mac_roman"]
    result = run_here("embed.py", table, "--model", model, "--output_file", output, *flags)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    expected = AsteriskModel.from_pretrained(model).encode(["soup with salt", "the team"])
    np.testing.assert_allclose(np.load(output), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--texts is missing"),
        (["{file}"], "--model is missing"),
        (["{file}", "--model", "m"], "--output_file is missing"),
        (["{file}", "--model", "m", "--output_file", "v.txt"], "must end in .npy"),
        (["{file}", "--model", "m", "--output_file", "nowhere/v.npy"], "There is no folder nowhere"),
        (["{file}", "--model", "m", "--output_file", "v.npy", "--dtype", "int4"], "--dtype must be"),
        (["{file}", "--model", "m", "--output_file", "v.npy", "--batch_size", "0"], "at least 1"),
        (
            ["{file}", "--model", "m", "--output_file", "v.npy", "--ranges", "r.npy"],
            "--ranges needs --dtype int8",
        ),
        (["missing.txt", "--model", "m", "--output_file", "v.npy"], "There is no file missing.txt"),
    ],
)
def test_wrong_arguments_get_a_sentence(file: Path, arguments: list[str], message: str) -> None:
    result = run_here("embed.py", *(each.format(file=file) for each in arguments))
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_no_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no texts to embed"):
        write_embeddings(COUNTING, lambda: numbers(0), tmp_path / "v.npy", this_process())
    assert not list(tmp_path.iterdir())
