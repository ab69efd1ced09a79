"""The report's files contain the same figures, and stay readable with any number of classes."""

import json
from pathlib import Path

import numpy as np
import pytest

from asterisk.core.errors import UserError
from asterisk.data.labels import SINGLE
from asterisk.heads.calibration import NoneScores, Reliability
from asterisk.heads.page import write_head_report
from asterisk.heads.report import (
    Calibration,
    CurvePoint,
    Decisions,
    HeadReport,
    Latency,
    Mistake,
    Repeat,
    SplitSize,
    read_head_report,
)
from asterisk.heads.scores import MetricValues, confusion_matrix, score_classes, spread


def report_of(count: int) -> HeadReport:
    """A report with this many classes."""
    names = [f"label {number}" for number in range(count - 1)] + ["a|b <b>"]
    labels = np.repeat(np.arange(count), 2)
    predictions = np.roll(labels, 1)
    before, after = (Reliability(error, [0.5, 0.9], [0.4, 1.0], [3, 4]) for error in (0.125, 0.0625))
    scores: MetricValues = {"accuracy": 12.345, "macro_f1": 11.0}
    return HeadReport(
        model="M",
        mode="frozen",
        problem_type=SINGLE,
        settings={"train_file": "train.csv"},
        data={"train": SplitSize(1000, 0.25), "test": SplitSize(2 * count, 0)},
        saved_repeat=0,
        repeats=[Repeat(0, 900, 3.0, 1.5, [2.0, 1.0, 1.5], None, scores)],
        mean={"test": spread([scores])},
        decisions=Decisions(1.5, none_threshold=0.321, criterion="chosen so"),
        learning_curve=[CurvePoint(112, {"accuracy": 5.0, "macro_f1": 4.0}), CurvePoint(900, scores)],
        latency=Latency(2.5, 0.25, 64, "cpu", 2),
        detail="test",
        calibration={"test": Calibration(before, after)},
        none={"test": NoneScores(90.0, 95.0, 80.0, 70.0)},
        mistakes=[Mistake("<script>alert(1)</script>", "a|b <b>", "label 0", 0.9)],
        classes=score_classes(predictions, labels, names),
        confusion=confusion_matrix(predictions, labels, names),
    )


def test_a_written_report_reads_back_as_it_was(tmp_path: Path) -> None:
    report = report_of(3)
    report.write(tmp_path)
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["learning_curve"][0] == {"texts": 112, "accuracy": 5.0, "macro_f1": 4.0}
    assert read_head_report(tmp_path / "report.json") == report


def test_reports_of_older_versions_are_read_and_damaged_ones_refused(tmp_path: Path) -> None:
    report = report_of(3)
    report.write(tmp_path)
    path = tmp_path / "report.json"
    content = json.loads(path.read_text())
    older = {name: value for name, value in content.items() if name != "with_thresholds"}
    path.write_text(json.dumps({**older, "search": None, "decisions": {}}))
    assert read_head_report(path).decisions == Decisions()
    for broken in (json.dumps({**content, "repeats": [{}]}), '{"repeats": []}', "[]"):
        path.write_text(broken)
        with pytest.raises(UserError, match="is not a report of train_head"):
            read_head_report(path)


@pytest.mark.parametrize("count", [3, 200])
def test_markdown_shows_a_matrix_or_the_most_frequent_confusions(count: int, tmp_path: Path) -> None:
    table = write_head_report(tmp_path, report_of(count))
    text = (tmp_path / "report.md").read_text()
    assert table in text
    assert "12.35" in table or "12.34" in table
    for shown in (
        "25.0%",
        "a\\|b",
        "temperature of 1.500",
        "before scaling, % |  | 12.50 |",
        "after scaling, % |  | 6.25 |",
        "below a probability of 0.3210: chosen so",
        "70.00",
        "0.250",
    ):
        assert shown in text, shown
    confusions = text.partition("## Confusion on test")[2].partition("##")[0].strip().splitlines()
    assert len(confusions) == 2 + min(count, 20)
    assert ("label \\\\ predicted" in confusions[0]) == (count == 3)


@pytest.mark.parametrize("count", [3, 200])
def test_page_needs_no_other_file_and_escapes_texts(count: int, tmp_path: Path) -> None:
    write_head_report(tmp_path, report_of(count))
    page = (tmp_path / "report.html").read_text()
    body = page.partition("</script>")[2]  # after plotly
    assert "default-src 'none'" in page
    assert "<script src" not in page
    assert "<script>alert" not in body
    assert "&lt;script&gt;alert(1)" in body
    for plot in ("reliability", "curve", "losses", "confusion"):
        assert f'id="{plot}"' in body
    for shown in ("12.35", "6.2 %", "2.5 ms", "chosen so"):
        assert shown in body or shown.replace("12.35", "12.34") in body, shown
    assert ("The 40 most confused of 200 labels" in body) == (count == 200)
