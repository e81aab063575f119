"""A run's curves for TensorBoard, written by its own library."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate.errors import UsageError
from striate.train.observer import Observer, Plan, Step

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from striate.train.result import Result


class TensorBoard(Observer):
    """Writes event files into a folder: each step's loss, rate and speed, each epoch's scores, at the end the test's.

    A resumed run hides what was logged after the checkpoint it continues from.
    Raises: UsageError where tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: SummaryWriter | None = None
        self._steps = 0
        _writer_class()

    def on_start(self, plan: Plan) -> None:
        """Open the event file."""
        self._steps = plan.total_steps
        self._writer = _writer_class()(str(self.folder), purge_step=plan.done_steps + 1)

    def on_step(self, step: Step) -> None:
        """What the step showed."""
        speed = step.images / step.seconds if step.seconds else 0.0
        self._add(step.done_steps, {"loss": step.loss, "learning_rate": step.learning_rate, "images_per_s": speed})

    def on_epoch(self, row: dict[str, Any]) -> None:
        """The numbers of its line in metrics.jsonl."""
        names = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
        self._add(int(row["steps"]), {f"epoch/{name}": float(row[name]) for name in names})
        if self._writer is not None:
            self._writer.flush()

    def on_end(self, result: Result) -> None:
        """The headline, and close the file."""
        part = "test" if result.test else "validation"
        self._add(self._steps, {f"final/{part}_accuracy": result.headline.accuracy})
        self.close()

    def close(self) -> None:
        """Close the event file, whatever happened."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _add(self, step: int, values: dict[str, float]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)


def _writer_class() -> type[SummaryWriter]:
    try:
        with warnings.catch_warnings():  # what the library deprecates is for its makers to mend
            warnings.simplefilter("ignore")
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra
    except ImportError:
        raise UsageError(
            "--tensorboard needs the package tensorboard; install it with pip install 'striate[tensorboard]'"
        ) from None
    return SummaryWriter
