"""The native twin gives the same embeddings, or is refused in one sentence."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, PreTrainedTokenizerFast

from asterisk.core.errors import UserError
from asterisk.core.files import read_json
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.models.tokenizers import save_tokenizer
from asterisk.publishing.checkpoint import Checkpoint
from asterisk.publishing.native import LARGEST_OFFSET, position_padding, write_native_model
from asterisk.teachers.encoder import SentenceTransformerTeacher
from modeling_asterisk import AsteriskConfig, AsteriskModel
from tests.support.paths import REPOSITORY

GPT2_FOLDER = REPOSITORY.parent / "shared" / "data" / "tokenizer" / "gpt2"
TEXTS = ["A man plays the guitar.", "rain", "Schnee fällt auf Zürich. 🙂", "word " * 300]


def checkpoint(tokenizer: PreTrainedTokenizerFast, **changes: object) -> Checkpoint:
    """A model without zero weights, so that every misplaced weight shows."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "projection_dim": 24, "layer_norm_eps": 1e-3}
    config = AsteriskConfig(**{"vocab_size": len(tokenizer), **sizes, **changes})  # type: ignore[arg-type]
    model = AsteriskModel(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return Checkpoint(Path("model"), model, tokenizer)


@pytest.fixture(scope="module")
def tokenizers(teacher: SentenceTransformerTeacher, sentences: list[str]) -> dict[str, PreTrainedTokenizerFast]:
    specs = ["teacher", "trained:2000", *([f"gpt2:{GPT2_FOLDER}"] if GPT2_FOLDER.is_dir() else [])]
    return {spec.partition(":")[0]: student_tokenizer(teacher, 128, spec, sentences[:500]) for spec in specs}


@pytest.mark.parametrize("kind", ["teacher", "trained", "gpt2"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_the_twin_gives_the_same_embeddings(
    tokenizers: dict[str, PreTrainedTokenizerFast], kind: str, pooling: str, tmp_path: Path
) -> None:
    if kind not in tokenizers:
        pytest.skip("GPT-2's vocabulary is not here")
    own = checkpoint(tokenizers[kind], pooling=pooling, hidden_act="gelu_new" if pooling == "cls" else "gelu")
    write_native_model(own, tmp_path, torch.float32)
    save_tokenizer(own.tokenizer, tmp_path)
    # The twin needs no remote code.
    assert not list(tmp_path.glob("*.py"))
    assert "auto_map" not in read_json(tmp_path / "config.json")
    twin = SentenceTransformer(str(tmp_path), trust_remote_code=False, device="cpu")
    np.testing.assert_allclose(twin.encode(TEXTS), own.output(TEXTS), atol=1e-5)
    # All weights come from the file.
    loaded, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert loaded.config.max_position_embeddings <= 129 + LARGEST_OFFSET


def test_models_without_a_twin_are_refused(tokenizers: dict[str, PreTrainedTokenizerFast], tmp_path: Path) -> None:
    tokenizer = tokenizers["trained"]
    for changes, message in (
        ({"is_causal": True}, "is_causal = True, for which transformers has no native twin"),
        ({"position_encoding": "none", "is_causal": False}, "position_encoding = 'none'"),
    ):
        with pytest.raises(UserError, match=message):
            write_native_model(checkpoint(tokenizer, **changes), tmp_path, torch.float32)
    late = PreTrainedTokenizerFast(tokenizer_object=tokenizers["teacher"].backend_tokenizer, pad_token="zebra")
    with pytest.raises(UserError, match="the twin's table of positions would grow"):
        position_padding(late)
    assert not list(tmp_path.iterdir())
