"""Compute the output of each form of a published folder with the consumers' libraries, without this repository.

    python -P asterisk/publishing/consumers.py FOLDER TEXTS.json OUTPUTS.npz

The program imports only what consumers have (torch, transformers, sentence-transformers, onnxruntime). It runs in a
separate process, so that it executes the code in the folder instead of this repository's code.
"""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

BATCH = 64
# Marks the pooled first output of an ONNX file, for consumers that do not know `sentence_embedding`.
POOLED = ", pooled"
Form = Callable[[list[str]], np.ndarray]


def forms(folder: Path) -> Iterator[tuple[str, Form]]:
    """Yield the name of each form in the folder and its function: texts to (texts, dimensions or labels), float32."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if "AsteriskForSequenceClassification" in config["architectures"]:
        yield "AutoModelForSequenceClassification", auto_model(folder, "logits")
    elif config["model_type"] == "asterisk":
        yield "AutoModel", auto_model(folder, "pooler_output")
    if (folder / "modules.json").exists():
        yield "sentence-transformers", sentence_transformer(folder)
    if (folder / "handler.py").exists():
        yield "handler.py", handler(folder)
    for file in sorted((folder / "onnx").glob("*.onnx")):
        yield f"onnx/{file.name}", onnx_file(folder, file, pool=False)
        if has_mean_pooling(folder):
            yield f"onnx/{file.name}{POOLED}", onnx_file(folder, file, pool=True)
    for file in sorted((folder / "openvino").glob("*.xml")):
        yield f"openvino/{file.name}", openvino_file(folder, file, pool=False)
        if has_mean_pooling(folder):
            yield f"openvino/{file.name}{POOLED}", openvino_file(folder, file, pool=True)


def load_tokenizer(folder: Path) -> Callable:
    """Return a function that converts texts to padded tensors with the folder's own settings."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    limited = tokenizer.model_max_length < 1_000_000
    return lambda texts, kind: tokenizer(texts, padding=True, truncation=limited, return_tensors=kind)


def auto_model(folder: Path, output: str) -> Form:
    """Load the model with its Auto class; the form is one of its outputs."""
    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification

    kind = AutoModelForSequenceClassification if output == "logits" else AutoModel
    model, tokenize = kind.from_pretrained(folder, trust_remote_code=True).eval(), load_tokenizer(folder)

    @torch.inference_mode()
    def run(texts: list[str]) -> np.ndarray:
        return model(**tokenize(texts, "pt"))[output].float().numpy()

    return run


def sentence_transformer(folder: Path) -> Form:
    """Load the folder with sentence-transformers; the form is `encode`."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")
    return lambda texts: model.encode(texts, batch_size=BATCH, show_progress_bar=False)


def handler(folder: Path) -> Form:
    """Load the handler; the form returns its answers: embeddings, or logits in the order of the labels."""
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
        rows = [{labels[each["label"]]: each["score"] for each in scores} for scores in answers]
        return np.array([[row[index] for index in sorted(row)] for row in rows], dtype=np.float32)

    return answer


def has_mean_pooling(folder: Path) -> bool:
    """Return whether the embedding is the mean of the token vectors, as fastembed and transformers.js compute it."""
    file = folder / "1_Pooling" / "config.json"
    return file.exists() and json.loads(file.read_text(encoding="utf-8"))["pooling_mode"] == "mean"


def onnx_file(folder: Path, file: Path, pool: bool) -> Form:
    """Load an ONNX file; the form is its last output, or with `pool` the masked mean of its first output."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return graph(folder, lambda feeds: session.run(None, feeds), pool)


def openvino_file(folder: Path, file: Path, pool: bool) -> Form:
    """Load an OpenVINO file; the form is as for [`onnx_file`]."""
    import openvino

    model = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return graph(folder, lambda feeds: list(model(feeds).values()), pool)


def graph(folder: Path, run_graph: Callable[[dict[str, np.ndarray]], list[np.ndarray]], pool: bool) -> Form:
    """Return the form of a graph that takes token ids."""
    tokenize = load_tokenizer(folder)

    def run(texts: list[str]) -> np.ndarray:
        inputs = tokenize(texts, "np")
        feeds = {name: inputs[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
        outputs = run_graph(feeds)
        if not pool:
            return outputs[-1]
        mask = feeds["attention_mask"][..., None].astype(np.float32)
        return (outputs[0] * mask).sum(axis=1) / mask.sum(axis=1)

    return run


def main() -> None:
    """Read the texts and write one array per form, with rows in the order of the texts."""
    folder, source, target = map(Path, sys.argv[1:])
    texts = json.loads(source.read_text(encoding="utf-8"))
    # Batch texts of similar length, as consumers do.
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    batches = [[texts[index] for index in order[start : start + BATCH]] for start in range(0, len(order), BATCH)]
    outputs = {name: np.concatenate([compute(batch) for batch in batches]) for name, compute in forms(folder)}
    inverse = np.argsort(order)
    np.savez(target, **{name: rows[inverse] for name, rows in outputs.items()})  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
