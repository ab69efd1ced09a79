"""transformers' classification pipeline passes texts of any length; the head truncates them as the tokenizer would."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast, pipeline

from asterisk.models.checkpoints import save_student
from modeling_asterisk import AsteriskForSequenceClassification
from tests.support.models import make_classifier
from tests.support.paths import REPOSITORY

TEXTS = ["rain " * 300, "a short text", "rain again", "a man plays guitar " * 70]


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(REPOSITORY / "release" / "asterisk")


@pytest.fixture
def head(tokenizer: PreTrainedTokenizerFast) -> AsteriskForSequenceClassification:
    return make_classifier(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, max_position_embeddings=256)


def test_pipeline_truncates_as_the_tokenizer_does(
    head: AsteriskForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    save_student(head, tokenizer, tmp_path / "head")
    classify = pipeline("text-classification", str(tmp_path / "head"), trust_remote_code=True, device="cpu")
    found: Any = classify(TEXTS, batch_size=4, top_k=1)
    short = tokenizer(TEXTS, truncation=True, max_length=256, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = head(short["input_ids"], short["attention_mask"]).logits.softmax(-1).amax(-1)
    assert torch.allclose(torch.tensor([each[0]["score"] for each in found]), expected, atol=1e-5)


def test_truncation_is_said_and_needs_learned_positions(caplog: pytest.LogCaptureFixture) -> None:
    head = make_classifier(vocab_size=100, max_position_embeddings=20)
    ids = torch.ones(1, 30, dtype=torch.long)
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    try:
        assert torch.allclose(head(ids).logits, head(ids[:, :20]).logits, atol=1e-6)
    finally:
        logger.removeHandler(caplog.handler)
    assert "Texts of more than 20 tokens are truncated to 20." in caplog.text
    endless = make_classifier(vocab_size=100, position_encoding="none")
    changed = ids.clone()
    changed[0, -1] = 2
    assert not torch.allclose(endless(ids).logits, endless(changed).logits)
