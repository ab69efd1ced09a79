"""Read the record of a training run beside its checkpoint: recipe, duration and training texts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from asterisk.core.arguments import parse_yaml
from asterisk.core.errors import UserError, one_line, redact
from asterisk.core.files import read_json
from asterisk.distillation.curves import Point, read_curves
from asterisk.heads.report import read_head_report
from asterisk.teachers.remote_folder import RemoteFolder

# A table of licences beside the texts: source -> licence and origin.
LICENCES = "licences.yaml"
NOT_STATED = "not stated"


@dataclass
class TextSource:
    """A source of training texts."""

    name: str
    licence: str = NOT_STATED
    origin: str = ""


@dataclass
class TrainingRun:
    """A training run; empty if nothing is known about it."""

    recipe: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    curves: list[Point] = field(default_factory=list)
    sources: list[TextSource] = field(default_factory=list)
    sentences: int | None = None
    recombined: int = 0
    seconds: float | None = None
    # The run that trained the Asterisk from which this run continued.
    earlier: "TrainingRun | None" = None

    @property
    def is_head(self) -> bool:
        """Whether the run trained a classification head."""
        return "train_file" in self.recipe


def read_training_run(checkpoint: Path, licences: str = "") -> TrainingRun:
    """Read the record of the run that trained a checkpoint.

    Args:
        checkpoint: The checkpoint in the run's folder, such as runs/demo/model.
        licences: A YAML file of sources with `licence` and `origin`; by default `licences.yaml` beside the texts.

    Raises:
        UserError: `licences` or a file of the run is malformed.
    """
    folder = checkpoint.resolve().parent
    known = read_licences(Path(licences)) if licences else {}
    if not (folder / "run.json").is_file():
        # Without a record, the table of licences names the texts.
        return TrainingRun(sources=[TextSource(name, *about) for name, about in known.items()])
    record = redact(read_json(folder / "run.json"))  # older versions stored secrets
    run = TrainingRun(record.get("recipe", {}), record.get("versions", {}), read_curves(folder / "curves.jsonl"))
    if run.curves:
        run.seconds = run.curves[-1].get("seconds")
    if run.is_head:
        if (folder / "report.json").is_file():
            run.seconds = sum(repeat.seconds for repeat in read_head_report(folder / "report.json").repeats)
        names = [Path(run.recipe["train_file"]).name]
    else:
        store = RemoteFolder(record.get("store_dir", folder / "store")).local
        manifest = store / "corpus" / "manifest.json"
        corpus = run.recipe.get("corpus", [])
        names = [Path(source).name if not source.startswith("hub:") else source for source in corpus]
        if manifest.is_file():
            content = redact(read_json(manifest))
            names = [name for name, *_ in content["settings"]["sources"]]
            run.sentences = content["counts"]["kept"]
            run.recombined = content["counts"].get("recombined", 0)
        known = known or _licences_beside(corpus)
        encoder = run.recipe.get("encoder")
        if encoder and (Path(encoder).parent / "run.json").is_file():
            run.earlier = read_training_run(Path(encoder), licences)
    if licences and not any(_source_name(name) in known for name in names):
        # One file that was drawn from several sources: the table names them.
        run.sources = [TextSource(name, *about) for name, about in known.items()]
    else:
        run.sources = [TextSource(name, *known.get(_source_name(name), ())) for name in names]
    return run


def read_licences(path: Path) -> dict[str, tuple[str, str]]:
    """Read a table of licences, source → (licence, origin); raise a [`UserError`] if it is missing or malformed."""
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
        return {str(name): (str(about["licence"]), str(about.get("origin", ""))) for name, about in content.items()}
    except FileNotFoundError:
        raise UserError(f"There is no {path}; --training_data takes a YAML file of licences.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} must hold lines 'source: {{licence: …, origin: …}}' ({one_line(error)}).") from None


def _licences_beside(corpus: Sequence[str]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for source in corpus:
        for folder in (Path(source), Path(source).parent):
            if (folder / LICENCES).is_file():
                found |= read_licences(folder / LICENCES)
                break
    return found


def _source_name(name: str) -> str:
    """Return a source's name in the table of licences: a file name without its suffixes, a Hub dataset unchanged."""
    return name if name.startswith("hub:") else name.partition(".")[0]
