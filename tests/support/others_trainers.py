"""Train a published folder with the trainers of other libraries, or load what they saved; without this repository.

    python -P tests/support/others_trainers.py train FOLDER SAVED
    python -P tests/support/others_trainers.py load FOLDER SAVED

`train` writes one folder for each entry of WAYS into SAVED, and its output in vectors.npy. `load` prints the largest
difference of each from the output of the loaded folder, as JSON.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import CoSENTLoss, MatryoshkaLoss, MultipleNegativesRankingLoss
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

TEXTS = ["A man plays the guitar.", "Rain falls.", "Somebody makes music.", "The weather is wet."]
PAIRS = {"sentence1": TEXTS[:2], "sentence2": TEXTS[2:]}
SETTINGS: dict[str, Any] = {
    "max_steps": 3,
    "per_device_train_batch_size": 2,
    "learning_rate": 1e-2,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "use_cpu": True,
}


def fit(model: SentenceTransformer, data: dict[str, list], loss: torch.nn.Module, saved: Path) -> None:
    """Train a few steps with sentence-transformers, and save."""
    arguments = SentenceTransformerTrainingArguments(str(saved / "run"), **SETTINGS)
    SentenceTransformerTrainer(model, arguments, train_dataset=Dataset.from_dict(data), loss=loss).train()
    model.save_pretrained(str(saved))


def load_sentence_transformer(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")


def sentence_vectors(folder: Path, saved: Path) -> np.ndarray:
    return load_sentence_transformer(saved).encode(TEXTS)


def ranking(folder: Path, saved: Path) -> None:
    model = load_sentence_transformer(folder)
    fit(model, PAIRS, MultipleNegativesRankingLoss(model), saved)


def matryoshka(folder: Path, saved: Path) -> None:
    model = load_sentence_transformer(folder)
    fit(model, PAIRS, MatryoshkaLoss(model, MultipleNegativesRankingLoss(model), [32, 16]), saved)


def cosent(folder: Path, saved: Path) -> None:
    model = load_sentence_transformer(folder)
    fit(model, {**PAIRS, "score": [0.9, 0.1]}, CoSENTLoss(model), saved)


def adapter(folder: Path, saved: Path) -> None:
    model = load_sentence_transformer(folder)
    model.add_adapter(LoraConfig(target_modules="all-linear", task_type="FEATURE_EXTRACTION"))
    fit(model, PAIRS, MultipleNegativesRankingLoss(model), saved)


def trainer(folder: Path, saved: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True, num_labels=2)
    data = Dataset.from_dict({**tokenizer(TEXTS), "labels": [0, 1, 0, 1]})
    arguments = TrainingArguments(str(saved / "run"), **SETTINGS)
    learner = Trainer(
        model,
        arguments,
        DataCollatorWithPadding(tokenizer),
        train_dataset=data,
        processing_class=tokenizer,
    )
    learner.train()
    learner.save_model(str(saved))


def logits(folder: Path, saved: Path) -> np.ndarray:
    tokenizer = AutoTokenizer.from_pretrained(saved, trust_remote_code=True)
    model = AutoModelForSequenceClassification.from_pretrained(saved, trust_remote_code=True).eval()
    return model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits.detach().numpy()


def peft(folder: Path, saved: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    base = AutoModel.from_pretrained(folder, trust_remote_code=True)
    model = get_peft_model(base, LoraConfig(target_modules="all-linear"))  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(SETTINGS["max_steps"]):
        embeddings = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).pooler_output
        (embeddings @ embeddings.T).mean().backward()
        optimizer.step()
    model.save_pretrained(str(saved))


def peft_vectors(folder: Path, saved: Path) -> np.ndarray:
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(folder, trust_remote_code=True), str(saved)).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    return model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).pooler_output.detach().numpy()


# How a model is trained and saved, and the output of the saved one.
WAYS: dict[str, tuple[Callable[[Path, Path], None], Callable[[Path, Path], np.ndarray]]] = {
    "MultipleNegativesRankingLoss": (ranking, sentence_vectors),
    "MatryoshkaLoss": (matryoshka, sentence_vectors),
    "CoSENTLoss": (cosent, sentence_vectors),
    "sentence-transformers with LoRA": (adapter, sentence_vectors),
    "Trainer": (trainer, logits),
    "peft": (peft, peft_vectors),
}


def main() -> None:
    action, folder, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    differences = {}
    for name, (train, output) in WAYS.items():
        saved = target / name
        if action == "train":
            train(folder, saved)
            np.save(saved / "vectors.npy", output(folder, saved))
        else:
            differences[name] = float(np.abs(output(folder, saved) - np.load(saved / "vectors.npy")).max())
    print(json.dumps(differences))


if __name__ == "__main__":
    main()
