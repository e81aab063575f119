"""The picture of a learning-rate test. It draws values; nothing is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from striate.report.figures import BLUE, GRAY, ORANGE, figure_of, save


def draw_rates(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggested: float, path: Path
) -> Path:
    """Loss against learning rate, the suggested rate marked.  Raises: UsageError where matplotlib is not installed."""
    figure = figure_of(6.4, 3.6)
    axes = figure.subplots()
    axes.plot(rates, losses, color=GRAY, linewidth=0.8, label="each batch")
    axes.plot(rates, smoothed, color=BLUE, label="smoothed")
    axes.axvline(suggested, color=ORANGE, linewidth=1, label=f"suggested: {suggested:.2g}")
    lowest = min(*losses, *smoothed)
    axes.set(xscale="log", xlabel="learning rate", ylabel="cross-entropy, nats", title="learning-rate test")
    axes.set_ylim(lowest - 0.05 * smoothed[0], 1.15 * smoothed[0])
    axes.legend(frameon=False, loc="lower left")
    return save(figure, path)
