"""A search finds settings with a development loss no higher than that of those given, in every kind of training."""

from pathlib import Path

import pytest

import asterisk.heads.search
from asterisk.core.errors import UserError
from asterisk.data.labels import SINGLE, LabelledTexts
from asterisk.data.splits import HeadData
from asterisk.heads.arguments import MODES, HeadArguments, resolve_arguments
from asterisk.heads.search import search_settings
from asterisk.heads.training import HeadTraining
from tests.support.labelled import topic_rows, write_tiny_asterisk


def topics(count: int, seed: int) -> LabelledTexts:
    rows = topic_rows(count, seed)
    return LabelledTexts("x", "text", "label", SINGLE, [text for text, _ in rows], [topic for _, topic in rows])


@pytest.mark.parametrize("mode", MODES)
def test_search_tries_the_given_settings_first_and_gives_the_best(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asterisk.heads.search, "MOST_TRIALS", 6)
    model = write_tiny_asterisk(tmp_path / "model")
    arguments = resolve_arguments(HeadArguments(mode=mode, search=1, num_epochs=3, learning_rate=1e-4))
    data = HeadData(topics(64, 0), topics(32, 1), None, ["food", "sport"])
    training = HeadTraining(str(model), data, arguments, tmp_path / "run")
    record = search_settings(training)
    assert record["trials"] == 6
    # Far too low a rate to begin with.
    assert record["loss"] < record["before"]
    assert record["settings"]["learning_rate"] > 1e-4
    assert ("batch_size" in record["settings"]) == (mode != "frozen")
    # The first trial is the training that the settings give.
    (repeat,) = training.run(on_repeat=lambda _: None)
    assert min(repeat.losses) == pytest.approx(record["before"], abs=1e-4)
    training.data.development = None
    with pytest.raises(UserError, match="--search compares settings by development texts"):
        search_settings(training)
