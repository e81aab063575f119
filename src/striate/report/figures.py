"""The pictures of a run: learning curves and the confusion matrix. They draw values; nothing is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from striate.errors import UsageError
from striate.report.files import writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, BLUE, ORANGE, GRAY = "#222222", "#1f5fa8", "#d9730d", "#9a9a9a"


def draw_curves(history: Sequence[Mapping[str, Any]], kept_epoch: int, path: Path) -> Path:
    """Loss and accuracy against the epoch, the chosen epoch marked.

    history: rows of metrics.jsonl with epoch, train_loss, validation_loss and validation_accuracy.
    Raises: UsageError where matplotlib is not installed.
    """
    figure = figure_of(9.0, 3.4)
    epochs = [row["epoch"] for row in history]
    losses, accuracies = figure.subplots(1, 2)
    losses.plot(epochs, [row["train_loss"] for row in history], color=GRAY, label="training (smoothed labels)")
    losses.plot(epochs, [row["validation_loss"] for row in history], color=BLUE, label="validation")
    losses.set(xlabel="epoch", ylabel="cross-entropy, nats", title="loss")
    losses.legend(frameon=False)
    accuracies.plot(epochs, [100 * row["validation_accuracy"] for row in history], color=BLUE)
    accuracies.axvline(kept_epoch, color=ORANGE, linewidth=1, label=f"kept: epoch {kept_epoch}")
    accuracies.set(xlabel="epoch", ylabel="right, %", title="validation accuracy")
    accuracies.legend(frameon=False, loc="lower right")
    return save(figure, path)


def draw_confusion(counts: NDArray[np.int64], classes: Sequence[str], title: str, path: Path) -> Path:
    """The confusion matrix: a row for each true class, a column for each answer, counts in the cells.

    counts: int (K, K). The shade is the share of the row. Cells are numbered up to 20 classes.
    Raises: UsageError where matplotlib is not installed.
    """
    size = len(classes)
    side = min(16.0, 2.6 + 0.45 * size)
    figure = figure_of(side + 1.0, side)
    axes = figure.subplots()
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(size) if size <= 60 else []
    axes.set_xticks(ticks, [classes[i] for i in ticks], rotation=45, ha="right")
    axes.set_yticks(ticks, [classes[i] for i in ticks])
    axes.set(xlabel="answer", ylabel="true class", title=title)
    if size <= 20:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                shade = "white" if shares[row, column] > 0.5 else INK
                axes.text(column, row, str(count), ha="center", va="center", color=shade, fontsize=8)
    return save(figure, path)


def figure_of(width_inches: float, height_inches: float) -> Figure:
    """A figure with its own canvas: no window system, no state shared with the caller's matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("pictures need matplotlib; install it with pip install 'striate[report]'") from None
    figure = Figure(figsize=(width_inches, height_inches), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a figure to `path`, without the lines above and to the right of its axes.

    Raises: UsageError if the file cannot be written or its name ends in no format of pictures.
    """
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in formats:
        raise UsageError(f"{path}: is no name of a picture; end it in one of {', '.join(sorted(formats))}")
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    with writing(path):
        figure.savefig(path, facecolor="white")
    return path
