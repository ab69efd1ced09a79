"""AsteriskConfig is the paper's model by default, and says what is wrong with a field."""

from typing import Any

import pytest

from modeling_asterisk import AsteriskConfig, AsteriskModel


def test_defaults_are_the_papers_model() -> None:
    model = AsteriskModel(AsteriskConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == 14_019_584


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("num_attention_heads", 3, "must divide hidden_size (256)"),
        ("hidden_act", "gelo", "must be one of gelu"),
        ("pooling", "max", "must be one of mean, cls, last"),
        ("position_encoding", "rotary", "must be one of learned, none"),
        ("vocab_size", 0, "whole number of at least 1"),
        ("vocab_size", 10**12, "at most 100,000,000"),
        ("num_hidden_layers", 10**9, "at most 1,000"),
        ("num_hidden_layers", 2.0, "whole number of at least 0"),
        ("exit_layers", [1, 1], "a list of different whole numbers"),
        ("exit_layers", [-1], "a list of different whole numbers"),
        ("final_norm", 1, "true or false"),
        ("projection_dim", -1, "whole number of at least 1"),
        ("hidden_dropout_prob", 1.0, "from 0 up to, not including, 1"),
        ("layer_norm_eps", 0.0, "above 0"),
        ("temperature", 0.0, "above 0"),
        ("thresholds", [0.5, 1.5], "numbers from 0 to 1"),
        ("thresholds", 0.5, "numbers from 0 to 1"),
        ("none_threshold", -0.1, "a number from 0 to 1"),
        ("is_causal", "yes", "true or false"),
    ],
)
def test_wrong_value_is_refused_with_the_field_and_what_is_allowed(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"AsteriskConfig.{field} must") as error:
        AsteriskConfig(**{field: value})
    assert allowed in str(error.value)
    assert repr(value) in str(error.value)


def test_saved_configuration_names_every_auto_class(tmp_path: Any) -> None:
    AsteriskConfig(projection_dim=64).save_pretrained(tmp_path)
    loaded = AsteriskConfig.from_pretrained(tmp_path)
    assert loaded.projection_dim == 64
    assert set(loaded.auto_map) == {"AutoConfig", "AutoModel", "AutoModelForSequenceClassification"}
