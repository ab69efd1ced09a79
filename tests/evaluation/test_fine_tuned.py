"""Fine-tuning on labelled sets, as a setting of the evaluation."""

from pathlib import Path

import pytest

from asterisk.core.errors import UserError
from asterisk.data.labelled_sets import ClassificationSet
from asterisk.evaluation.few_shot import mean_results
from asterisk.evaluation.fine_tuned import measure_fine_tuned
from evaluate_mteb import fine_tune
from tests.support.labelled import topic_rows, write_tiny_asterisk

pytestmark = pytest.mark.slow


def topics() -> ClassificationSet:
    """Texts of two topics."""
    texts, labels = map(list, zip(*topic_rows(400), strict=True))
    return ClassificationSet("Topics", ["food", "sport"], texts[300:], labels[300:], texts[:300], labels[:300])


def test_each_set_is_trained_once_and_scored_on_its_test_texts(tmp_path: Path) -> None:
    model = write_tiny_asterisk(tmp_path / "model")
    sets = [ClassificationSet("Without training texts", ["a", "b"], ["soup"], ["a"]), topics()]
    lines = measure_fine_tuned("tiny", str(model), sets, fine_tune, tmp_path / "out")
    assert [(line.set, line.setting, line.model) for line in lines] == [("Topics", "fine-tuned", "tiny")]
    assert lines[0].accuracy > 90
    assert lines[0].retention is None
    assert mean_results(lines)[0].retention is None
    weights = tmp_path / "out" / "Topics" / "run" / "model" / "model.safetensors"
    written = weights.stat().st_mtime_ns
    assert measure_fine_tuned("tiny", str(model), sets, fine_tune, tmp_path / "out") == lines
    assert weights.stat().st_mtime_ns == written


def test_a_failed_training_reports_its_error(tmp_path: Path) -> None:
    model = write_tiny_asterisk(tmp_path / "model")
    data = topics()
    data.test_labels[0] = "weather"
    with pytest.raises(UserError, match=r"on Topics failed: .*weather"):
        measure_fine_tuned("tiny", str(model), [data], fine_tune, tmp_path / "out")
