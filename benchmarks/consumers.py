"""Check that a published folder gives the same vectors in every consumer, each in its own environment.

    python publish.py runs/demo/model --output_dir release/demo
    python publish.py runs/demo/model --output_dir release/demo-native --native
    python -m benchmarks.consumers --model release/demo --native release/demo-native

Each consumer is installed from the package registries, into an environment that is kept, and embeds the same texts
offline, with the code that its users write (consumer_snippets.py). The vectors are compared with those of
`AsteriskModel.encode` in float32. The results go to results/consumers.json and .md, unless --only is given. The exit
status is 1 if a consumer fails or differs.
"""

import argparse
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asterisk.core.errors import UserError, entry_point
from asterisk.core.files import read_json
from benchmarks import consumer_snippets as snippets
from benchmarks.consumer_snippets import GGUF, NATIVE, ONNX, REMOTE
from benchmarks.records import machine, write_record

REPOSITORY = Path(__file__).resolve().parents[1]
COUNT = 200
# Texts on which consumers may differ: empty or short ones, other scripts, line ends, and too long ones.
ODD = ["", " ", "a", "?", "\n", "two\nlines\tand a tab", "🙂🙃 👩‍👩‍👧", "Über Straßenbahnen – 東京 🙂", "rain " * 300]
# The lowest accepted cosine of float forms and of int8 forms.
FLOAT_COSINE, INT8_COSINE = 0.9999, 0.999
INT8 = ("onnx/model_quantized.onnx", "onnx/model_int8.onnx", "gguf/model-Q8_0.gguf")


class ConsumerFailure(Exception):
    """A consumer cannot be installed or run. The message is the last line of its output."""


@dataclass(frozen=True)
class Environment:
    """An environment of packages; it must not contain those in `absent`. `options` are npm's."""

    name: str
    requirements: tuple[str, ...]
    absent: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def is_node(self) -> bool:
        """Whether the packages come from npm."""
        return "@" in self.requirements[0]


@dataclass(frozen=True)
class Consumer:
    """A library that reads the folder; `forms` lists the forms that it reads in each environment."""

    name: str
    package: str
    snippet: str
    forms: dict[str, tuple[str, ...]]


def pinned(package: str) -> str:
    """The requirement that pins a package in requirements/constraints.txt."""
    constraints = (REPOSITORY / "requirements" / "constraints.txt").read_text(encoding="utf-8")
    return re.findall(rf"^{package}==\S+$", constraints, re.MULTILINE)[0]


def oldest(package: str) -> str:
    """The requirement for the oldest release that pyproject.toml allows."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    every = [*project["dependencies"], *project["optional-dependencies"]["distill"]]
    # The model's own requirements come first; those of distillation may be higher.
    version = next(found[1] for each in every if (found := re.match(rf"{package}>=([\d.]+)", each)))
    return f"{package}=={version}" + ".0" * (2 - version.count("."))


def transformers_js() -> str:
    """The requirement that pins transformers.js in the demo page."""
    name = "@huggingface/transformers"
    return f"{name}@{read_json(REPOSITORY / 'demo' / 'package.json')['devDependencies'][name]}"


TORCH = pinned("torch")
NEWEST = (TORCH, pinned("transformers"), pinned("sentence-transformers"))
ENVIRONMENTS = {
    each.name: each
    for each in (
        Environment("newest", NEWEST),
        Environment("oldest", (TORCH, oldest("transformers"), oldest("sentence-transformers"))),
        Environment("oldest-torch", (oldest("torch"), oldest("transformers"))),
        Environment("newest-torch", ("torch==2.15.0", pinned("transformers"))),
        Environment("transformers-4", (TORCH, "transformers==4.57.6", "sentence-transformers==5.1.2")),
        # langchain-huggingface needs huggingface_hub 1.
        Environment("langchain", (*NEWEST, "langchain-huggingface==1.2.3")),
        Environment("llama-index", (*NEWEST, "llama-index-embeddings-huggingface==0.8.0")),
        Environment("onnxruntime", (pinned("onnxruntime"), pinned("tokenizers")), ("torch", "transformers")),
        # fastembed also needs huggingface_hub 1.
        Environment("fastembed", ("fastembed==0.9.1",), ("torch", "transformers")),
        Environment("chroma", (*NEWEST, "chromadb==1.5.9")),
        Environment("lancedb", (*NEWEST, "lancedb==0.40.0")),
        Environment("qdrant", ("qdrant-client[fastembed]==1.20.0",), ("torch", "transformers")),
        Environment("sqlite-vec", (*NEWEST, "sqlite-vec==0.1.9", "apsw==3.54.1.0")),
        Environment("faiss", (*NEWEST, "faiss-cpu==1.15.1")),
        Environment("usearch", (*NEWEST, "usearch==2.26.6")),
        Environment("duckdb", (*NEWEST, "duckdb==2.0.1")),
        Environment("bertopic", (*NEWEST, "bertopic==0.17.4")),
        Environment("keybert", (*NEWEST, "keybert==0.9.0")),
        Environment("setfit", (*NEWEST, "setfit==1.2.0")),
        Environment("haystack", (*NEWEST, "haystack-ai==3.4.1", "sentence-transformers-haystack==2.0.0")),
        Environment("txtai", (*NEWEST, "txtai==9.14.0")),
        Environment("semantic-router", (*NEWEST, "semantic-router==1.1.1")),
        Environment("dspy", (*NEWEST, "dspy==3.4.1")),
        Environment("spacy", (*NEWEST, "spacy==3.8.18")),
        Environment("infinity", (TORCH, "infinity-emb[torch]==0.0.78", "transformers==4.57.6", "click<8.2")),
        Environment("node", (transformers_js(),)),
        # The builds for other processors are optional packages.
        Environment(
            "node-llama-cpp",
            ("node-llama-cpp@3.22.1", "@node-llama-cpp/linux-x64@3.22.1"),
            options=("--omit=optional",),
        ),
        # It compiles llama.cpp, which takes half an hour of a processor core.
        Environment("llama-cpp-python", ("llama-cpp-python==0.3.36",), ("torch", "transformers")),
    )
}

BOTH = (REMOTE, NATIVE)


def database(name: str, package: str, environment: str = "") -> Consumer:
    """A vector database of docs/vector_databases.md; its environment has the package's name by default."""
    forms = ONNX[:1] if name == "Qdrant" else (REMOTE,)
    return Consumer(name, package, snippets.page_snippet(name), {environment or package: forms})


CONSUMERS = {
    each.name: each
    for each in (
        Consumer("AsteriskModel.encode", "transformers", snippets.ENCODE, {"newest": (REMOTE,), "oldest": (REMOTE,)}),
        Consumer("encode", "torch", snippets.ENCODE, {"oldest-torch": (REMOTE,), "newest-torch": (REMOTE,)}),
        Consumer(
            "sentence-transformers",
            "sentence-transformers",
            snippets.SENTENCE_TRANSFORMERS,
            {"newest": BOTH, "oldest": BOTH, "transformers-4": (NATIVE,)},
        ),
        Consumer(
            "pipeline",
            "transformers",
            snippets.PIPELINE,
            {"newest": BOTH, "oldest": BOTH, "transformers-4": (NATIVE,)},
        ),
        Consumer("langchain", "langchain-huggingface", snippets.LANGCHAIN, {"langchain": BOTH}),
        Consumer("llama-index", "llama-index-embeddings-huggingface", snippets.LLAMA_INDEX, {"llama-index": BOTH}),
        Consumer("haystack", "haystack-ai", snippets.HAYSTACK, {"haystack": BOTH}),
        Consumer("txtai", "txtai", snippets.TXTAI, {"txtai": BOTH}),
        Consumer("dspy", "dspy", snippets.DSPY, {"dspy": (REMOTE,)}),
        Consumer("semantic-router", "semantic-router", snippets.SEMANTIC_ROUTER, {"semantic-router": (NATIVE,)}),
        Consumer("spacy", "spacy", snippets.SPACY, {"spacy": (REMOTE,)}),
        Consumer("bertopic", "bertopic", snippets.BERTOPIC, {"bertopic": (REMOTE,)}),
        Consumer("keybert", "keybert", snippets.KEYBERT, {"keybert": (REMOTE,)}),
        Consumer("setfit", "setfit", snippets.SETFIT, {"setfit": BOTH}),
        Consumer("infinity", "infinity-emb", snippets.INFINITY, {"infinity": (NATIVE,)}),
        database("Chroma", "chromadb", "chroma"),
        database("LanceDB", "lancedb"),
        database("Qdrant", "qdrant-client", "qdrant"),
        database("sqlite-vec", "sqlite-vec"),
        database("FAISS", "faiss-cpu", "faiss"),
        database("usearch", "usearch"),
        database("DuckDB", "duckdb"),
        Consumer("onnxruntime", "onnxruntime", snippets.ONNXRUNTIME, {"onnxruntime": ONNX}),
        Consumer("fastembed", "fastembed", snippets.FASTEMBED, {"fastembed": ONNX}),
        Consumer("transformers.js", "@huggingface/transformers", snippets.TRANSFORMERS_JS, {"node": ONNX}),
        Consumer("node-llama-cpp", "node-llama-cpp", snippets.NODE_LLAMA_CPP, {"node-llama-cpp": GGUF}),
        Consumer("llama.cpp", "llama-cpp-python", snippets.LLAMA_CPP_PYTHON, {"llama-cpp-python": GGUF}),
    )
}


def build(environment: Environment, folder: Path) -> list[str]:
    """Create an environment if it is missing, and return the command that runs code in it.

    Raises:
        ConsumerFailure: The packages cannot be installed.
    """
    interpreter = folder / "bin" / "python"
    command = ["node", "--input-type=module", "-e"] if environment.is_node else [str(interpreter), "-P", "-c"]
    wanted, complete = "\n".join(environment.requirements), folder / ".complete"
    if complete.exists() and complete.read_text(encoding="utf-8") == wanted:
        return command
    print(f"installing {' '.join(environment.requirements)} into {folder}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if environment.is_node:
        npm = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
        _run([*npm, *environment.requirements, *environment.options], cwd=folder)
    else:
        _run([sys.executable, "-m", "venv", str(folder)], cwd=folder)
        # uv links the files that several environments share; pip knows the indexes that this machine uses. Few of the
        # files are imported, so nothing is compiled.
        uv = [str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet", "--python", str(interpreter)]
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--no-compile"]
        try:
            _run([*uv, *environment.requirements], cwd=folder)
        except ConsumerFailure:
            _run([*pip, *environment.requirements], cwd=folder)
    complete.write_text(wanted, encoding="utf-8")
    return command


def answer(
    command: list[str], frame: str, snippet: str, folder: Path, form: str, texts: list[str], cwd: Path | None = None
) -> tuple[dict[str, str], np.ndarray]:
    """Run a snippet; return the versions of its packages and its vectors (texts, dimensions), float64.

    Args:
        command: A command that runs the code in its next argument.
        frame: The code around the snippet.
        snippet: A snippet of consumer_snippets.py.
        folder: The published folder.
        form: A form of the folder.
        texts: The texts to embed.
        cwd: The working directory; an empty folder by default.

    Raises:
        ConsumerFailure: The snippet fails, or its vectors differ in their dimensions.
    """
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "texts.json", Path(scratch) / "answer.json"
        source.write_text(json.dumps(texts), encoding="utf-8")
        settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        # A fresh cache of remote code, so that no other folder's code runs.
        settings |= {"HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": f"{scratch}/modules", "HF_HOME": f"{scratch}/hub"}
        code = frame.format(snippet=snippet)
        _run([*command, code, str(folder), form, str(source), str(target)], cwd=cwd or Path(scratch), env=settings)
        found = read_json(target)
    if len(sizes := {len(vector) for vector in found["vectors"]}) != 1:
        raise ConsumerFailure(f"the vectors have different dimensions: {', '.join(map(str, sorted(sizes)))}")
    return found["packages"], np.array(found["vectors"], dtype=np.float64)


def _run(command: list[str], **settings: Any) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **settings)
    except FileNotFoundError:
        raise ConsumerFailure(f"there is no {command[0]}") from None
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if re.search(r"\w*(Error|ERR|error)\b", line)]
        raise ConsumerFailure((lines or result.stderr.strip().splitlines() or ["no reason given"])[-1].strip()[:300])


def compare(vectors: np.ndarray, expected: np.ndarray, form: str, texts: list[str]) -> dict[str, Any]:
    """Compare vectors with the expected ones, both (texts, dimensions); the verdict says whether they agree."""
    if vectors.shape != expected.shape:
        raise ConsumerFailure(f"it gives vectors of shape {vectors.shape}, not {expected.shape}")
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
    cosines = (vectors * expected).sum(axis=1) / np.maximum(lengths, 1e-12)
    bound = INT8_COSINE if form in INT8 else FLOAT_COSINE
    different = [text for text, cosine in zip(texts, cosines, strict=True) if not cosine >= bound]
    return {
        "largest_difference": float(np.abs(vectors - expected).max()),
        "lowest_cosine": float(cosines.min()),
        "bound": bound,
        "different": different,
        "verdict": "same" if not different else f"{len(different)} of {len(texts)} differ",
    }


def real_texts(count: int) -> list[str]:
    """Sentences drawn evenly from the demo corpus, the odd texts, and one text of many sentences."""
    sources = sorted((REPOSITORY / "recipes" / "demo_corpus").glob("*.txt.xz"))
    texts: list[str] = []
    for index, path in enumerate(sources):
        lines = lzma.decompress(path.read_bytes()).decode().splitlines()
        share = count * (index + 1) // len(sources) - count * index // len(sources)
        texts += lines[:: len(lines) // share][:share]
    return [*texts, *ODD, " ".join(texts[:30])]


def check_folder(folder: Path, native: bool) -> None:
    """Refuse a folder that publish.py did not write.

    Raises:
        UserError: The folder is not a published embedding model of this kind.
    """
    kind = "publish.py --native" if native else "publish.py"
    if not (folder / "forms.json").exists() or not (folder / "modules.json").exists():
        raise UserError(f"{folder} is not a published embedding model; give a folder that {kind} wrote.")
    if (read_json(folder / "config.json")["model_type"] == "asterisk") == native:
        raise UserError(
            f"{folder} is published {'with' if native else 'without'} remote code; give what {kind} wrote."
        )


def measure(
    consumer: Consumer, environment: Environment, options: argparse.Namespace, texts: list[str], expected: np.ndarray
) -> list[dict[str, Any]]:
    """Measure a consumer in an environment: one result for each form that it reads there."""
    records = []
    place = options.venvs.resolve() / environment.name
    frame = snippets.JAVASCRIPT_FRAME if environment.is_node else snippets.PYTHON_FRAME
    for form in consumer.forms[environment.name]:
        record: dict[str, Any] = {"consumer": consumer.name, "environment": environment.name, "form": form}
        folder = (options.native if form == NATIVE else options.model).resolve()
        if "/" in form and not (folder / form).exists():
            print(f"{consumer.name}: {folder} has no {form}", flush=True)
            continue
        try:
            command = build(environment, place)
            cwd = place if environment.is_node else None
            record["packages"], vectors = answer(command, frame, consumer.snippet, folder, form, texts, cwd)
            if found := [each for each in environment.absent if each in record["packages"]]:
                raise ConsumerFailure(f"{found[0]} is installed")
            record |= {"version": record["packages"][consumer.package], **compare(vectors, expected, form, texts)}
        except ConsumerFailure as failure:
            record["verdict"] = f"fails: {failure}"
        print(f"{consumer.name}, {environment.name}, {form}: {record['verdict']}", flush=True)
        records.append(record)
    return records


def row(record: dict[str, Any]) -> list[str]:
    """The row of the table."""
    consumer = CONSUMERS[record["consumer"]]
    names = [consumer.name] if consumer.name == consumer.package else [consumer.name, f"({consumer.package})"]
    version = record.get("version", "")
    figures = ["", ""]
    if "lowest_cosine" in record:
        figures = [f"{record['largest_difference']:.1e}", f"{record['lowest_cosine']:.6f}"]
    return [" ".join([*names, version]).strip(), record["form"], *figures, record["verdict"].replace("|", "/")]


@entry_point
def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder written by publish.py")
    parser.add_argument(
        "--native", type=Path, required=True, help="folder written by publish.py --native from the same model"
    )
    parser.add_argument(
        "--venvs",
        type=Path,
        default=REPOSITORY / ".cache" / "consumers",
        help="folder of the environments, 16 GB, kept",
    )
    parser.add_argument("--only", nargs="+", choices=CONSUMERS, help="consumers to run")
    options = parser.parse_args()
    check_folder(options.model, native=False)
    check_folder(options.native, native=True)

    texts = real_texts(COUNT)
    try:
        command = [sys.executable, "-P", "-c"]
        _, expected = answer(command, snippets.PYTHON_FRAME, snippets.ENCODE, options.model.resolve(), REMOTE, texts)
    except ConsumerFailure as failure:
        raise UserError(f"{options.model} does not load: {failure}.") from failure
    # A text without tokens has no embedding, and each consumer treats it differently.
    kept = np.flatnonzero(np.abs(expected).max(axis=1) > 0)
    texts, expected = [texts[index] for index in kept], expected[kept]

    records = [
        record
        for consumer in CONSUMERS.values()
        if not options.only or consumer.name in options.only
        for name in consumer.forms
        for record in measure(consumer, ENVIRONMENTS[name], options, texts, expected)
    ]
    head = ["consumer", "form", "largest difference", "lowest cosine", "verdict"]
    rows = [row(record) for record in records]
    if options.only:
        print("\n".join(", ".join(each) for each in rows))
    else:
        environments = {each["environment"]: each.pop("packages") for each in records if "packages" in each}
        result = {"machine": machine(), "model": str(options.model), "texts": len(texts), "consumers": records}
        write_record("consumers", {**result, "environments": environments}, head, rows)
    if any(record["verdict"] != "same" for record in records):
        sys.exit(1)


if __name__ == "__main__":
    main()
