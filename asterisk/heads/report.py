"""The report of a head: typed dataclasses, written to and read from report.json."""

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asterisk.core.errors import UserError
from asterisk.core.files import read_json, write_json
from asterisk.heads.calibration import NoneScores, Reliability
from asterisk.heads.scores import ClassScores, MetricValues, Spread

REPORT_FILE = "report.json"


@dataclass
class Repeat:
    """One training, with the scores on the development and test texts, if there are any.

    `losses` has the development loss after each pass; modes lora and full measure it at the best temperature.
    """

    seed: int
    texts: int
    passes: float
    seconds: float
    losses: list[float]
    development: MetricValues | None
    test: MetricValues | None

    def scores(self, split: str) -> MetricValues | None:
        """Return the scores on "development" or "test"; None for any other split."""
        return {"development": self.development, "test": self.test}.get(split)


@dataclass
class SplitSize:
    """The number of texts of a split, and the share that the model truncates."""

    texts: int
    truncated: float


@dataclass
class ZeroShotRecord:
    """A teacher's labelling of the training texts, the number of texts kept, and its scores on the test texts."""

    teacher: str
    labels: str
    label_template: str
    texts: int
    kept: int
    kept_of_label: dict[str, int]
    teacher_on_test: MetricValues | None = None


@dataclass
class Decisions:
    """The temperature and thresholds chosen on development texts; all None without such texts.

    The temperature divides the logits. With several labels per text, `thresholds` are the minimum probabilities of the
    labels. With one label per text, no label should be given below `none_threshold`, which was chosen by `criterion`.
    """

    temperature: float | None = None
    thresholds: dict[str, float] | None = None
    none_threshold: float | None = None
    criterion: str | None = None


@dataclass
class Calibration:
    """Reliability without and with the temperature."""

    before: Reliability
    after: Reliability


@dataclass
class Mistake:
    """A wrong prediction and its probability."""

    text: str
    label: str
    predicted: str
    confidence: float


@dataclass
class Latency:
    """Milliseconds per text from text to logits, alone (median) and in a batch of `batch` texts."""

    one_text_ms: float
    in_batch_ms: float
    batch: int
    device: str
    threads: int


@dataclass
class CurvePoint:
    """The scores of a training on `texts` texts."""

    texts: int
    scores: MetricValues


@dataclass
class HeadMeasures:
    """Measurements of the saved model; empty where the problem type or the splits do not allow them.

    Attributes:
        detail: The split of `classes`, `confusion` and `mistakes`: test, or else development.
        calibration: Split → reliability.
        with_thresholds: Split → scores with `Decisions.thresholds` instead of one half.
        none: Split → effect of `Decisions.none_threshold`.
        confusion: Label → predicted label → number of texts, without zeros.
        mistakes: The most confident ones.
    """

    latency: Latency
    detail: str | None = None
    calibration: dict[str, Calibration] = field(default_factory=dict)
    with_thresholds: dict[str, MetricValues] = field(default_factory=dict)
    none: dict[str, NoneScores] = field(default_factory=dict)
    classes: list[ClassScores] = field(default_factory=list)
    confusion: dict[str, dict[str, int]] | None = None
    mistakes: list[Mistake] = field(default_factory=list)


@dataclass(kw_only=True)
class HeadReport(HeadMeasures):
    """Everything that report.json holds.

    Attributes:
        model: The model that was trained, as the user named it.
        settings: The recipe, as in run.json.
        data: Split → size.
        saved_repeat: Index of the repeat whose model is saved.
        mean: Split → metric → mean and deviation over the repeats.
        zero_shot: Present if a teacher labelled the training texts.
        learning_curve: In ascending order of texts; the last point is the saved repeat.
    """

    model: str
    mode: str
    problem_type: str
    settings: dict[str, Any]
    data: dict[str, SplitSize]
    saved_repeat: int
    repeats: list[Repeat]
    mean: dict[str, dict[str, Spread]]
    decisions: Decisions = field(default_factory=Decisions)
    zero_shot: ZeroShotRecord | None = None
    learning_curve: list[CurvePoint] = field(default_factory=list)

    @property
    def saved(self) -> Repeat:
        """The repeat whose model is saved."""
        return self.repeats[self.saved_repeat]

    def write(self, folder: Path) -> None:
        """Write report.json, with the points of the learning curve as flat objects."""
        content = dataclasses.asdict(self)
        content["learning_curve"] = [{"texts": point.texts, **point.scores} for point in self.learning_curve]
        write_json(folder / REPORT_FILE, content)


def read_head_report(path: Path) -> HeadReport:
    """Read a report.json of train_head.py; raise a [`UserError`] if it is missing or incomplete."""
    content = read_json(path)
    try:
        points = [dict(point) for point in content.get("learning_curve", [])]
        curve = [{"texts": point.pop("texts"), "scores": point} for point in points]
        return _from_json(HeadReport, {**content, "learning_curve": curve})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is not a report of train_head.py: {type(error).__name__} at {error}.") from error


def _from_json(kind: Any, value: Any) -> Any:
    """Build dataclasses from JSON by their annotations; unknown keys are ignored."""
    origin, parameters = typing.get_origin(kind), typing.get_args(kind)
    if value is None:
        return None
    if origin is types.UnionType:
        return _from_json(parameters[0], value)
    if origin is list:
        return [_from_json(parameters[0], item) for item in value]
    if origin is dict:
        return {key: _from_json(parameters[1], item) for key, item in value.items()}
    if not dataclasses.is_dataclass(kind):
        return value
    annotations, known = typing.get_type_hints(kind), {}
    for entry in dataclasses.fields(kind):
        is_required = entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
        if is_required or entry.name in value:
            known[entry.name] = _from_json(annotations[entry.name], value[entry.name])
    return kind(**known)  # type: ignore[operator]
