"""Compare candidate settings of each head mode on texts split off from the training splits, without any test text.

    python -m benchmarks.head_defaults --model runs/demo/model --data_dir ../shared/data/eval/classification
    python -m benchmarks.head_defaults --model M --data_dir D --modes frozen --sets Banking77 SNIPS

For each set, 1,000 training texts (or --train_texts) are drawn for training, a tenth of them for early stopping, and
500 others for the comparison. Finished candidates in --runs_dir are not repeated. The mean accuracy and macro-F1 over
the sets, for each mode, number of texts and candidate, go to results/head_defaults.json and .md.
"""

import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asterisk.core.arguments import option, parse_arguments
from asterisk.core.errors import UserError, entry_point
from asterisk.core.files import make_folder, read_json, write_json
from asterisk.data.labelled_tables import read_labelled_texts
from asterisk.data.labels import LabelledTexts, class_names
from asterisk.data.splits import HeadData, split_development
from asterisk.heads.arguments import MODES, HeadArguments, resolve_arguments
from asterisk.heads.training import HeadTraining
from benchmarks.records import machine, write_record

SETS = ("Banking77", "Emotion", "TweetSentimentExtraction", "AmazonCounterfactual", "Clinc150", "SNIPS")
COMPARED_TEXTS = 500
# The candidate values of each setting; all combinations are tried.
CANDIDATES: dict[str, dict[str, tuple[float, ...]]] = {
    "frozen": {"learning_rate": (1e-3, 3e-3, 1e-2), "weight_decay": (0.01, 0.1), "dropout": (0.1, 0.3)},
    "lora": {"learning_rate": (2e-3,), "head_first": (0, 64, 1_000)},
    "full": {"learning_rate": (1e-3,), "perturbation": (0.0, 0.2)},
}


@dataclass
class DefaultsArguments:
    """The candidates and the sets."""

    model: str = option("runs/demo/model", "the Asterisk that heads are put on")
    data_dir: str = option("../shared/data/eval/classification", "holds files NAME.train.parquet")
    runs_dir: str = option("runs/head_defaults", "where what is finished lies")
    sets: list[str] = option(list(SETS), "names of sets")
    modes: list[str] = option(list(MODES), "modes to try now")
    train_texts: int = option(1_000, "texts to learn from, or fewer if a set is small")
    seed: int = option(0, "of all draws")


@entry_point
def main() -> None:
    """Run the unfinished candidates and write all finished ones."""
    arguments = parse_arguments(DefaultsArguments, __doc__ or "")
    if unknown := [mode for mode in arguments.modes if mode not in CANDIDATES]:
        raise UserError(f"There is no mode {unknown[0]!r}; choose of {', '.join(CANDIDATES)}.")
    folder = Path(arguments.runs_dir)
    make_folder(folder)
    for mode, name in itertools.product(arguments.modes, arguments.sets):
        data = head_data(Path(arguments.data_dir) / f"{name}.train.parquet", arguments.train_texts, arguments.seed)
        for candidate in candidates(mode):
            values = "_".join(f"{value:g}" for value in candidate.values())
            path = folder / f"{name}.{mode}.{arguments.train_texts}.{values}.json"
            if path.exists():
                continue
            scores = measure(arguments, mode, candidate, data)
            line = {"set": name, "mode": mode, "texts": arguments.train_texts, "candidate": candidate, **scores}
            write_json(path, line)
            print(f"{name}, {mode}, {candidate}: {scores['accuracy']:.2f}", flush=True)
        write([read_json(path) for path in sorted(folder.glob("*.json"))])


def candidates(mode: str) -> list[dict[str, float]]:
    """All combinations of a mode's settings."""
    settings = CANDIDATES[mode]
    return [dict(zip(settings, values, strict=True)) for values in itertools.product(*settings.values())]


def head_data(path: Path, texts: int, seed: int) -> HeadData:
    """Texts of the training split: for training, for early stopping and, as the test part, for the comparison."""
    every = read_labelled_texts(str(path), "text", "label")
    order = np.random.default_rng(seed).permutation(len(every))

    def part(first: int, last: int) -> LabelledTexts:
        return every.at(np.sort(order[first:last]))

    texts = min(texts, len(every) - COMPARED_TEXTS)
    compared = part(texts, texts + COMPARED_TEXTS)
    train, development = split_development(part(0, texts), seed)
    return HeadData(train, development, compared, class_names(every))


def measure(arguments: DefaultsArguments, mode: str, candidate: dict[str, float], data: HeadData) -> dict[str, Any]:
    """The scores on the comparison texts and the seconds of training."""
    settings: Any = candidate
    head = resolve_arguments(HeadArguments(mode=mode, seed=arguments.seed, learning_curve=False, **settings))
    with tempfile.TemporaryDirectory() as folder:
        (repeat,) = HeadTraining(arguments.model, data, head, Path(folder)).run(on_repeat=lambda _: None)
    assert repeat.test is not None
    return {**repeat.test, "loss": min(repeat.losses), "passes": repeat.passes, "seconds": repeat.seconds}


def write(lines: list[dict[str, Any]]) -> None:
    """Write the record; the candidates of a mode are compared on the sets that all of them have finished."""
    means, rows = [], []
    for mode, texts in sorted({(line["mode"], line["texts"]) for line in lines}):
        own = [line for line in lines if (line["mode"], line["texts"]) == (mode, texts)]
        tried = [{line["set"] for line in own if line["candidate"] == each} for each in candidates(mode)]
        sets = set.intersection(*tried)
        if not sets:
            continue
        of_mode = []
        for each in candidates(mode):
            of_it = [line for line in own if line["candidate"] == each and line["set"] in sets]
            mean = {key: float(np.mean([line[key] for line in of_it])) for key in ("accuracy", "macro_f1", "seconds")}
            of_mode.append({"mode": mode, "texts": texts, "candidate": each, "sets": sorted(sets), **mean})
        best = max(mean["accuracy"] for mean in of_mode)
        for mean in of_mode:
            said = ", ".join(f"{name} {value:g}" for name, value in mean["candidate"].items())
            figures = [f"{mean[key]:.2f}" for key in ("accuracy", "macro_f1")]
            mark = " (best)" if mean["accuracy"] == best else ""
            name = f"{mode}, {texts:,} texts, {said}{mark}"
            rows.append([name, *figures, f"{mean['seconds']:.1f}", str(len(sets))])
        means += of_mode
    head = ["settings", "accuracy", "macro-F1", "seconds", "sets"]
    write_record("head_defaults", {"machine": machine(), "means": means, "lines": lines}, head, rows)


if __name__ == "__main__":
    main()
