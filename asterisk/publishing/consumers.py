"""What a published folder says to texts in each of its forms, computed as its users would: without this repository.

    python -P asterisk/publishing/forms.py FOLDER TEXTS.json OUTPUTS.npz

Imports what the consumers have (torch, transformers, sentence-transformers, onnxruntime) and nothing of Asterisk's,
and runs in a process of its own, so that the code that comes with the folder is the code that is run.
"""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

BATCH = 64
# Marks what consumers make of an ONNX file's first output, who know no `sentence_embedding`.
POOLED = ", pooled"
Form = Callable[[list[str]], np.ndarray]


def forms(folder: Path) -> dict[str, Form]:
    """Name of each form that the folder has → what it computes: (texts, dimensions or labels), float32."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    found: dict[str, Form] = {}
    if "AsteriskForSequenceClassification" in config["architectures"]:
        found["AutoModelForSequenceClassification"] = classifier(folder)
    elif config["model_type"] == "asterisk":
        found["AutoModel"] = pooled_model(folder)
    if (folder / "modules.json").exists():
        found["sentence-transformers"] = sentence_transformer(folder)
    if (folder / "handler.py").exists():
        found["handler.py"] = handler(folder)
    for file in sorted((folder / "onnx").glob("*.onnx")):
        found[f"onnx/{file.name}"] = onnx_file(folder, file)
        if pools_the_mean(folder):
            found[f"onnx/{file.name}{POOLED}"] = pooled_onnx_file(folder, file)
    return found


def tokenizer(folder: Path) -> Callable:
    """Texts → padded tensors, of the library's own settings."""
    from transformers import AutoTokenizer

    own = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    limited = own.model_max_length < 1_000_000
    return lambda texts, kind: own(texts, padding=True, truncation=limited, return_tensors=kind)


def pooled_model(folder: Path) -> Form:
    """`pooler_output` of the tensors that the tokenizer gives."""
    import torch
    from transformers import AutoModel

    model, tokenize = AutoModel.from_pretrained(folder, trust_remote_code=True).eval(), tokenizer(folder)

    @torch.inference_mode()
    def embed(texts: list[str]) -> np.ndarray:
        return model(**tokenize(texts, "pt")).pooler_output.float().numpy()

    return embed


def classifier(folder: Path) -> Form:
    """`logits` of the tensors that the tokenizer gives."""
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True).eval()
    tokenize = tokenizer(folder)

    @torch.inference_mode()
    def classify(texts: list[str]) -> np.ndarray:
        return model(**tokenize(texts, "pt")).logits.float().numpy()

    return classify


def sentence_transformer(folder: Path) -> Form:
    """`SentenceTransformer.encode`."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")
    return lambda texts: model.encode(texts, batch_size=BATCH, show_progress_bar=False)


def handler(folder: Path) -> Form:
    """The handler's answers, as the service would ask for them; of a classifier the logits, by label."""
    spec = importlib.util.spec_from_file_location("endpoint_handler", folder / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    endpoint = module.EndpointHandler(str(folder))

    def answer(texts: list[str]) -> np.ndarray:
        if not endpoint.is_classifier:
            return np.array(endpoint({"inputs": texts}), dtype=np.float32)
        labels = endpoint.classify.model.config.label2id
        answers = endpoint({"inputs": texts, "parameters": {"function_to_apply": "none"}})
        return np.array(
            [[score["score"] for score in sorted(each, key=lambda score: labels[score["label"]])] for each in answers],
            dtype=np.float32,
        )

    return answer


def onnx_file(folder: Path, file: Path) -> Form:
    """`sentence_embedding` or `logits` of an ONNX file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    output, tokenize = session.get_outputs()[-1].name, tokenizer(folder)

    def run(texts: list[str]) -> np.ndarray:
        inputs = tokenize(texts, "np")
        return session.run(
            [output], {name: inputs[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
        )[0]

    return run


def pools_the_mean(folder: Path) -> bool:
    """Whether the embedding is the mean of the token vectors, as fastembed and transformers.js would take it."""
    file = folder / "1_Pooling" / "config.json"
    return file.exists() and json.loads(file.read_text(encoding="utf-8"))["pooling_mode"] == "mean"


def pooled_onnx_file(folder: Path, file: Path) -> Form:
    """The mean of an ONNX file's `last_hidden_state` over the mask."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    tokenize = tokenizer(folder)

    def run(texts: list[str]) -> np.ndarray:
        inputs = tokenize(texts, "np")
        feeds = {name: inputs[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
        mask = feeds["attention_mask"][..., None].astype(np.float32)
        tokens = session.run(["last_hidden_state"], feeds)[0]
        return (tokens * mask).sum(axis=1) / mask.sum(axis=1)

    return run


def main() -> None:
    """Reads the texts and writes an array for each form, of the texts in their order."""
    folder, source, target = map(Path, sys.argv[1:])
    texts = json.loads(source.read_text(encoding="utf-8"))
    # Batches of even length, as consumers make them.
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    outputs = {}
    for name, compute in forms(folder).items():
        rows = [
            compute([texts[index] for index in order[start : start + BATCH]]) for start in range(0, len(order), BATCH)
        ]
        outputs[name] = np.empty((len(texts), rows[0].shape[1]), dtype=np.float32)
        outputs[name][order] = np.concatenate(rows)
    np.savez(target, **outputs)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
