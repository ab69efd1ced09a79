"""Vectors that were computed elsewhere teach as the model that made them; broken ones are refused by row."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from asterisk.core.errors import UserError
from asterisk.data.corpus import build_corpus
from asterisk.teachers.arguments import TeacherArguments
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.encoder import SentenceTransformerTeacher
from asterisk.teachers.teacher import load_teacher


def save_vectors(path: Path, texts: list, vectors: list | pa.Array) -> None:
    table = pa.table({"text": texts, "embedding": vectors})
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)


@pytest.mark.parametrize("form", ["folder", "file.parquet", "store", "datasets", "npy"])
@pytest.mark.slow
def test_precomputed_vectors_teach_as_the_model_that_made_them(
    teacher: SentenceTransformerTeacher, sentences: list[str], tmp_path: Path, form: str
) -> None:
    texts = list(dict.fromkeys(sentence.strip() for sentence in sentences[:5800:58]))
    expected = teacher.encode(texts)[0]
    path = tmp_path / form
    spec = f"vectors:{path}"
    scaled = list(expected * 7)
    if form == "folder":
        save_vectors(path / "a.parquet", texts[:50], scaled[:50])
        save_vectors(path / "b.parquet", [f" {text}\n" for text in texts[50:]], scaled[50:])
    elif form == "file.parquet":
        save_vectors(path, texts, scaled)
        spec += "#embedding"
    elif form == "store":
        (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
        corpus = build_corpus([str(tmp_path / "texts.txt")], tmp_path / "corpus")
        embed_corpus(corpus, teacher, path)
        texts = corpus.shard(0)
        expected = teacher.encode(texts)[0]
    elif form == "datasets":
        Dataset.from_dict({"text": texts, "embedding": scaled}).save_to_disk(path)
    else:
        np.save(tmp_path / "made.npy", expected.astype(np.float16))
        (tmp_path / "made.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
        spec = f"vectors:{tmp_path / 'made.npy'}"
    precomputed = load_teacher(TeacherArguments(spec))
    assert (precomputed.dimension, precomputed.tokenizer, precomputed.max_length) == (384, None, None)
    order = np.random.default_rng(0).permutation(len(texts))
    vectors, truncated = precomputed.encode([texts[index] for index in order])
    assert (vectors.dtype, truncated) == (np.float32, 0)
    np.testing.assert_allclose(vectors, expected[order], atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert load_teacher(TeacherArguments(spec)).fingerprint == precomputed.fingerprint
    with pytest.raises(UserError, match=r"no vector for 1 of 2 texts, such as 'Never embedded\.'"):
        precomputed.encode([texts[0], "Never embedded."])


def test_fingerprint_of_vectors_changes_with_texts_and_vectors(tmp_path: Path) -> None:
    fingerprints = set()
    for number, (texts, vectors) in enumerate(
        [(["a", "b"], [[1.0, 0.0], [0.0, 1.0]]), (["a", "c"], [[1.0, 0.0], [0.0, 1.0]]), (["a"], [[1.0, 0.1]])]
    ):
        save_vectors(tmp_path / f"{number}.parquet", texts, vectors)
        fingerprints.add(load_teacher(TeacherArguments(f"vectors:{tmp_path / str(number)}.parquet")).fingerprint)
    assert len(fingerprints) == 3


def test_first_vector_of_a_repeated_text_counts(tmp_path: Path) -> None:
    save_vectors(tmp_path / "v.parquet", ["a", "b", "a"], [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    vectors, _ = load_teacher(TeacherArguments(f"vectors:{tmp_path}/v.parquet")).encode(["a"])
    assert vectors.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(
    ("texts", "vectors", "message"),
    [
        (["a", "b"], [[1.0, 0.0], [float("nan"), 1.0]], "row 1 is not finite"),
        (["a", "b"], [[1.0, 0.0], [1.0, float("inf")]], "row 1 is not finite"),
        (["a", "b"], [[1.0, 0.0], [1.0, None]], "row 1 is not finite"),
        (["a", "b"], [[1.0, 0.0], [0.0, 0.0]], "row 1 is zero"),
        (["a", "b", "c"], [[1.0, 0.0], [1.0, 0.0], [1.0]], "row 2 has a vector of another width than the 2 before"),
        (["a", "b"], [[1.0, 0.0], None], "row 1 has no vector"),
        (["a", None], [[1.0, 0.0], [1.0, 0.0]], "row 1 has no text"),
        ([], pa.array([], pa.list_(pa.float32())), "holds null instead of text|no vectors in"),
        (["a"], [1.0], "holds double instead of lists of numbers"),
        (["a"], [["b"]], "holds list<.*string> instead of lists of numbers"),
        ([1], [[1.0]], "holds int64 instead of text"),
    ],
)
@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_broken_vectors_are_refused_by_row(
    tmp_path: Path, texts: list, vectors: list, message: str, suffix: str
) -> None:
    save_vectors(tmp_path / f"v{suffix}", texts, vectors)
    with pytest.raises(UserError, match=message):
        load_teacher(TeacherArguments(f"vectors:{tmp_path}/v{suffix}"))


def test_row_of_a_broken_vector_is_counted_in_its_own_file(tmp_path: Path) -> None:
    texts = [str(number) for number in range(10_000)]
    vectors = np.ones((10_000, 3))
    save_vectors(tmp_path / "v" / "a.parquet", texts, list(vectors))
    vectors[9_123, 1] = np.nan
    save_vectors(tmp_path / "v" / "b.parquet", texts, list(vectors))
    with pytest.raises(UserError, match=r"b\.parquet: the vector of row 9123 is not finite"):
        load_teacher(TeacherArguments(f"vectors:{tmp_path / 'v'}"))
    save_vectors(tmp_path / "v" / "b.parquet", texts, list(np.ones((10_000, 4))))
    with pytest.raises(UserError, match=r"b\.parquet: the vector of row 0 has 4 dimensions instead of 3"):
        load_teacher(TeacherArguments(f"vectors:{tmp_path / 'v'}"))


def test_array_that_does_not_fit_its_lines_is_refused(tmp_path: Path) -> None:
    spec = f"vectors:{tmp_path / 'v.npy'}"
    np.save(tmp_path / "v.npy", np.ones((3, 2)))
    with pytest.raises(UserError, match=r"There is no .*v\.txt; it must hold the texts"):
        load_teacher(TeacherArguments(spec))
    (tmp_path / "v.txt").write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"has 2 lines and .* 3 rows"):
        load_teacher(TeacherArguments(spec))
    (tmp_path / "v.txt").write_bytes(b"one\ntwo\n\xff\n")
    with pytest.raises(UserError, match="is not UTF-8"):
        load_teacher(TeacherArguments(spec))
    np.save(tmp_path / "v.npy", np.ones(3))
    with pytest.raises(UserError, match=r"shape \(3,\) instead of"):
        load_teacher(TeacherArguments(spec))
    np.save(tmp_path / "v.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read"):
        load_teacher(TeacherArguments(spec))


def test_unreadable_or_other_table_is_refused(tmp_path: Path) -> None:
    for suffix in (".parquet", ".arrow"):
        (tmp_path / f"v{suffix}").write_bytes(b"no table")
        with pytest.raises(UserError, match="cannot be read"):
            load_teacher(TeacherArguments(f"vectors:{tmp_path}/v{suffix}"))
    save_vectors(tmp_path / "v.parquet", ["a"], [[1.0]])
    with pytest.raises(UserError, match=r"has no column 'vector'; its columns are text, embedding"):
        load_teacher(TeacherArguments(f"vectors:{tmp_path}/v.parquet#vector"))
