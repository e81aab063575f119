"""The learning curves of several runs on one picture. Values drawn, no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from striate.report.figures import figure_of, save

History = Sequence[Mapping[str, Any]]


def draw_runs(histories: Mapping[str, History], path: Path) -> Path:
    """Validation loss and accuracy against the epoch, a line for each run.

    histories: rows of metrics.jsonl by the run's name.
    Raises: UsageError where matplotlib is not installed.
    """
    figure = figure_of(10.0, 3.8)
    losses, accuracies = figure.subplots(1, 2)
    for name, history in histories.items():
        epochs = [row["epoch"] for row in history]
        losses.plot(epochs, [row["validation_loss"] for row in history], "o-", ms=3, label=name)
        accuracies.plot(epochs, [100 * row["validation_accuracy"] for row in history], "o-", ms=3, label=name)
    for axes in (losses, accuracies):
        axes.xaxis.get_major_locator().set_params(integer=True)
    losses.set(xlabel="epoch", ylabel="cross-entropy, nats", title="validation loss")
    accuracies.set(xlabel="epoch", ylabel="right, %", title="validation accuracy")
    accuracies.legend(frameon=False, loc="lower right", fontsize=8)
    return save(figure, path)
