"""Adapters saved by themselves."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
)

from asterisk.data.labels import REGRESSION, SINGLE, LabelledTexts
from asterisk.data.splits import HeadData
from asterisk.heads.adapters import adapters_folder, save_adapters
from asterisk.heads.head_model import load_classifier
from tests.support.heads import NAMES, topics, train
from tests.support.labelled import write_tiny_asterisk


@pytest.mark.parametrize(("kind", "without_projection"), [(SINGLE, False), (REGRESSION, False), (SINGLE, True)])
def test_saved_adapters_on_the_base_model_equal_the_merged_model(
    model: Path, tmp_path: Path, kind: str, without_projection: bool
) -> None:
    data = None
    if kind == REGRESSION:
        texts = topics(64).texts
        lengths = [float(len(text)) for text in texts]
        data = HeadData(LabelledTexts("x", "text", "label", kind, texts, lengths), None, None, ["length"])
    if without_projection:
        model = write_tiny_asterisk(tmp_path / "model", projection_dim=None, exit_layers=[1, 0])
    merged, _ = train(model, tmp_path, data, mode="lora", num_epochs=2, learning_rate=0.01, keep_adapters=True)
    merged.config.temperature = 2.0
    save_adapters(merged, adapters_folder(tmp_path / "training" / "repeat-0"), str(model), tmp_path / "adapters")
    assert sum(file.stat().st_size for file in (tmp_path / "adapters").iterdir()) <= 1_000_000
    config = AutoConfig.from_pretrained(tmp_path / "adapters", trust_remote_code=True)
    assert config.temperature == 2
    assert config.id2label == merged.config.id2label
    base = AutoModelForSequenceClassification.from_pretrained(model, config=config, trust_remote_code=True)
    adapted = PeftModel.from_pretrained(base, tmp_path / "adapters").merge_and_unload().eval()
    _, tokenizer, _ = load_classifier(str(model), NAMES, SINGLE)
    encoded = tokenizer(["A text.", "Another one"], return_tensors="pt", padding=True, return_token_type_ids=False)
    with torch.no_grad():
        torch.testing.assert_close(adapted(**encoded).logits, merged.eval()(**encoded).logits, rtol=1e-4, atol=1e-4)
