"""`auto` takes what is faster here, says the same again, and leaves random numbers and resumed runs alone."""

from collections.abc import Callable, Sequence

import pytest
import torch

from asterisk.core.errors import UserError
from asterisk.models import precision
from asterisk.models.precision import faster_dtype, resolve_dtype, resolve_mixed_precision
from tests.support.models import make_model


@pytest.fixture(autouse=True)
def no_earlier_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    faster_dtype.cache_clear()
    monkeypatch.setattr(precision, "_of_training", {})


@pytest.mark.parametrize(
    ("bfloat16_seconds", "faster"), [(0.5, torch.bfloat16), (0.95, torch.float32), (40.0, torch.float32)]
)
def test_auto_takes_the_dtype_that_was_measured_as_faster(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bfloat16_seconds: float,
    faster: torch.dtype,
) -> None:

    def measure(runs: Sequence[Callable[[], object]]) -> list[float]:
        for run in runs:
            run()
        return [1.0, bfloat16_seconds]

    monkeypatch.setattr(precision, "_seconds", measure)
    assert resolve_dtype("auto", "cpu") is faster
    name = str(faster).removeprefix("torch.")
    assert f"Precision of embedding: {name} (bfloat16 takes {bfloat16_seconds:.2f} of" in capsys.readouterr().out
    # Measured once a process: the second call has no further measurement.
    assert resolve_dtype("auto", "cpu") is faster


def test_measurement_uses_no_random_numbers_and_leaves_no_gradients() -> None:
    student = make_model(dropout=0.1).eval()
    before = torch.get_rng_state()
    assert faster_dtype("cpu") in (torch.float32, torch.bfloat16)
    assert resolve_mixed_precision("auto", student, 32) in ("no", "bf16")
    assert torch.equal(torch.get_rng_state(), before)
    assert not student.training
    # Another student of the process gets the same precision without a measurement.
    assert len(precision._of_training) == 1
    assert all(parameter.grad is None for parameter in student.parameters())


@pytest.mark.parametrize("recorded", ["no", "bf16"])
def test_resumed_run_keeps_the_recorded_precision(capsys: pytest.CaptureFixture[str], recorded: str) -> None:
    student = make_model()
    assert resolve_mixed_precision("auto", student, 32, recorded) == recorded
    assert resolve_mixed_precision("fp16", student, 32, recorded) == "fp16"
    assert "Precision" not in capsys.readouterr().out


def test_unknown_precision_is_refused() -> None:
    assert resolve_dtype("bfloat16") is torch.bfloat16
    with pytest.raises(UserError, match="must be auto, float32 or bfloat16, not 'int4'"):
        resolve_dtype("int4")
