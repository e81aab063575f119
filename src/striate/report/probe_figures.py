"""The figures of the probes: each draws one probe's value, and computes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from striate.ops import Array
from striate.probe import (
    ActivationProbe,
    BatchNormProbe,
    ConsistencyProbe,
    CovariateShiftProbe,
    EquivarianceProbe,
    EvidenceProbe,
    ReceptiveFieldProbe,
)
from striate.report.claim_figures import around_zero
from striate.report.figures import BLUE, GRAY, INK, ORANGE, figure_of, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAYER_INCHES = 0.24
MOST_LABELS = 40
SMALLEST_DRAWN = 1e-9


def draw_probes(found: Mapping[str, Any], folder: Path) -> tuple[Path, ...]:
    """Write NAME.png for each probe that measured something.  Raises: UsageError where matplotlib is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, probe in found.items():
        figure = DRAW[type(probe)](probe)
        if figure is not None:
            paths.append(save(figure, folder / f"{name}.png"))
    return tuple(paths)


def _tall(layers: int) -> float:
    return 1.4 + LAYER_INCHES * min(layers, MOST_LABELS)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows 0, 1 ... from the top; of more than can be read, evenly spread ones."""
    places = np.unique(np.linspace(0, len(names) - 1, min(len(names), MOST_LABELS)).round().astype(int))
    axes.set_yticks(places, [names[i] for i in places])
    axes.set_ylim(len(names) - 0.5, -0.5)


def _equivariance(probe: EquivarianceProbe) -> Figure | None:
    if not probe.jumps:
        return None
    layers = list(probe.jumps)
    figure = figure_of(9.0, _tall(len(layers)))
    axes = figure.subplots()
    rows = [probe.worst(layer) for layer in layers]
    kinds = (("rounding", GRAY, "o"), ("padding", BLUE, "s"), ("aliasing", ORANGE, "D"))
    for k, (name, color, mark) in enumerate(kinds):
        points = [(value, i) for i, value in enumerate(row[k] for row in rows) if value is not None]
        if points:
            values = [max(x, SMALLEST_DRAWN) for x, _ in points]
            axes.plot(values, [i for _, i in points], mark, color=color, label=name)
    axes.set_xscale("log")
    _name_rows(axes, [f"{layer}  (jump {probe.jumps[layer]})" for layer in layers])
    axes.grid(axis="x", color="#e6e6e6")
    axes.set(
        xlabel="largest relative RMS error over the shifts (0 is drawn at the left end)",
        title=f"shifted images, n = {probe.images}",
    )
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _consistency(probe: ConsistencyProbe) -> Figure | None:
    if not probe.agreements:
        return None
    figure = figure_of(6.0, 3.6)
    axes = figure.subplots()
    for protocol, color, aside in (("circular", BLUE, -0.06), ("crop", ORANGE, 0.06)):
        mine = [one for one in probe.agreements if one.protocol == protocol]
        places = np.arange(len(mine)) + aside
        share = np.array([100 * one.share for one in mine])
        ends = np.array([[100 * end for end in one.interval_95] for one in mine]).T
        reach = np.maximum(0, np.abs(ends - share))
        axes.errorbar(places, share, yerr=reach, fmt="o-", color=color, capsize=3, label=protocol)
        axes.set_xticks(range(len(mine)), [str(one.shift_px) for one in mine])
    axes.set(xlabel="shift, px", ylabel="same answer, %", ylim=(None, 101))
    axes.set_title(f"n = {probe.images} images, 95 % intervals")
    axes.legend(frameon=False, loc="lower left")
    return figure


def _receptive_field(probe: ReceptiveFieldProbe) -> Figure | None:
    layers = [layer for layer in probe.layers if layer.boxes and None not in layer.theoretical]
    if not layers:
        return None
    columns = min(4, len(layers))
    rows = -(-len(layers) // columns)
    figure = figure_of(2.5 * columns, 2.9 * rows)
    for axes, layer in zip(figure.subplots(rows, columns, squeeze=False).flat, layers, strict=False):
        axes.imshow(np.sqrt(layer.share), cmap="Blues")
        intervals = ((layer.theoretical, GRAY), (layer.boxes[-1], ORANGE))
        for box, color in intervals:
            (top, bottom), (left, right) = box  # type: ignore[misc] # layers that see nothing were left out
            xs, ys = (left - 0.5, right + 0.5), (top - 0.5, bottom + 0.5)
            axes.plot([xs[0], *xs, *xs[::-1]], [ys[1], ys[0], ys[0], ys[1], ys[1]], color=color)
        sees, held = ("x".join(map(str, sides)) for sides in (layer.seen, layer.sides(-1)))
        axes.set_title(f"{layer.layer}\nsees {sees}, 95 % in {held} px", fontsize=8)
    for axes in figure.axes:
        axes.set_axis_off()
    about = "share of |gradient| (square root): gray can see, orange holds 95 %"
    figure.suptitle(f"{about}; n = {probe.images} images", fontsize=9)
    return figure


def _batch_norm(probe: BatchNormProbe) -> Figure | None:
    if not probe.layers:
        return None
    figure = figure_of(9.0, _tall(len(probe.layers)) + 0.6)
    left, right = figure.subplots(1, 2, sharey=True)
    for i, layer in enumerate(probe.layers):
        color = ORANGE if layer.stale else BLUE
        for axes, values in ((left, layer.mean_error), (right, layer.log_var_ratio)):
            shown = values[np.isfinite(values)]
            axes.plot(shown, np.full(len(shown), i), "|", color=color, markersize=9, alpha=0.6)
    _name_rows(left, [layer.layer for layer in probe.layers])
    left.set(xlabel="|running − population mean|, sigma", title="means", xlim=(0, None))
    right.set(xlabel="ln(running / population variance)", title="variances")
    right.axvline(0, color=GRAY, linewidth=1)
    figure.suptitle(f"one mark a channel, orange: stale; n = {probe.images} images", fontsize=9)
    return figure


def _activations(probe: ActivationProbe) -> Figure | None:
    if not probe.layers:
        return None
    figure = figure_of(7.0, _tall(len(probe.layers)))
    axes = figure.subplots()
    places = np.arange(len(probe.layers))
    axes.barh(places - 0.2, [100 * (a.zeros or 0) for a in probe.layers], 0.38, color=BLUE, label="zeros")
    dead = [100 * len(a.dead) / a.channels for a in probe.layers]
    axes.barh(places + 0.2, dead, 0.38, color=ORANGE, label="dead channels")
    _name_rows(axes, [a.layer for a in probe.layers])
    axes.set(xlabel="%", xlim=(0, 100), title=f"activations, n = {probe.images} images")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _evidence(probe: EvidenceProbe) -> Figure | None:
    picture = _picture(probe.image)
    shown = [("image", picture, "gray", 0.0)]
    for title, values in (
        (f"Grad-CAM at {probe.cam_layer}, logits", probe.grad_cam),
        (f"logits lost, {probe.patch_px} px hidden", probe.occlusion),
    ):
        if values is not None:
            shown.append((title, values, around_zero(), float(np.abs(values).max()) or 1.0))
    if probe.maps is not None:
        maps = enumerate(probe.maps[: 8 - len(shown)])
        shown += [(f"{probe.maps_layer} [{k}]", one, "gray", 0.0) for k, one in maps]
    rows = -(-len(shown) // 4)
    figure = figure_of(10.0, 2.6 * rows)
    grid = figure.subplots(rows, 4, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (title, values, colors, most) in zip(grid.flat, shown, strict=False):
        limits = {"vmin": -most, "vmax": most} if most else {}
        drawn = axes.imshow(values, cmap=colors, extent=(0, picture.shape[1], picture.shape[0], 0), **limits)
        if most:
            figure.colorbar(drawn, ax=axes, shrink=0.8)
        axes.set_title(title, fontsize=8, color=INK)
    figure.suptitle(f"{probe.title()}; n = 1 image", fontsize=9)
    return figure


def _picture(image: Array) -> Array:
    """A normalised image (C, H, W) as it may have looked: in colour of three channels (H, W, 3), else their mean."""
    low, high = float(image.min()), float(image.max())
    scaled = (image - low) / ((high - low) or 1.0)
    shown: Array = scaled.transpose(1, 2, 0) if len(image) == 3 else scaled.mean(axis=0)
    return shown


def _covariate_shift(probe: CovariateShiftProbe) -> Figure | None:
    if probe.why_not:
        return None
    from matplotlib.colors import LogNorm

    figure = figure_of(8.0, _tall(len(probe.layers)))
    axes = figure.subplots()
    shown = np.ma.masked_less_equal(probe.shift.T, 0)  # what never moves stays gray
    axes.set_facecolor("#e6e6e6")
    largest = float(probe.shift.max()) or 1.0
    norm = LogNorm(max(float(shown.min()), largest / 1000) if shown.count() else largest / 10, largest)
    edges = np.arange(len(probe.steps) + 1), np.arange(len(probe.layers) + 1) - 0.5
    mesh = axes.pcolormesh(*edges, shown, cmap="Blues", norm=norm)
    places = np.unique(np.linspace(0, len(probe.steps) - 1, min(8, len(probe.steps))).round().astype(int))
    axes.set_xticks(places + 0.5, [f"{probe.steps[i]:,}" for i in places])
    _name_rows(axes, probe.layers)
    axes.set(xlabel="step", title=f"shift of each layer's input in one update, n = {probe.images} images; gray: none")
    figure.colorbar(mesh, ax=axes, label="standard deviations")
    return figure


DRAW: Mapping[type, Callable[[Any], Any]] = MappingProxyType({
    EquivarianceProbe: _equivariance,
    ConsistencyProbe: _consistency,
    ReceptiveFieldProbe: _receptive_field,
    BatchNormProbe: _batch_norm,
    ActivationProbe: _activations,
    EvidenceProbe: _evidence,
    CovariateShiftProbe: _covariate_shift,
})  # fmt: skip
"""The figure of each kind of probe; None where nothing was measured."""
