"""The figures of the theory's statements: each draws the numbers that an experiment found, and computes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from striate.claims import Outcome
from striate.report.figures import BLUE, GRAY, INK, ORANGE, figure_of, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Series = Mapping[str, Any]
Image = NDArray[np.float64]
SMALLEST_DRAWN = 1e-17
"""Where a logarithmic axis shows an error of exactly 0."""
SMOOTHED_STEPS = 10
SHADES = (BLUE, ORANGE, GRAY)
"""Of two or three things that are compared, in their order."""


def draw_claim(outcome: Outcome, path: Path) -> Path | None:
    """Write the figure of an outcome to `path`; None where its statement has none.

    Raises: UsageError where matplotlib is not installed.
    """
    row = DRAW.get(outcome.claim.number)
    if row is None:
        return None
    width, height, draw = row
    figure = figure_of(width, height)
    draw(figure, outcome.finding.series)
    return save(figure, path)


def _picture(axes: Axes, image: Image, title: str, *, signed: bool = False) -> None:
    """An image in gray, dark for large; or in blue and orange around 0."""
    most = float(np.abs(image).max()) or 1.0
    low = -most if signed else min(0.0, float(image.min()))
    axes.imshow(image, cmap=around_zero() if signed else "gray_r", vmin=low, vmax=most)
    axes.set_title(title)
    axes.set_axis_off()


def around_zero() -> Any:  # noqa: ANN401 - matplotlib is loaded when drawing
    """Colours from orange (negative) over white to blue (positive)."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("around zero", [ORANGE, "#ffffff", BLUE])


def _instrument(figure: Figure, series: Series) -> None:
    left, right = figure.subplots(1, 2)
    steps = np.arange(1, len(series["losses"]) + 1)
    left.plot(steps, series["losses"], color=BLUE)
    left.set(xlabel="step", ylabel="cross-entropy, nats", title="loss", ylim=(0, None))
    right.semilogy(steps, np.maximum(series["differences"], SMALLEST_DRAWN), color=BLUE)
    right.axhline(1e-9, color=ORANGE, linewidth=1)
    right.text(steps[-1], 2e-10, "allowed", color=ORANGE, ha="right", va="top")
    right.set(xlabel="step", title="|NumPy − torch|", ylim=(SMALLEST_DRAWN / 3, 1e-8))


def _cross_correlation(figure: Figure, series: Series) -> None:
    first, second, third, fourth = figure.subplots(1, 4, width_ratios=(1, 0.55, 1, 1))
    _picture(first, series["image"], "image")
    kernel = series["kernel"]
    _picture(second, kernel, "kernel", signed=True)
    for (row, column), value in np.ndenumerate(kernel):
        shade = "white" if abs(value) == np.abs(kernel).max() else INK
        second.text(column, row, f"{value:+.0f}" if value else "0", ha="center", va="center", color=shade)
    _picture(third, series["layer"], "the layer", signed=True)
    _picture(fourth, series["flipped"], "kernel flipped", signed=True)


def _equivariance(figure: Figure, series: Series) -> None:
    first, *rest = figure.subplots(1, 4, width_ratios=(1.5, 1, 1, 1))
    _error_bars(first, series["errors"])
    both = (series["map of turned image"], series["turned map"])
    _picture(rest[0], both[0], "f(turned image)")
    _picture(rest[1], both[1], "f(image), turned")
    _picture(rest[2], both[0] - both[1], "difference", signed=True)


def _error_bars(axes: Axes, errors: Mapping[str, float]) -> None:
    names = list(errors)
    values = np.maximum(list(errors.values()), SMALLEST_DRAWN)
    colors = [BLUE if name.startswith("shift") else ORANGE for name in names]
    axes.hlines(range(len(names)), SMALLEST_DRAWN, values, color=colors, linewidth=1)
    axes.scatter(values, range(len(names)), color=colors, s=28, zorder=3)
    axes.set_yticks(range(len(names)), names)
    axes.set(xscale="log", xlabel="error, share of the maps' RMS", xlim=(SMALLEST_DRAWN / 3, 10))
    axes.set_xticks([SMALLEST_DRAWN, 1e-12, 1e-6, 1], ["0", "1e-12", "1e-6", "1"])
    axes.minorticks_off()
    axes.invert_yaxis()


def _stride(figure: Figure, series: Series) -> None:
    axes = figure.subplots()
    shifts, errors = list(series["errors"]), list(series["errors"].values())
    axes.plot(shifts, errors, color=GRAY, linewidth=1)
    on_grid = [shift % series["stride"] == 0 for shift in shifts]
    axes.scatter(shifts, errors, c=[BLUE if on else ORANGE for on in on_grid], s=28, zorder=3)
    axes.set_xticks(shifts)
    axes.set(xlabel="shift, px", ylabel="error, share of RMS", ylim=(-0.03, None))


def _feature_maps(figure: Figure, series: Series) -> None:
    first, *rest = figure.subplots(1, 1 + len(series["maps"]))
    _picture(first, series["image"], "image")
    for axes, (name, feature_map) in zip(rest, series["maps"].items(), strict=True):
        _picture(axes, feature_map, name.replace(" ", "\n", 1))


def _non_linearity(figure: Figure, series: Series) -> None:
    maps = series["differences"]
    panels = figure.subplots(1, len(maps))
    for axes, (name, difference) in zip(panels, maps.items(), strict=True):
        shown = axes.imshow(difference, cmap="Blues", vmin=0, vmax=max(float(m.max()) for m in maps.values()))
        axes.set_title(name)
        axes.set_axis_off()
    figure.colorbar(shown, ax=list(panels), shrink=0.8, label="difference")


def _dropped_rows(figure: Figure, series: Series) -> None:
    axes = figure.subplots()
    image, window = series["image"], series["window"]
    rows, columns = image.shape
    axes.imshow(image, cmap="gray_r", vmax=1.6)
    for row in series["dropped"]:
        axes.axhspan(row - 0.5, row + 0.5, facecolor="none", edgecolor=ORANGE, hatch="/////", linewidth=0)
    for i in range(window.out_size(rows)):
        top = window.first(i) - 0.5
        axes.add_patch(_box(columns + 1.0, top, 1.6, window.extent))
        axes.text(columns + 3.4, top + window.extent / 2, f"window {i}", va="center", fontsize=8, color=BLUE)
    axes.set(xlim=(-0.5, columns + 11), ylabel="row", yticks=range(0, rows, 4), xticks=[])
    axes.spines["bottom"].set_visible(False)


def _box(x: float, y: float, width: float, height: float) -> Any:  # noqa: ANN401 - matplotlib is loaded when drawing
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, facecolor=BLUE, alpha=0.6, linewidth=0)


def _growth(name: str, *, logarithmic: bool) -> Callable[[Figure, Series], None]:
    def draw(figure: Figure, series: Series) -> None:
        axes = figure.subplots()
        for shade, (value, sizes) in zip((GRAY, BLUE, ORANGE), series["growth"].items(), strict=True):
            axes.plot(series["depths"], sizes, color=shade, marker="o", markersize=4)
            axes.annotate(
                f"{name} {value}",
                (series["depths"][-1], sizes[-1]),
                (8, 0),
                textcoords="offset points",
                color=shade,
                va="center",
            )
        axes.set(xlabel="layers", ylabel="receptive field, px", yscale="log" if logarithmic else "linear")
        axes.set(xlim=(0.8, series["depths"][-1] + 1.1), xticks=series["depths"])

    return draw


def _groups(axes: Axes, values: Sequence[Iterable[float]], names: Sequence[str], title: str) -> None:
    """One dot a seed for each group, its mean as a line."""
    for k, (group, color) in enumerate(zip(values, SHADES, strict=False)):
        dots = np.array(list(group))
        axes.scatter(np.full(len(dots), k) + np.linspace(-0.08, 0.08, len(dots)), dots, color=color, s=28, zorder=3)
        axes.hlines(dots.mean(), k - 0.25, k + 0.25, color=color, linewidth=2)
    axes.set_xticks(range(len(names)), names)
    highest = max(float(np.max(list(group))) for group in values)
    axes.set(title=title, xlim=(-0.6, len(names) - 0.4), ylim=(0, 1.1 * highest))


def _max_pooling(figure: Figure, series: Series) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    names = [name.replace(" ", "\n", 1) for name in series["names"]]
    _groups(left, series["change"], names, "change of the last maps")
    for color, name, values in zip(SHADES, series["names"], 100 * series["agreement"], strict=True):
        _band(right, series["shifts"], values, color, name)
    right.set(title="decisions kept, %", xlabel="shift, px", xticks=series["shifts"])
    right.legend(frameon=False, fontsize=8)


def _average_pooling(figure: Figure, series: Series) -> None:
    panels = figure.subplots(1, len(series["pictures"]))
    for axes, (name, picture) in zip(panels, series["pictures"].items(), strict=True):
        _picture(axes, picture, name)


def _batch_norm(figure: Figure, series: Series) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, when in ((left, "before"), (right, "after")):
        channels = series[when]
        low, high = np.percentile(channels, (0.5, 99.5))
        bins = np.linspace(low, high, 60)
        for k, values in enumerate(channels):
            counts, _ = np.histogram(values, bins)
            heights = 0.95 * np.log1p(counts) / np.log1p(counts.max())
            axes.fill_between(bins[:-1], k, k + heights, step="post", color=BLUE, alpha=0.75, linewidth=0)
            axes.hlines(k, low, high, color=GRAY, linewidth=0.5)
            axes.plot([values.mean()] * 2, [k, k + 0.95], color=ORANGE, linewidth=1.5)
            axes.hlines(
                k + 0.4, values.mean() - values.std(), values.mean() + values.std(), color=ORANGE, linewidth=1.5
            )
        axes.set(title=when, xlabel="value", yticks=[])
    left.set_yticks(np.arange(len(series["before"])) + 0.4, [f"channel {k}" for k in range(len(series["before"]))])
    left.tick_params(axis="y", length=0)


def _bias(figure: Figure, series: Series) -> None:
    axes = figure.subplots()
    for color, (name, trace) in zip((BLUE, ORANGE), series["traces"].items(), strict=True):
        axes.plot(range(1, len(trace) + 1), trace, color=color, label=name)
    axes.set(xlabel="step", ylabel="largest move of a bias")
    axes.legend(frameon=False)


def _running_averages(figure: Figure, series: Series) -> None:
    axes = figure.subplots()
    steps = range(1, len(series["running means"]) + 1)
    axes.scatter(steps, series["batch means"], color=GRAY, s=14, label="mean of the batch")
    axes.plot([0, *steps], [0.0, *series["running means"]], color=BLUE, label="running average")
    axes.set(xlabel="batch", ylabel="mean of channel 0")
    axes.legend(frameon=False)


def _test_time(figure: Figure, series: Series) -> None:
    axes = figure.subplots()
    for name, color, dodge in (("training", ORANGE, 0.16), ("test", BLUE, -0.16)):
        scores = series[name]
        places = np.arange(scores.shape[1]) + dodge
        axes.scatter(np.tile(places, len(scores)), scores.ravel(), color=color, s=14, alpha=0.5, linewidth=0)
        axes.scatter([], [], color=color, s=20, label=f"{name} mode" if name == "training" else "test time")
    axes.set(xlabel="class", ylabel="logit", xticks=range(scores.shape[1]))
    axes.legend(frameon=False)


def _band(axes: Axes, x: Sequence[float], values: Image, color: str, name: str) -> None:
    """Mean over seeds as a line, their range as a band.  Shape of the values: (len(x), seeds)."""
    axes.plot(x, values.mean(axis=1), color=color, marker="o", markersize=4, label=name)
    axes.fill_between(x, values.min(axis=1), values.max(axis=1), color=color, alpha=0.18, linewidth=0)


def _curves(figure: Figure, x: Sequence[float], curves: Mapping[str, Image], labels: tuple[str, str]) -> Axes:
    """Curves over logarithmic x in percent.  Shapes of the curves: (len(x), seeds)."""
    axes = figure.subplots()
    for color, (name, values) in zip(SHADES, curves.items(), strict=False):
        _band(axes, x, 100 * values, color, name)
    axes.set(xscale="log", xlabel=labels[0], ylabel=labels[1], ylim=(0, 100))
    axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.minorticks_off()
    return axes


def _learning_rates(figure: Figure, series: Series) -> None:
    curves = {name: series[name] for name in ("with BN", "without")}
    axes = _curves(figure, series["rates"], curves, ("learning rate", "test accuracy, %"))
    axes.axhline(10, color=GRAY, linewidth=1, linestyle="--", label="guessing")
    axes.legend(frameon=False, loc="upper left")


def _batch_sizes(figure: Figure, series: Series) -> None:
    curves = {name: series[name] for name in ("BN", "GroupNorm")}
    axes = _curves(figure, series["sizes"], curves, ("images in a batch", "test accuracy, %"))
    axes.legend(frameon=False, loc="lower right")


def _batch_mates(figure: Figure, series: Series) -> None:
    left, right = figure.subplots(1, 2)
    _groups(left, 100 * series["gap"], ("with BN", "without"), "training less test accuracy, points")
    _groups(right, 100 * series["test"], ("with BN", "without"), "test accuracy, %")
    right.set_ylim(0, 100)


def _train_and_test(figure: Figure, series: Series) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
    _groups(left, series["gaps"].T, ("running\naverages", "precise\nstatistics"), "training mode − eval mode")
    names = ("training\nmode", "eval,\nrunning", "eval,\nprecise")
    _groups(right, 100 * series["accuracies"].T, names, "test accuracy, %")
    right.set_ylim(0, 100)


def _covariate_shift(figure: Figure, series: Series) -> None:
    layers = range(1, series["with BN"].shape[1])
    panels = figure.subplots(1, len(layers), sharey=True)
    for axes, layer in zip(panels, layers, strict=True):
        for color, name in ((BLUE, "with BN"), (ORANGE, "without")):
            smooth = sliding_window_view(series[name][:, layer], SMOOTHED_STEPS, axis=0).mean(axis=-1)
            steps = np.arange(len(smooth)) + SMOOTHED_STEPS
            axes.semilogy(steps, smooth.mean(axis=1), color=color, label=name)
            axes.fill_between(steps, smooth.min(axis=1), smooth.max(axis=1), color=color, alpha=0.18, linewidth=0)
        axes.set(title=f"layer {layer + 1}", xlabel="step")
    panels[0].set_ylabel("shift a step, standard deviations")
    panels[0].legend(frameon=False)


DRAW: Mapping[int, tuple[float, float, Callable[[Figure, Series], None]]] = MappingProxyType(
    {
        # number: width and height in inches, and what draws it
        0: (7.6, 2.8, _instrument),
        1: (7.6, 2.4, _cross_correlation),
        2: (9.6, 2.6, _equivariance),
        3: (6.0, 2.6, _stride),
        5: (9.0, 2.0, _feature_maps),
        7: (5.6, 2.6, _non_linearity),
        10: (4.6, 3.4, _dropped_rows),
        11: (5.6, 2.8, _growth("K =", logarithmic=False)),
        12: (5.6, 2.8, _growth("S =", logarithmic=True)),
        14: (7.6, 2.9, _max_pooling),
        15: (6.0, 2.1, _average_pooling),
        17: (7.6, 3.2, _batch_norm),
        18: (5.6, 2.8, _bias),
        19: (5.6, 2.8, _running_averages),
        20: (6.4, 2.8, _test_time),
        22: (6.4, 3.0, _learning_rates),
        23: (6.4, 2.8, _batch_mates),
        24: (6.4, 3.0, _batch_sizes),
        25: (6.8, 2.8, _train_and_test),
        26: (9.0, 2.8, _covariate_shift),
    }
)
"""The figure of each statement that has one."""
