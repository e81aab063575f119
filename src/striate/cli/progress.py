"""A training run on the terminal: a bar where there is one, plain lines where there is none."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from striate.cli.output import note, percent, seconds_text
from striate.train.observer import Observer, Plan, Step
from striate.train.result import Result

LINE_SECONDS = 10.0  # without a terminal, a long epoch says where it is this often


class TrainingProgress(Observer):
    """Prints the plan, a bar (or a line now and then), and one line an epoch, all to standard error."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._plan: Plan | None = None
        self._said = time.monotonic()

    def on_start(self, plan: Plan) -> None:
        """Say what lies ahead, and how long it will take."""
        self._plan = plan
        left = plan.total_steps - plan.done_steps
        done = f", {plan.done_steps:,} steps done" if plan.done_steps else ""
        note(
            f"{plan.train_images:,} images to train on, {plan.validation_images:,} to choose the epoch, "
            f"{plan.test_images:,} to test; {plan.parameters:,} parameters"
        )
        last = plan.total_steps - (plan.epochs - 1) * plan.steps_per_epoch
        cut = f", {last} in the last" if last < plan.steps_per_epoch else ""
        steps = f"{plan.epochs} epochs of {plan.steps_per_epoch} steps{cut}{done}"
        note(f"{steps}: about {seconds_text(plan.estimate_seconds)}")
        console = Console(stderr=True)
        if console.is_terminal and left:
            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
                BarColumn(),
                TextColumn("loss {task.fields[loss]:.3f}  {task.fields[rate]:,.0f} images/s"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            fields: dict[str, Any] = {"epoch": 1, "epochs": plan.epochs, "loss": 0.0, "rate": 0.0}
            self._bar.add_task("", total=plan.total_steps, completed=plan.done_steps, **fields)
            self._bar.start()

    def on_step(self, step: Step) -> None:
        """Move the bar."""
        rate = step.images / max(step.seconds, 1e-9)
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=step.done_steps, epoch=step.epoch, loss=step.loss, rate=rate)
        elif self._plan is not None and time.monotonic() - self._said > LINE_SECONDS:
            self._said = time.monotonic()
            total = self._plan.total_steps
            note(f"  step {step.done_steps:,} of {total:,}  loss {step.loss:.3f}  {rate:,.0f} images/s")

    def on_epoch(self, row: dict[str, Any]) -> None:
        """One line."""
        self._said = time.monotonic()
        best = "  best so far" if row["best"] else ""
        self._say(
            f"  epoch {row['epoch']:>3}  train loss {row['train_loss']:.3f}  "
            f"validation loss {row['validation_loss']:.3f}  validation {percent(row['validation_accuracy'])}{best}"
        )

    def on_note(self, text: str) -> None:
        """One line a person should read."""
        self._say(f"  note: {text}")

    def on_end(self, result: Result) -> None:
        """Take the bar away."""
        self.close()

    def close(self) -> None:
        """Stop the bar, whatever happened."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)
