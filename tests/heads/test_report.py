"""The report's files hold the same figures, and fit on a page whatever the number of classes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asterisk.heads.report import write_head_report
from asterisk.heads.scores import confusion_matrix, score_classes


def report_of(count: int) -> dict[str, Any]:
    names = [f"label {number}" for number in range(count - 1)] + ["a|b <b>"]
    labels = np.repeat(np.arange(count), 2)
    predictions = np.roll(labels, 1)
    bins = {"error": 0.125, "confidence": [0.5, 0.9], "accuracy": [0.4, 1.0], "counts": [3, 4]}
    scores = {"accuracy": 12.345, "macro_f1": 11.0}
    repeat = {
        "texts": 900,
        "seconds": 1.5,
        "passes": 3.0,
        "losses": [2.0, 1.0, 1.5],
        "development": None,
        "test": scores,
    }
    return {
        "mode": "frozen",
        "model": "M",
        "data": {"train": {"texts": 1000, "truncated": 0.25}, "test": {"texts": 2 * count, "truncated": 0}},
        "saved_repeat": 0,
        "repeats": [repeat],
        "mean": {},
        "detail": "test",
        "decisions": {"temperature": 1.5, "none_threshold": 0.321, "criterion": "chosen so"},
        "calibration": {"test": {"before": bins, "after": {**bins, "error": 0.0625}}},
        "none": {"test": {"share": 90.0, "accuracy": 95.0, "macro_f1": 80.0, "none_recall": 70.0}},
        "learning_curve": [{"texts": 112, "accuracy": 5.0, "macro_f1": 4.0}, {"texts": 900, **scores}],
        "latency": {"one_text_ms": 2.5, "in_batch_ms": 0.25, "batch": 64, "device": "cpu", "threads": 2},
        "mistakes": [
            {"text": "<script>alert(1)</script>", "label": "a|b <b>", "predicted": "label 0", "confidence": 0.9}
        ],
        "classes": score_classes(predictions, labels, names),
        "confusion": confusion_matrix(predictions, labels, names),
    }


@pytest.mark.parametrize("count", [3, 200])
def test_markdown_shows_a_matrix_or_the_most_frequent_confusions(count: int, tmp_path: Path) -> None:
    report = report_of(count)
    table = write_head_report(tmp_path, report)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    text = (tmp_path / "report.md").read_text()
    assert table in text
    assert "12.35" in table or "12.34" in table
    for shown in (
        "25.0%",
        "a\\|b",
        "Temperature 1.500",
        "12.50 | ",
        " 6.25",
        "below 0.3210: chosen so",
        "70.00",
        "0.250",
    ):
        assert shown in text, shown
    confusions = text.partition("## Confusion (test)")[2].partition("##")[0].strip().splitlines()
    assert len(confusions) == 2 + min(count, 20)
    assert ("label \\ predicted" in confusions[0]) == (count == 3)


@pytest.mark.parametrize("count", [3, 200])
def test_page_needs_nothing_else_and_shows_texts_as_they_are(count: int, tmp_path: Path) -> None:
    write_head_report(tmp_path, report_of(count))
    page = (tmp_path / "report.html").read_text()
    own = page.partition("</script>")[2]  # after plotly
    assert "default-src 'none'" in page
    assert "<script src" not in page
    assert "<script>alert" not in own
    assert "&lt;script&gt;alert(1)" in own
    for plot in ("reliability", "curve", "losses", "confusion"):
        assert f'id="{plot}"' in own
    for shown in ("12.35", "6.2 %", "2.5 ms", "chosen so"):
        assert shown in own or shown.replace("12.35", "12.34") in own, shown
    assert ("the 40 that are confused most" in own) == (count == 200)
