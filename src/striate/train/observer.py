"""Who watches a run: the command line draws a bar, tests record, and by default nobody looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from striate.train.result import Result


@dataclass(frozen=True, slots=True)
class Plan:
    """What lies ahead, told before the first step."""

    epochs: int
    steps_per_epoch: int
    total_steps: int
    done_steps: int  # more than 0 in a resumed run
    train_images: int
    validation_images: int
    test_images: int
    parameters: int  # that are trained
    estimate_seconds: float  # of what is left, from a few measured steps


@dataclass(frozen=True, slots=True)
class Step:
    """One update of the weights."""

    epoch: int  # from 1
    done_steps: int  # of the whole run, this one included
    loss: float
    learning_rate: float
    images: int
    seconds: float


class Observer:
    """Told what happens, in order; what it does cannot change the run. Override what you want to hear."""

    def on_start(self, plan: Plan) -> None:
        """Before the first step of this process."""

    def on_step(self, step: Step) -> None:
        """After each update of the weights."""

    def on_epoch(self, row: dict[str, Any]) -> None:
        """After each epoch; `row` is its line of metrics.jsonl."""

    def on_note(self, text: str) -> None:
        """One line a person should read, such as a damaged checkpoint that was passed over."""

    def on_end(self, result: Result) -> None:
        """When all is written."""


class Observers(Observer):
    """Several that watch one run; each is told in turn."""

    def __init__(self, watchers: Sequence[Observer]) -> None:
        self._watchers = tuple(watchers)

    def on_start(self, plan: Plan) -> None:
        """Before the first step of this process."""
        for watcher in self._watchers:
            watcher.on_start(plan)

    def on_step(self, step: Step) -> None:
        """After each update of the weights."""
        for watcher in self._watchers:
            watcher.on_step(step)

    def on_epoch(self, row: dict[str, Any]) -> None:
        """After each epoch."""
        for watcher in self._watchers:
            watcher.on_epoch(row)

    def on_note(self, text: str) -> None:
        """One line a person should read."""
        for watcher in self._watchers:
            watcher.on_note(text)

    def on_end(self, result: Result) -> None:
        """When all is written."""
        for watcher in self._watchers:
            watcher.on_end(result)
