"""GGUF files hold what llama.cpp's GPT-2 reads, and are refused where it would compute something else."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from asterisk.core.errors import UserError
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.publishing.checkpoint import Checkpoint
from asterisk.teachers.encoder import SentenceTransformerTeacher
from modeling_asterisk import AsteriskConfig, AsteriskModel

gguf = pytest.importorskip("gguf")

from asterisk.publishing.gguf_export import WORD_START, write_gguf_files  # noqa: E402

TEXTS = ["A man plays the guitar.", "Über Straßenbahnen – 東京 🙂", "two\nlines", "?"]


@pytest.fixture(scope="module")
def tokenizer(teacher: SentenceTransformerTeacher) -> PreTrainedTokenizerFast:
    return student_tokenizer(teacher, 64)


def checkpoint(tokenizer: PreTrainedTokenizerFast, **changes: object) -> Checkpoint:
    """A model whose weights all differ, with two rows that have no token."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "projection_dim": None, "max_position_embeddings": 64}
    config = AsteriskConfig(**{"vocab_size": len(tokenizer) + 2, **sizes, **changes})  # type: ignore[arg-type]
    model = AsteriskModel(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return Checkpoint(Path("model"), model, tokenizer)


def value(reader: Any, key: str) -> object:
    return reader.get_field(key).contents()


def test_files_hold_sizes_settings_and_weights(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    own = checkpoint(tokenizer, exit_layers=[1])
    write_gguf_files(own, tmp_path)
    weights = own.backbone.state_dict()
    for suffix, tolerance in (("F32", 0.0), ("F16", 1e-3), ("Q8_0", 1e-2)):
        reader = gguf.GGUFReader(tmp_path / f"model-{suffix}.gguf")
        expected = {
            "general.architecture": "gpt2",
            "gpt2.context_length": 64,
            "gpt2.embedding_length": 64,
            "gpt2.feed_forward_length": 96,
            "gpt2.block_count": 2,
            "gpt2.attention.head_count": 2,
            "gpt2.attention.causal": False,
            "gpt2.pooling_type": gguf.PoolingType.MEAN,
        }
        assert {key: value(reader, key) for key in expected} == expected
        assert value(reader, "gpt2.attention.layer_norm_epsilon") == pytest.approx(1e-5)
        tensors = {each.name: gguf.quants.dequantize(each.data, each.tensor_type) for each in reader.tensors}
        assert len(tensors) == len([name for name in weights if not name.startswith("exits.")])
        for name, source in (
            ("token_embd.weight", "embeddings.embed_tokens.weight"),
            ("position_embd.weight", "embeddings.embed_positions.weight"),
            ("blk.1.attn_qkv.weight", "layers.1.self_attn.qkv_proj.weight"),
            ("blk.0.ffn_down.bias", "layers.0.mlp.down_proj.bias"),
            ("output_norm.weight", "norm.weight"),
        ):
            largest = float(weights[source].abs().max())
            np.testing.assert_allclose(tensors[name], weights[source].numpy(), atol=tolerance * largest)


def test_vocabulary_is_in_the_form_of_llama_cpp(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    write_gguf_files(checkpoint(tokenizer), tmp_path, compact=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model-Q8_0.gguf"]
    reader = gguf.GGUFReader(tmp_path / "model-Q8_0.gguf")
    tokens, kinds = (value(reader, f"tokenizer.ggml.{name}") for name in ("tokens", "token_type"))
    ids = tokenizer.get_vocab()
    assert value(reader, "tokenizer.ggml.model") == "bert"
    assert tokens[ids["rain"]] == f"{WORD_START}rain"  # type: ignore[index]
    assert tokens[ids["##ing"]] == "ing"  # type: ignore[index]
    assert tokens[ids["[CLS]"]] == "[CLS]"  # type: ignore[index]
    assert kinds[ids["[CLS]"]] == gguf.TokenType.CONTROL  # type: ignore[index]
    assert len(tokens) == len(kinds) == len(tokenizer) + 2  # type: ignore[arg-type]
    assert kinds[-1] == gguf.TokenType.UNUSED  # type: ignore[index]
    assert value(reader, "tokenizer.ggml.bos_token_id") == tokenizer.cls_token_id
    assert value(reader, "tokenizer.ggml.seperator_token_id") == tokenizer.sep_token_id


@pytest.mark.parametrize("suffix", ["F32", "F16", "Q8_0"])
def test_llama_cpp_gives_the_same_vectors(tokenizer: PreTrainedTokenizerFast, tmp_path: Path, suffix: str) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    own = checkpoint(tokenizer)
    write_gguf_files(own, tmp_path)
    model = llama_cpp.Llama(str(tmp_path / f"model-{suffix}.gguf"), embedding=True, n_ctx=0, verbose=False)
    vectors = np.array(model.embed(TEXTS, normalize=True))
    assert (vectors * own.output(TEXTS)).sum(axis=1).min() > (0.999 if suffix == "Q8_0" else 0.9999)


def without_separator(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["post_processor"] = None
    backend = type(tokenizer.backend_tokenizer).from_str(json.dumps(content))
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=64, **tokenizer.special_tokens_map)


def test_other_models_are_refused(
    tokenizer: PreTrainedTokenizerFast, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    byte_level = student_tokenizer(teacher, 64, "trained:400", TEXTS * 9)
    for own, message in (
        (checkpoint(tokenizer, projection_dim=32), "trained without projection"),
        (checkpoint(tokenizer, position_encoding="none"), "no learned positions"),
        (checkpoint(tokenizer, hidden_act="relu"), "hidden_act 'relu'; llama.cpp's GPT-2 computes only GELU"),
        (checkpoint(tokenizer, hidden_size=48), "not a multiple of 32"),
        (checkpoint(byte_level), "needs a WordPiece tokenizer"),
        (checkpoint(without_separator(tokenizer)), r"tokenizer adds \[\]; a GGUF file needs"),
    ):
        with pytest.raises(UserError, match=message):
            write_gguf_files(own, tmp_path / "gguf")
    assert not (tmp_path / "gguf").exists()
