"""A saved folder loads by every Auto class in a process that knows transformers and torch but not this repository."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asterisk.distillation.student import new_student
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.models.checkpoints import save_student
from asterisk.teachers.encoder import SentenceTransformerTeacher
from modeling_asterisk import AsteriskConfig, AsteriskForSequenceClassification, AsteriskModel

TEXTS = ["A man is playing a guitar.", "Rain."]

# Importing either package is an error here, as it is where they are not installed.
BARE = """
import json, sys
sys.modules["modeling_asterisk"] = sys.modules["asterisk"] = None
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline
texts, load, found = json.loads(sys.argv[1]), dict(trust_remote_code=True), {}
for folder in ("backbone", "classifier"):
    config = AutoConfig.from_pretrained(folder, **load)
    tokenizer = AutoTokenizer.from_pretrained(folder, **load)
    model = AutoModel.from_pretrained(folder, **load).eval()
    classifier = AutoModelForSequenceClassification.from_pretrained(folder, **load).eval()
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        found[folder] = {
            "embeddings": model(**inputs).pooler_output.tolist(), "encoded": model.encode(texts).tolist(),
            "logits": classifier(**inputs).logits.tolist(), "type": config.model_type, "inputs": list(inputs),
        }
AutoModel.from_pretrained("backbone", **load).save_pretrained("again")
AutoTokenizer.from_pretrained("backbone", **load).save_pretrained("again")
AutoModelForSequenceClassification.from_pretrained("again", **load)
found["again"] = AutoModel.from_pretrained("again", **load).encode(texts).tolist()
found["features"] = pipeline("feature-extraction", "classifier", **load)(texts[0])
found["labels"] = pipeline("text-classification", "classifier", top_k=None, **load)(texts)
assert sys.modules["modeling_asterisk"] is None
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, teacher: SentenceTransformerTeacher) -> dict[str, Path]:
    """An embedding model's folder and a classifier's, with the same backbone."""
    root = tmp_path_factory.mktemp("saved")
    tokenizer = student_tokenizer(teacher, max_length=128)
    torch.manual_seed(0)
    config = AsteriskConfig(vocab_size=len(tokenizer), hidden_size=64, projection_dim=48, initializer_range=0.5)
    backbone = new_student(config, None, tokenizer)
    config.num_labels = 3
    classifier = AsteriskForSequenceClassification(config)
    classifier.asterisk.load_state_dict(backbone.state_dict())
    save_student(backbone, tokenizer, root / "backbone")
    save_student(classifier, tokenizer, root / "classifier")
    return {"backbone": root / "backbone", "classifier": root / "classifier"}


@pytest.fixture(scope="module")
def bare(folders: dict[str, Path]) -> dict[str, Any]:
    """The output of a bare process that loads the folders."""
    root = folders["backbone"].parent
    result = subprocess.run(
        [sys.executable, "-c", BARE, json.dumps(TEXTS)],
        cwd=root,
        # A new cache of remote code, so that no earlier test's is used.
        env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HF_HOME": str(root / "hf"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", ["backbone", "classifier"])
@pytest.mark.slow
def test_all_four_auto_classes_load_either_folder(folders: dict[str, Path], bare: dict[str, Any], kind: str) -> None:
    got = bare[kind]
    assert got["type"] == "asterisk"
    assert got["inputs"] == ["input_ids", "attention_mask"]
    expected = AsteriskModel.from_pretrained(folders[kind]).encode(TEXTS)
    np.testing.assert_allclose(got["embeddings"], expected, atol=1e-6)
    np.testing.assert_allclose(got["encoded"], expected, atol=1e-6)
    if kind == "classifier":
        model = AsteriskForSequenceClassification.from_pretrained(folders[kind]).eval()
        logits = model(sentence_embeddings=torch.from_numpy(expected)).logits.detach()
        np.testing.assert_allclose(got["logits"], logits, atol=1e-6)


@pytest.mark.slow
def test_folder_saved_again_by_a_user_still_holds_all_it_needs(folders: dict[str, Path], bare: dict[str, Any]) -> None:
    expected = AsteriskModel.from_pretrained(folders["backbone"]).encode(TEXTS)
    np.testing.assert_allclose(bare["again"], expected, atol=1e-6)
    again = folders["backbone"].with_name("again")
    assert {path.name for path in again.glob("*.py")} == {"configuration_asterisk.py", "modeling_asterisk.py"}


@pytest.mark.slow
def test_pipelines_run(folders: dict[str, Path], bare: dict[str, Any]) -> None:
    mean = np.mean(bare["features"][0], axis=0)
    expected = AsteriskModel.from_pretrained(folders["classifier"]).encode(TEXTS[0])
    np.testing.assert_allclose(mean / np.linalg.norm(mean), expected, atol=1e-6)
    assert [len(scores) for scores in bare["labels"]] == [3, 3]
    assert sum(score["score"] for score in bare["labels"][0]) == pytest.approx(1)


def test_tokenizer_is_saved_under_a_name_that_every_release_knows(folders: dict[str, Path]) -> None:
    settings = json.loads((folders["backbone"] / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert settings["model_max_length"] == 128
    assert settings["model_input_names"] == ["input_ids", "attention_mask"]
