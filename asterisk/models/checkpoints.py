"""An Asterisk and its tokenizer, of a folder or the Hub, by our own classes, whatever code lies beside them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from transformers import PreTrainedTokenizerFast

from asterisk.core.errors import UserError
from asterisk.core.files import atomic_folder, read_json
from modeling_asterisk import AsteriskConfig, AsteriskForSequenceClassification, AsteriskModel
from modeling_asterisk.modeling_asterisk import check_weights

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

from asterisk.models.tokenizers import save_tokenizer

# What the names of a classification head's weights begin with.
HEAD = "classifier."


Model = TypeVar("Model", AsteriskModel, AsteriskForSequenceClassification)


def load_asterisk(
    spec: str | Path, location: str | Path, kind: type[Model], new_head: bool = False, **options: Any
) -> tuple[Model, PreTrainedTokenizerFast]:
    """The model of a folder or Hub id, in evaluation mode, and its tokenizer.

    Args:
        spec: What the user calls it.
        location: What [`asterisk.models.resolve.resolve_model`] makes of that.
        kind: `AsteriskModel` or `AsteriskForSequenceClassification`.
        new_head: Whether the classifier's head is to be replaced, so that it may be missing or of another shape.
        options: Of `from_pretrained`.

    Raises:
        UserError: There is no model.safetensors or no tokenizer, one is damaged, they do not fit each other or the
            configuration, or a weight is not finite.
    """
    try:
        _check_index(Path(location) / "model.safetensors.index.json")
        # Wrong shapes are let through, since what transformers raises does not name them.
        options |= {"ignore_mismatched_sizes": True, "output_loading_info": True}
        model, info = kind.from_pretrained(location, **options)
        check_weights(model, info)
        _check_shapes(info, new_head)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(location)
    except Exception as error:  # of many kinds, from no weights to damaged ones; those of Rust are nothing narrower
        raise UserError(f"The model {spec} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= model.config.vocab_size:
        raise UserError(
            f"The tokenizer of {spec} has a token of id {largest}, but the model's token table has only "
            f"{model.config.vocab_size} rows; give a folder in which they belong together."
        )
    return model, tokenizer


def model_type(folder: Path) -> str | None:
    """What config.json says the model of a folder is; None if there is no such file or it does not say.

    Raises:
        UserError: It is no JSON object.
    """
    config = read_json(folder / "config.json", required=False)
    if not isinstance(config, dict | None):
        raise UserError(f"{folder / 'config.json'} must hold a JSON object, not {type(config).__name__}.")
    return (config or {}).get("model_type")


def _check_index(file: Path) -> None:
    """Refuses a list of weight files that names one elsewhere."""
    if file.is_file():
        for name in set(read_json(file)["weight_map"].values()):
            if Path(name).name != name:
                raise ValueError(f"{file.name} names {name!r}, which is not in its folder.")


def _check_shapes(info: dict[str, Any], new_head: bool) -> None:
    """Refuses weights of other shapes than config.json says, and a head that is not there."""
    for name, stored, wanted in sorted(info["mismatched_keys"]):
        if not (new_head and name.startswith(HEAD)):
            raise ValueError(
                f"{name} is of shape {tuple(stored)} in model.safetensors, but {tuple(wanted)} by config.json."
            )
    if not new_head and (missing := [name for name in info["missing_keys"] if name.startswith(HEAD)]):
        raise ValueError(f"the classifier's weights {', '.join(sorted(missing))} are missing.")


class SavesItself(Protocol):
    """A model that writes its own weights and configuration: an Asterisk or another encoder."""

    def save_pretrained(self, folder: Path, /) -> None:
        """Writes the files."""


def save_student(model: SavesItself, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Saves the model, an Asterisk with its code, and a portable tokenizer; the folder appears whole or not at all."""
    with atomic_folder(folder) as temporary:
        model.save_pretrained(temporary)
        save_tokenizer(tokenizer, temporary)
        # safetensors writes files that only their owner may read; tokenizer.json has the mode that the umask gives.
        mode = (temporary / "tokenizer.json").stat().st_mode
        for weights in temporary.rglob("*.safetensors"):
            weights.chmod(mode)


def load_student(folder: Path) -> "AsteriskModel | SentenceTransformer":
    """A student that [`save_student`] saved, of either kind; both have `encode(texts)` and `parameters()`."""
    if model_type(folder) == AsteriskConfig.model_type:
        return load_asterisk(folder, folder, AsteriskModel)[0]
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder))
