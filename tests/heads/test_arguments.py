"""Settings resolved from the arguments."""

import pytest

from asterisk.core.errors import UserError
from asterisk.evaluation.zero_shot import TEMPLATES
from asterisk.heads.arguments import (
    MODES,
    TEMPLATE_SEPARATOR,
    HeadArguments,
    PseudoLabelArguments,
    resolve_arguments,
)


@pytest.mark.parametrize("mode", MODES)
def test_settings_have_the_defaults_of_the_mode_unless_given(mode: str) -> None:
    settings = resolve_arguments(HeadArguments(mode=mode, batch_size=5))
    assert {name: getattr(settings, name) for name in MODES[mode]} == {**MODES[mode], "batch_size": 5}
    assert settings.learning_curve == (mode == "frozen")


def test_wrong_settings_are_refused_in_a_sentence() -> None:
    for arguments, message in (
        ({"keep_adapters": True}, "requires --mode lora"),
        ({"mode": "half"}, "--mode must be frozen, lora or full, not 'half'"),
        ({"repeats": 0}, "--repeats must be at least 1"),
        ({"learning_rate": -1.0}, "--learning_rate must be above 0"),
        ({"warmup_ratio": 1.0}, "--warmup_ratio must be at least 0 and below 1"),
    ):
        with pytest.raises(UserError, match=message):
            resolve_arguments(HeadArguments(**arguments))  # type: ignore[arg-type]


def test_default_templates_are_those_of_the_evaluation() -> None:
    assert PseudoLabelArguments().label_template == TEMPLATE_SEPARATOR.join(TEMPLATES)
