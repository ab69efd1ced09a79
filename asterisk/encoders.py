"""Any text encoder behind one method: strings in, unit vectors out, and a revision that says which one it was."""

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from asterisk.cli import UserError
from asterisk.loading import load_asterisk, model_type
from asterisk.manifest import file_hash, read_json
from asterisk.teacher import resolve_dtype, resolve_model, weights_hash
from modeling_asterisk import AsteriskConfig, AsteriskModel

# Characters of one forward pass on a CPU, padding included: about 2,000 tokens, few enough to stay in its caches.
CPU_CHARACTERS = 8_192

# English has four to five characters a token; what lies beyond a model's longest text costs nothing.
CHARACTERS_PER_TOKEN = 5

# Dimensions of the untrained baseline, those of Asterisk.
STATIC_DIMENSIONS = 256

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


class Encoder(Protocol):
    """What measuring needs of a model."""

    name: str
    revision: str
    dimension: int
    num_parameters: int
    num_bytes: int
    prompts: dict[str, str]

    def encode(self, texts: list[str], batch_size: int = 64, prompt: str | None = None) -> np.ndarray:
        """Unit vectors (number of texts, dimension), float32, in the order of the texts.

        Args:
            texts: Any number of strings.
            batch_size: Texts per forward pass, at most.
            prompt: Put before every text; by default the model's own default prompt, if it has one.
        """


@dataclass
class LoadedModel:
    """A model of any kind, ready to embed, as the loaders below give it."""

    # Embeds texts after a prompt, so many in a forward pass at most: (number of texts, width), of any type and norm.
    embed: Callable[[list[str], str | None, int], Any]
    # Everything but the weights' values that its vectors depend on.
    settings: dict[str, Any]
    weights: str
    num_parameters: int
    num_bytes: int
    max_length: int | None = None
    device: str = "cpu"
    prompts: dict[str, str] = field(default_factory=dict)
    # Whether `embed` takes any number of texts, and makes passes of them itself.
    makes_passes: bool = False


class TextEncoder:
    """An [`Encoder`] of any [`LoadedModel`]: batches of even length, truncated dimensions, unit vectors."""

    def __init__(
        self,
        spec: str,
        model: LoadedModel,
        truncate_dim: int | None = None,
        prompts: dict[str, str] | None = None,
    ):
        """Embeds one text, to see that the model works.

        Args:
            spec: What the user calls the model.
            model: What computes the vectors.
            truncate_dim: Keep only the first so many dimensions.
            prompts: By name, beside or instead of the model's own.

        Raises:
            UserError: There are not as many dimensions, or the model gives no finite vectors.
        """
        self.spec = spec
        self.name = model_name(spec)
        self.num_parameters = model.num_parameters
        self.num_bytes = model.num_bytes
        self.prompts = {**model.prompts, **(prompts or {})}
        self.max_length = model.max_length
        self._model = model
        width = np.shape(self._embed(["a"], None, 1))[1]
        if truncate_dim is not None and not 1 <= truncate_dim <= width:
            raise UserError(f"{spec} has {width} dimensions; truncate_dim must lie between 1 and {width}.")
        self.dimension = truncate_dim or width
        made_from = [model.weights, model.settings, self.dimension, self.prompts]
        self.revision = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()

    def encode(self, texts: list[str], batch_size: int = 64, prompt: str | None = None) -> np.ndarray:
        """See [`Encoder`]. A text without any token, which a static model cannot place, is all zeros.

        Raises:
            UserError: The batch size is below 1, or a vector is not finite.
        """
        if batch_size < 1:
            raise UserError(f"The batch size must be at least 1, not {batch_size}.")
        # Benchmarks repeat themselves: a quarter of the sentences of the STS tasks are not new.
        distinct = sorted(set(texts), key=lambda text: (len(text), text), reverse=True)
        vectors = np.empty((len(distinct), self.dimension), dtype=np.float32)
        start = 0
        for batch in [distinct] if self._model.makes_passes else self._batches(distinct, batch_size):
            vectors[start : start + len(batch)] = self._embed(batch, prompt, batch_size)[:, : self.dimension]
            start += len(batch)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        row = {text: index for index, text in enumerate(distinct)}
        return vectors[[row[text] for text in texts]]

    def _batches(self, texts: list[str], batch_size: int) -> Iterator[list[str]]:
        """Texts from the longest to the shortest, so that hardly any of a batch is padding."""
        start = 0
        while start < len(texts):
            size = batch_size
            if self._model.device == "cpu":
                longest = min(len(texts[start]), CHARACTERS_PER_TOKEN * (self.max_length or len(texts[start])))
                size = max(1, min(batch_size, CPU_CHARACTERS // max(1, longest)))
            yield texts[start : start + size]
            start += size

    def _embed(self, texts: list[str], prompt: str | None, batch_size: int) -> np.ndarray:
        vectors = np.asarray(self._model.embed(texts, prompt, batch_size), dtype=np.float32)
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            text = texts[int((~finite).argmax())]
            raise UserError(
                f"The model {self.spec} gives a vector that is not finite for the text {text[:80]!r}; its weights "
                "may be broken, or its precision too low."
            )
        return vectors


def load_encoder(
    spec: str,
    *,
    truncate_dim: int | None = None,
    precision: str = "float32",
    pooling: str = "mean",
    prompts: dict[str, str] | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    local_files_only: bool = False,
) -> TextEncoder:
    """The encoder that a `--model` names.

    Args:
        spec: A folder: an Asterisk, a sentence-transformers model, a transformers encoder, a model2vec model, or a
            `model.onnx` with a `tokenizer.json` beside or above it; such an ONNX file; a Hub id of any but the ONNX
            kind; `package:NAME` for what the installed package NAME carries in `model/`; or `static:SPEC`, the
            256-dimensional model2vec model distilled, untrained, from any sentence-transformers SPEC.
        truncate_dim: Keep only the first so many dimensions, and renormalise.
        precision: What torch computes in: "float32", "bfloat16", or "auto": bfloat16 where the processor has it.
        pooling: Of a transformers encoder that does not say itself: "mean", "cls", "max" or "lasttoken".
        prompts: Texts to put before texts, by MTEB task, task type or prompt type ("query", "document").
        device: A torch device; by default the best there is.
        trust_remote_code: Run the code that comes with a model.
        local_files_only: Look for a Hub id only in the cache on this machine.

    Raises:
        UserError: There is no such model, it cannot be loaded or does not work, or an argument does not fit it.
    """
    dtype = resolve_dtype(precision)
    kind, _, value = spec.partition(":")
    load: Callable[[], LoadedModel]
    if kind == "static" and value:
        location = resolve_model(value)
        load = lambda: _load_static(location)  # noqa: E731
    else:
        location = spec if _is_onnx_file(spec) else resolve_model(spec)
        folder = Path(location)
        if (onnx := _onnx_file(folder)) is not None:
            load = lambda: _load_onnx(onnx)  # noqa: E731
        elif model_type(folder) == "model2vec":
            load = lambda: _load_model2vec(folder)  # noqa: E731
        elif model_type(folder) == AsteriskConfig.model_type:
            load = lambda: _load_asterisk(folder, dtype, device)  # noqa: E731
        else:
            load = lambda: _load_sentence_transformer(  # noqa: E731
                location, dtype, pooling, device, trust_remote_code, local_files_only
            )
    try:
        return TextEncoder(spec, load(), truncate_dim, prompts)
    except UserError:
        raise
    except Exception as error:  # whatever loading a stranger's model raises, the user wants one sentence
        raise UserError(f"The model {spec} cannot be loaded: {' '.join(str(error).split())[:300]}") from error


def model_name(spec: str) -> str:
    """A name of the form owner/name for what a user calls a model: of a path, its last two parts."""
    for kind in ("package", "static"):
        if spec.startswith(f"{kind}:"):
            return f"{kind}/{model_name(spec.removeprefix(kind + ':')).rpartition('/')[2]}"
    if not Path(spec).expanduser().exists():
        return spec if spec.count("/") == 1 else f"local/{spec.strip('/').replace('/', '-')}"
    parts = [part for part in Path(spec).expanduser().resolve().with_suffix("").parts if part != "/"]
    return "/".join(["local", *parts][-2:])


def _load_sentence_transformer(
    location: str,
    dtype: torch.dtype,
    pooling: str,
    device: str | None,
    trust_remote_code: bool,
    local_files_only: bool,
) -> LoadedModel:
    from sentence_transformers import SentenceTransformer

    folder = Path(location)
    if folder.is_dir() and not any((folder / name).exists() for name in ("config.json", "modules.json")):
        raise UserError(f"The folder {location} has neither config.json, modules.json nor model.onnx; give a model's.")
    load: dict[str, Any] = {"trust_remote_code": trust_remote_code, "local_files_only": local_files_only}
    if folder.is_dir() and not (folder / "modules.json").exists():
        from sentence_transformers.models import Pooling, Transformer

        options = {"dtype": dtype, "use_safetensors": True, **load}
        transformer = Transformer(location, model_kwargs=options, config_kwargs=load)
        modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling)]
        model = SentenceTransformer(modules=modules, device=device)
    else:
        options = {"dtype": dtype, "use_safetensors": True}
        model = SentenceTransformer(location, model_kwargs=options, device=device, **load)
    model.eval()

    def embed(texts: list[str], prompt: str | None, batch_size: int) -> np.ndarray:
        return model.encode(texts, batch_size=len(texts), prompt=prompt, show_progress_bar=False)

    weights = list(model.parameters())
    return LoadedModel(
        embed,
        settings={"modules": str(model), "prompt": model.default_prompt_name, "tokenizer": _tokenizer_hash(model)},
        weights=weights_hash(model),
        num_parameters=sum(weight.numel() for weight in weights),
        num_bytes=_bytes_on_disk(location) or sum(weight.numel() * weight.element_size() for weight in weights),
        max_length=model.max_seq_length,
        device=model.device.type,
        prompts={name: prompt for name, prompt in model.prompts.items() if prompt},
    )


def _tokenizer_hash(model: Any) -> str:
    tokenizer = getattr(model, "tokenizer", None)
    backend: Any = getattr(tokenizer, "backend_tokenizer", tokenizer)
    return hashlib.sha256(backend.to_str().encode()).hexdigest() if hasattr(backend, "to_str") else str(backend)


def is_asterisk(spec: str) -> bool:
    """Whether a spec of [`load_encoder`] names an Asterisk, and not an ONNX file of one."""
    if spec.startswith("static:") or _is_onnx_file(spec):
        return False
    return model_type(Path(resolve_model(spec))) == AsteriskConfig.model_type


def _load_asterisk(folder: Path, dtype: torch.dtype, device: str | None) -> LoadedModel:
    model, tokenizer = load_asterisk(folder, folder, AsteriskModel, dtype=dtype)
    model.to(torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))  # type: ignore[arg-type]

    def embed(texts: list[str], prompt: str | None, batch_size: int) -> np.ndarray:
        texts = [(prompt or "") + text for text in texts]
        return model.encode(texts, batch_size=batch_size, normalize=False, tokenizer=tokenizer)

    config = model.config
    computed_with = ("pooling", "position_encoding", "is_causal", "hidden_act", "num_attention_heads")
    return LoadedModel(
        embed,
        settings={
            **{name: getattr(config, name) for name in computed_with},
            **{name: file_hash(folder / name) for name in TOKENIZER_FILES if (folder / name).exists()},
        },
        weights=weights_hash(model),
        num_parameters=model.num_parameters(),
        num_bytes=_bytes_on_disk(str(folder)),
        max_length=config.max_position_embeddings,
        device=model.device.type,
        makes_passes=True,
    )


def _load_model2vec(folder: Path) -> LoadedModel:
    from model2vec import StaticModel

    return _static_model(StaticModel.from_pretrained(folder), _bytes_on_disk(str(folder)))


def _load_static(location: str) -> LoadedModel:
    from model2vec.distill import distill

    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar cannot be switched off
        static = distill(location, pca_dims=STATIC_DIMENSIONS)
    return _static_model(static, static.embedding.nbytes)


def _static_model(static: Any, num_bytes: int) -> LoadedModel:
    digest = hashlib.sha256()
    for array in (static.embedding, static.weights, static.token_mapping):
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())

    def embed(texts: list[str], prompt: str | None, batch_size: int) -> np.ndarray:
        return static.encode([(prompt or "") + text for text in texts], use_multiprocessing=False)

    tokenizer = hashlib.sha256(static.tokenizer.to_str().encode()).hexdigest()
    return LoadedModel(
        embed,
        settings={"max_length": static.max_length, "tokenizer": tokenizer},
        weights=digest.hexdigest(),
        num_parameters=static.embedding.size,
        num_bytes=num_bytes,
        max_length=static.max_length,
    )


def _is_onnx_file(spec: str) -> bool:
    return spec.endswith(".onnx") and Path(spec).expanduser().is_file()


def _onnx_file(path: Path) -> Path | None:
    """The ONNX file that a path names: itself, or `model.onnx` of a folder that holds no other weights."""
    path = path.expanduser()
    if path.is_file():
        return path
    found = path / "model.onnx"
    return found if found.is_file() and not _weight_files(path) else None


def _load_onnx(file: Path) -> LoadedModel:
    import onnx
    import onnxruntime
    from tokenizers import Tokenizer

    from asterisk.onnx_embedder import check_ids

    folder = next((each for each in (file.parent, file.parent.parent) if (each / "tokenizer.json").is_file()), None)
    if folder is None:
        raise UserError(f"No tokenizer.json lies beside {file} or in the folder above; put the model's there.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised, and need not be printed, too
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    inputs = {each.name for each in session.get_inputs()}
    outputs = [each.name for each in session.get_outputs()]
    output = next((name for name in ("sentence_embedding", "last_hidden_state") if name in outputs), None)
    if inputs != {"input_ids", "attention_mask"} or output is None:
        raise UserError(
            f"{file} takes {', '.join(sorted(inputs))} and gives {', '.join(outputs)}; it should take input_ids and "
            "attention_mask and give sentence_embedding or last_hidden_state."
        )
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def run(input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        return session.run([output], {"input_ids": input_ids, "attention_mask": attention_mask})[0]

    check_ids(tokenizer, run)
    max_length = _longest(folder)
    if max_length is not None:
        tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()

    def embed(texts: list[str], prompt: str | None, batch_size: int) -> np.ndarray:
        ids = [encoding.ids for encoding in tokenizer.encode_batch([(prompt or "") + text for text in texts])]
        # One position at least: a graph need not know how to embed nothing.
        longest = max(1, *map(len, ids))
        mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in ids], dtype=np.int64)
        padded = np.array([row + [0] * (longest - len(row)) for row in ids], dtype=np.int64)
        vectors = run(padded, mask)
        if output == "sentence_embedding":
            return vectors
        return (vectors * mask[..., None]).sum(axis=1) / np.maximum(mask.sum(axis=1, keepdims=True), 1)

    graph = onnx.load(file, load_external_data=False).graph
    return LoadedModel(
        embed,
        settings={"output": output, "max_length": max_length, "tokenizer": file_hash(folder / "tokenizer.json")},
        weights=file_hash(file),
        num_parameters=sum(int(np.prod(weight.dims)) for weight in graph.initializer),
        num_bytes=sum(each.stat().st_size for each in file.parent.glob(f"{file.name}*")),
        max_length=max_length,
    )


def _longest(folder: Path) -> int | None:
    """The longest text in tokens that the files beside a tokenizer tell of."""
    limits = []
    for name, key in (("tokenizer_config.json", "model_max_length"), ("config.json", "max_position_embeddings")):
        if (folder / name).is_file() and isinstance(limit := read_json(folder / name).get(key), int):
            limits.append(limit)
    # A tokenizer without a limit of its own reports one far beyond what it can hold.
    return min((limit for limit in limits if limit < 1_000_000), default=None)


def _weight_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))


def _bytes_on_disk(location: str) -> int:
    """The size of the weights that a model is loaded from; 0 if they are not on this machine."""
    folder = Path(location)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(location, local_files_only=True))
        except OSError:
            return 0
    parts: Sequence[str] = [""]
    if (folder / "modules.json").exists():
        parts = sorted({"", *(module["path"].strip("./") for module in read_json(folder / "modules.json"))})
    return sum(file.stat().st_size for part in parts for file in _weight_files(folder / part))
