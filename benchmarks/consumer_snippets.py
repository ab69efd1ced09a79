"""The code that users of each consumer write; consumers.py runs it in that consumer's environment.

A Python snippet receives `folder`, `form` (one of FORMS in consumers.py, or an ONNX file in the folder), `remote`
(whether code of the folder may run) and `texts`, and sets `vectors`; a JavaScript snippet receives all but `remote`.
"""

REMOTE, NATIVE = "remote code", "native twin"
ONNX = ("onnx/model.onnx", "onnx/model_fp16.onnx", "onnx/model_quantized.onnx", "onnx/model_int8.onnx")

ENCODE = """
import torch
from transformers import AutoModel

model = AutoModel.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32)
vectors = model.encode(texts)
"""

SENTENCE_TRANSFORMERS = """
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(folder, trust_remote_code=remote, device="cpu")
vectors = model.encode(texts, show_progress_bar=False)
"""

# The twin's projection is sentence-transformers' Dense module, which a pipeline does not know.
PIPELINE = """
import numpy as np
from safetensors.numpy import load_file
from transformers import pipeline

extract = pipeline("feature-extraction", model=folder, trust_remote_code=remote, device="cpu")
vectors = np.array([np.mean(extract(text, truncation=True)[0], axis=0) for text in texts])
if not remote:
    dense = load_file(f"{folder}/2_Dense/model.safetensors")
    vectors = vectors @ dense["linear.weight"].T + dense["linear.bias"]
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
"""

ONNXRUNTIME = """
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
settings = json.loads(Path(f"{folder}/tokenizer_config.json").read_text(encoding="utf-8"))
tokenizer.enable_truncation(settings["model_max_length"])
tokenizer.enable_padding(pad_id=tokenizer.token_to_id(settings["pad_token"]), pad_token=settings["pad_token"])
session = onnxruntime.InferenceSession(f"{folder}/{form}")
encoded = tokenizer.encode_batch(texts)
inputs = {
    "input_ids": np.array([each.ids for each in encoded]),
    "attention_mask": np.array([each.attention_mask for each in encoded]),
}
vectors = session.run(["sentence_embedding"], inputs)[0]
"""

FASTEMBED = """
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType

dim = json.loads(Path(f"{folder}/config.json").read_text(encoding="utf-8"))["projection_dim"]
source = ModelSource(hf="someone/asterisk")
TextEmbedding.add_custom_model(
    model="asterisk", pooling=PoolingType.MEAN, normalization=True, sources=source, dim=dim, model_file=form
)
vectors = list(TextEmbedding("asterisk", specific_model_path=folder).embed(texts))
"""

LANGCHAIN = """
from langchain_huggingface import HuggingFaceEmbeddings

model = HuggingFaceEmbeddings(model_name=folder, model_kwargs={"trust_remote_code": remote, "device": "cpu"})
vectors = model.embed_documents(texts)
"""

LLAMA_INDEX = """
from llama_index.embeddings.huggingface import HuggingFaceEmbedding

model = HuggingFaceEmbedding(model_name=folder, trust_remote_code=remote, device="cpu")
vectors = model.get_text_embedding_batch(texts)
"""

TRANSFORMERS_JS = """
import { basename, dirname } from "node:path";
import { env, pipeline } from "@huggingface/transformers";

env.allowRemoteModels = false;
env.localModelPath = dirname(folder);
const dtypes = { model: "fp32", model_fp16: "fp16", model_quantized: "q8", model_int8: "int8" };
const extract = await pipeline("feature-extraction", basename(folder), { dtype: dtypes[basename(form, ".onnx")] });
const vectors = [];
for (const text of texts) vectors.push([...(await extract(text, { pooling: "mean", normalize: true })).data]);
"""

# Frames around the snippets: they read the arguments and write the answer.
PYTHON_FRAME = """
import json
import sys
from importlib.metadata import distributions
from pathlib import Path

folder, form, source, target = sys.argv[1:]
texts = json.loads(Path(source).read_text(encoding="utf-8"))
remote = form == "remote code"
{snippet}
packages = {{each.name: each.version for each in distributions()}}
vectors = [[float(value) for value in vector] for vector in vectors]
Path(target).write_text(json.dumps({{"packages": packages, "vectors": vectors}}), encoding="utf-8")
"""

JAVASCRIPT_FRAME = """
import {{ readFileSync, writeFileSync }} from "node:fs";
const [folder, form, source, target] = process.argv.slice(1);
const texts = JSON.parse(readFileSync(source, "utf8"));
{snippet}
const packages = {{ "@huggingface/transformers": env.version }};
writeFileSync(target, JSON.stringify({{ packages, vectors }}));
"""
