"""The code that users of each consumer write; consumers.py runs it in that consumer's environment.

A Python snippet receives `folder`, `form` (one of FORMS in consumers.py, or an ONNX file in the folder), `remote`
(whether code of the folder may run) and `texts`, and sets `vectors`; a JavaScript snippet receives all but `remote`.
"""

import re
from pathlib import Path

REMOTE, NATIVE = "remote code", "native twin"
GGUF = ("gguf/model-F32.gguf", "gguf/model-F16.gguf", "gguf/model-Q8_0.gguf")
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

# The projection of a twin, if it has one, is sentence-transformers' Dense module, which a pipeline does not know.
PIPELINE = """
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from transformers import pipeline

extract = pipeline("feature-extraction", model=folder, trust_remote_code=remote, device="cpu")
vectors = np.array([np.mean(extract(text, truncation=True)[0], axis=0) for text in texts])
if (file := Path(folder) / "2_Dense" / "model.safetensors").exists():
    dense = load_file(file)
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

config = json.loads(Path(f"{folder}/config.json").read_text(encoding="utf-8"))
dim = config["projection_dim"] or config["hidden_size"]
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
const packages = { "@huggingface/transformers": env.version };
"""

BERTOPIC = """
from bertopic import BERTopic
from sentence_transformers import SentenceTransformer
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

embedding_model = SentenceTransformer(folder, trust_remote_code=remote, device="cpu")
model = BERTopic(embedding_model=embedding_model, umap_model=PCA(2), hdbscan_model=KMeans(3))
model.fit_transform(texts)
vectors = model.embedding_model.embed_documents(texts)
"""

KEYBERT = """
from keybert import KeyBERT
from sentence_transformers import SentenceTransformer

model = KeyBERT(SentenceTransformer(folder, trust_remote_code=remote, device="cpu"))
assert model.extract_keywords(texts[0])
vectors = model.model.embed(texts)
"""

SETFIT = """
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments

model = SetFitModel.from_pretrained(folder, trust_remote_code=remote, device="cpu", labels=["a", "b"])
vectors = model.encode(texts, show_progress_bar=False)
data = Dataset.from_dict({"text": texts[:8], "label": [0, 1] * 4})
arguments = TrainingArguments("trained", max_steps=2, batch_size=4, report_to="none")
Trainer(model, arguments, train_dataset=data).train()
model.save_pretrained("saved")
again = SetFitModel.from_pretrained("saved", trust_remote_code=remote, device="cpu")
assert list(again.predict(texts[:8])) == list(model.predict(texts[:8]))
"""

HAYSTACK = """
from haystack import Document
from haystack_integrations.components.embedders.sentence_transformers import SentenceTransformersDocumentEmbedder

embedder = SentenceTransformersDocumentEmbedder(model=folder, trust_remote_code=remote, progress_bar=False)
documents = embedder.run([Document(content=text) for text in texts])["documents"]
vectors = [document.embedding for document in documents]
"""

TXTAI = """
from txtai import Embeddings

settings = {"trust_remote_code": remote}
embeddings = Embeddings(path=folder, method="sentence-transformers", gpu=False, vectors=settings)
embeddings.index(texts)
assert embeddings.search(texts[0], 1)[0][0] == 0
vectors = embeddings.batchtransform(texts)
"""

SEMANTIC_ROUTER = """
from semantic_router import Route
from semantic_router.encoders import LocalEncoder
from semantic_router.routers import IndexedRouter

encoder = LocalEncoder(name=folder)
router = IndexedRouter(encoder=encoder, routes=[Route(name="first", utterances=texts[:3])])
assert router(texts[0]).name == "first"
vectors = encoder(texts)
"""

DSPY = """
import dspy
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(folder, trust_remote_code=remote, device="cpu")
embedder = dspy.Embedder(model.encode)
search = dspy.retrievers.Embeddings(corpus=texts, embedder=embedder, k=1)
assert search(texts[0]).passages == [texts[0]]
vectors = embedder(texts)
"""

SPACY = """
import spacy
from sentence_transformers import SentenceTransformer
from spacy.language import Language

model = SentenceTransformer(folder, trust_remote_code=remote, device="cpu")

@Language.component("asterisk")
def asterisk(doc):
    vector = model.encode(doc.text)
    doc.user_hooks["vector"] = lambda doc: vector
    return doc

language = spacy.blank("en")
language.add_pipe("asterisk")
vectors = [language(text).vector for text in texts]
"""

INFINITY = """
import asyncio
from infinity_emb import AsyncEngineArray, EngineArgs

arguments = EngineArgs(model_name_or_path=folder, engine="torch", device="cpu", trust_remote_code=remote)
array = AsyncEngineArray.from_args([arguments])

async def run():
    async with array[0] as engine:
        return (await engine.embed(texts))[0]

vectors = asyncio.run(run())
"""

NODE_LLAMA_CPP = """
import { readFileSync } from "node:fs";
import { getLlama } from "node-llama-cpp";

process.execArgv = []; // the library starts a process with the same options, which include this program
const version = JSON.parse(readFileSync("node_modules/node-llama-cpp/package.json", "utf8")).version;
const llama = await getLlama({ build: "never", gpu: false, logLevel: "error" });
const model = await llama.loadModel({ modelPath: `${folder}/${form}` });
const context = await model.createEmbeddingContext({ threads: 1 });
const longest = model.trainContextSize - 3; // it adds two tokens, and keeps one free
const vectors = [];
for (const text of texts) {
  const tokens = model.tokenize(text).slice(0, longest);
  vectors.push([...(await context.getEmbeddingFor(tokens)).vector]);
}
const packages = { "node-llama-cpp": `${version}, llama.cpp ${llama.llamaCppRelease.release}` };
"""

LLAMA_CPP_PYTHON = """
from llama_cpp import Llama

model = Llama(f"{folder}/{form}", embedding=True, n_ctx=0, verbose=False)
vectors = model.embed(texts, normalize=True, truncate=True)
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
import * as files from "node:fs";
const [folder, form, source, target] = process.argv.slice(1);
const texts = JSON.parse(files.readFileSync(source, "utf8"));
{snippet}
files.writeFileSync(target, JSON.stringify({{ packages, vectors }}));
process.exit();
"""

PAGE = Path(__file__).resolve().parents[1] / "docs" / "vector_databases.md"

# How the stored vectors are read back from each database of the page, in the order of the texts.
READ_BACK = {
    "Chroma": """
found = collection.get(include=["embeddings"])
by_id = dict(zip(found["ids"], found["embeddings"]))
vectors = [by_id[str(index)] for index in range(len(texts))]
""",
    "LanceDB": """
vectors = [row["vector"] for row in table.to_arrow().to_pylist()]
""",
    "Qdrant": """
vectors = [point.vector for point in client.retrieve("texts", list(range(len(texts))), with_vectors=True)]
""",
    "sqlite-vec": """
import numpy as np

rows = database.execute("SELECT vector FROM texts ORDER BY rowid")
vectors = [np.frombuffer(row[0], dtype=np.float32) for row in rows]
""",
    "FAISS": """
vectors = index.reconstruct_n(0, len(texts))
""",
    "usearch": """
vectors = index.get(np.arange(len(texts)))
""",
    "DuckDB": """
vectors = [row[0] for row in database.execute("SELECT vector FROM texts").fetchall()]
""",
}


def page_snippet(database: str) -> str:
    """The lines of docs/vector_databases.md for a database, with the texts and the folder of the frame."""
    sections = PAGE.read_text(encoding="utf-8").split("\n## ")
    section = next(each for each in sections if each.startswith(f"{database}\n"))
    first, own = (re.findall(r"```python\n(.*?)```", each, re.DOTALL)[0] for each in (sections[0], section))
    lines = (own if "TextEmbedding" in own else first + own).splitlines()
    kept = [line for line in lines if not line.startswith(("texts = ", "query = "))]
    code = "\n".join(kept).replace('"release/asterisk"', "folder").replace("code=True", "code=remote")
    return f"\nquery = texts[0]\n{code}\nassert nearest == query\n{READ_BACK[database]}"
