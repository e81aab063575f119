"""What the non-linearities do to images: dead channels, the share of zeros, and saturation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from striate.graph import Network
from striate.measure.text import aligned
from striate.ops import Activation, Array
from striate.probe.running import batches, ready, visit

MARGIN = 0.01
"""Share of a curve's range within which it counts as saturated."""
LIMITS = {"sigmoid": (0.0, 1.0), "hard_sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu6": (None, 6.0)}
CUT_AT_ZERO = ("relu", "relu6")


@dataclass(frozen=True, slots=True)
class ActivationHealth:
    """One activation layer over `images` images.

    dead: channels whose output is never above 0 (of relu and relu6); constant: channels of one value throughout
    zeros, saturated: share of values that are 0, or within 1 % of the range from a limit; None where none exists
    """

    layer: str
    curve: str
    channels: int
    images: int
    dead: tuple[int, ...]
    constant: tuple[int, ...]
    zeros: float | None
    saturated: float | None


@dataclass(frozen=True, slots=True)
class ActivationProbe:
    """Every activation layer of a network."""

    network: str
    images: int
    layers: tuple[ActivationHealth, ...]
    why_not: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """One line a layer and the reading."""
        heads = ("activation", "curve", "channels", "dead", "constant", "zeros", "saturated")
        rows = [
            (
                a.layer,
                a.curve,
                *map(str, (a.channels, len(a.dead), len(a.constant))),
                _share(a.zeros),
                _share(a.saturated),
            )
            for a in self.layers
        ]
        text = aligned(heads, rows, (False, False, *(True,) * 5)) if rows else []
        dead, channels = sum(len(a.dead) for a in self.layers), sum(a.channels for a in self.layers)
        said = [f"{dead:,} of {channels:,} channels are dead on these {self.images:,} images"] if rows else []
        return [*text, *said, *(f"not measured: {why}" for why in self.why_not)]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        layers = [asdict(a) | {"dead": list(a.dead), "constant": list(a.constant)} for a in self.layers]
        return {"probe": "activations", "images": self.images, "layers": layers, "why_not": list(self.why_not)}


def activations(network: Network, images: Array) -> ActivationProbe:
    """Look at every activation layer at test time.  Shapes: images (N, C, H, W).  Raises: NetworkError."""
    network, images, hidden = ready(network, images)
    found = {node.name: _Counts(node.op.curve) for node in network if isinstance(node.op, Activation)}
    if not found:
        return ActivationProbe(network.name, len(images), (), ("the network has no activation layers", *hidden))
    for x in batches(network, images):
        for name, value in visit(network, x):
            if name in found:
                found[name].add(value)
    health = tuple(one.health(name) for name, one in found.items())
    return ActivationProbe(network.name, len(images), health, hidden)


class _Counts:
    """Extremes of each channel, and counts, over batches."""

    def __init__(self, curve: str) -> None:
        self.curve, self.images, self.values, self.zeros, self.saturated = curve, 0, 0, 0, 0
        self.low: Array = np.array(np.inf)
        self.high: Array = np.array(-np.inf)

    def add(self, x: Array) -> None:
        axes = (0, *range(2, x.ndim))
        self.low, self.high = np.minimum(self.low, x.min(axis=axes)), np.maximum(self.high, x.max(axis=axes))
        self.images, self.values = self.images + len(x), self.values + x.size
        self.zeros += int((x == 0).sum())
        low, high = LIMITS.get(self.curve, (None, None))
        reach = MARGIN * ((high or 0) - (low or 0))
        near = np.zeros(x.shape, bool)
        if low is not None:
            near |= x <= low + reach
        if high is not None:
            near |= x >= high - reach
        self.saturated += int(near.sum())

    def health(self, layer: str) -> ActivationHealth:
        cut = self.curve in CUT_AT_ZERO
        dead = np.flatnonzero(self.high <= 0) if cut else np.zeros(0, int)
        constant = np.setdiff1d(np.flatnonzero(self.high == self.low), dead)
        return ActivationHealth(
            layer, self.curve, self.high.size, self.images, tuple(map(int, dead)), tuple(map(int, constant)),
            self.zeros / self.values if cut else None,
            self.saturated / self.values if self.curve in LIMITS else None,
        )  # fmt: skip


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
