"""Where a run stands: all of a run that is not a tensor, as one value that goes into a checkpoint."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Progress:
    """Position in the run and what has been summed so far; the loop is its only writer.

    With order = f(seed, epoch), augmentation = f(seed, epoch, image) and dropout = f(seed, epoch, step),
    (epoch, step) is the whole state of the data and of chance.
    """

    epoch: int = 0  # whole epochs done, validation included
    step: int = 0  # steps done in the epoch under way
    loss_sum: float = 0.0  # of the epoch under way: sum over its images, smoothed labels, augmented images
    right: int = 0  # of the epoch under way
    seen: int = 0  # images of the epoch under way
    epoch_seconds: float = 0.0  # training seconds of the epoch under way
    train_seconds: float = 0.0  # training seconds of the whole run, without validation and test
    shown: int = 0  # images of the whole run, those of epochs begun anew included
    best_epoch: int = 0  # counted from 1; 0 before the first validation
    best_right: int = -1
    best_loss: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)  # one row an epoch: metrics.jsonl
    timing: list[dict[str, Any]] = field(default_factory=list)  # one row an epoch: timing.jsonl
    recoveries: list[dict[str, Any]] = field(default_factory=list)  # epochs that diverged and were begun anew
    shift: list[dict[str, Any]] = field(default_factory=list)  # one row a step that was looked at: shift.jsonl

    def add_step(self, loss: float, right: int, images: int, seconds: float) -> None:
        """Count one step: mean loss, right answers and images of its batch."""
        self.step += 1
        self.loss_sum += loss * images
        self.right += right
        self.seen += images
        self.shown += images
        self.add_seconds(seconds)

    def add_seconds(self, seconds: float) -> None:
        """Count training time."""
        self.epoch_seconds += seconds
        self.train_seconds += seconds

    def is_better(self, right: int, loss: float) -> bool:
        """More right answers on validation; at equal count the lower loss; at a tie the earlier stays."""
        return (right, -loss) > (self.best_right, -self.best_loss)

    def close_epoch(self) -> None:
        """Go to the start of the next epoch."""
        self.epoch += 1
        self.step, self.loss_sum, self.right, self.seen, self.epoch_seconds = 0, 0.0, 0, 0, 0.0

    def copy(self) -> Progress:
        """The value of now, which does not follow later steps."""
        return copy.deepcopy(self)

    def to_dict(self) -> dict[str, Any]:
        """The value as JSON can hold it; floats survive to the last bit."""
        return asdict(self)
