"""Save, resume and average the checkpoints of a run. A checkpoint is written atomically."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from asterisk.core.checksums import CHECKSUMS, verify_checksums, write_checksums
from asterisk.core.errors import UserError, one_line
from asterisk.core.files import read_json, remove_folder, report_write_errors, write_json

PROGRESS = "progress.json"


@dataclass
class Progress:
    """The progress of a run, which each checkpoint records."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Training time in seconds, including the time before each resumption."""
    best: float = float("-inf")
    """The highest decisive score so far."""


class Checkpoints:
    """The checkpoints of a run, in folders `step-NNNNNNN`. Every process of the run must call every method."""

    def __init__(self, folder: Path, accelerator: Accelerator, keep: int):
        """Create the object; the folder need not exist yet.

        Args:
            folder: The folder of all checkpoints; `save` creates it.
            accelerator: Holds the model, the optimizers and the random states.
            keep: The number of checkpoints to keep.
        """
        self.folder, self.accelerator, self.keep = folder, accelerator, keep

    def save(self, progress: Progress) -> None:
        """Write a checkpoint, and remove the oldest ones beyond `keep`."""
        temporary, final = self.folder / ".new", self.folder / f"step-{progress.step:07d}"
        is_main = self.accelerator.is_main_process
        if is_main:
            shutil.rmtree(temporary, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        with report_write_errors(final):
            self.accelerator.save_state(str(temporary))
        self.accelerator.wait_for_everyone()
        if is_main:
            precision = self.accelerator.mixed_precision
            write_json(temporary / PROGRESS, {**asdict(progress), "mixed_precision": precision})
            write_checksums(temporary)
            temporary.rename(final)
            for older in _checkpoints(self.folder)[: -self.keep]:
                remove_folder(older)
        self.accelerator.wait_for_everyone()

    def resume(self) -> Progress:
        """Load the last checkpoint, if there is one.

        No file of a checkpoint can run code: Accelerate reads the pickles of optimizers and random states with torch's
        restricted reader, which accepts only tensors, numbers and containers of them.

        Returns:
            The recorded progress, or that of a new run.

        Raises:
            UserError: A checkpoint is damaged.
        """
        if self.accelerator.is_main_process:
            # A killed process leaves hidden folders, half written or half removed.
            for leftover in self.folder.glob(".*"):
                shutil.rmtree(leftover, ignore_errors=True)
        paths = _checkpoints(self.folder)
        for path in paths:
            _verify(path)
        if not paths:
            return Progress()
        try:
            record = read_json(paths[-1] / PROGRESS)
            progress = Progress(record["step"], record["seconds"], record["best"])
            self.accelerator.load_state(str(paths[-1]))
        except Exception as error:  # each file format raises its own errors
            raise UserError(
                f"The checkpoint {paths[-1]} cannot be loaded: {one_line(error)} "
                "Delete it to continue from the checkpoint before it, or from the start."
            ) from error
        return progress

    def average(self) -> dict[str, torch.Tensor]:
        """Return the weights by parameter name, averaged over the kept checkpoints."""
        weights = [load_file(path / "model.safetensors") for path in _checkpoints(self.folder)[-self.keep :]]
        return {name: torch.stack([part[name] for part in weights]).mean(dim=0) for name in weights[0]}


def recorded_precision(folder: Path) -> str | None:
    """Return the mixed precision of the last checkpoint in `folder`; None if there is none."""
    paths = _checkpoints(folder)
    if not paths:
        return None
    _verify(paths[-1])
    return read_json(paths[-1] / PROGRESS).get("mixed_precision")


def _verify(checkpoint: Path) -> None:
    if (checkpoint / CHECKSUMS).exists():  # older versions wrote none
        verify_checksums(checkpoint, f"delete {checkpoint} and run the command again, which then repeats some steps")


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints, the oldest first."""
    return sorted(folder.glob("step-*"))
