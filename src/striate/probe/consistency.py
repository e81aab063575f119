"""Does the answer stay when the image moves? Agreement for each shift, with Wilson's interval.

Two protocols that must not be compared with each other (Zhang 2019, arXiv:1904.11486, sec. 4):
circular, the image wraps around, so that nothing is lost and nothing new comes in; and crop, a window of the network's
size that moves over a larger image, so that content changes at the border. Where images are no larger than the
network's input, the larger image is made by repeating its outermost pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np

from striate.graph import Network, infer_shapes
from striate.measure.text import aligned
from striate.ops import Array
from striate.probe.running import outputs, ready

SHIFTS = (1, 2, 3, 4, 8)
Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Agreement:
    """One protocol at one shift: images whose answer stayed, of how many; interval: Wilson's, 95 %.

    change: mean over images of max over classes of the change of probability
    """

    protocol: str
    shift_px: int
    same: int
    images: int
    interval_95: tuple[float, float]
    change: float

    @property
    def share(self) -> float:
        """Share of images whose answer stayed."""
        return self.same / self.images


@dataclass(frozen=True, slots=True)
class ConsistencyProbe:
    """Agreement of the answers with those for the unmoved images."""

    network: str
    images: int
    agreements: tuple[Agreement, ...]
    why_not: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """One line a protocol and shift, and the reading."""
        heads = ("protocol", "shift, px", "same answer", "95 % interval", "probability moves")
        rows = [_row(one) for one in self.agreements]
        text = aligned(heads, rows, (False, True, True, True, True)) if rows else []
        worst = [min(part, key=lambda one: one.share) for part in self._parts() if part]
        said = [
            f"{one.protocol}: a shift of {one.shift_px} px changes {one.images - one.same:,} of {one.images:,} answers"
            for one in worst
        ]
        return [*text, *said, *(f"not measured: {why}" for why in self.why_not)]

    def _parts(self) -> list[list[Agreement]]:
        return [[one for one in self.agreements if one.protocol == name] for name in ("circular", "crop")]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        found = [asdict(one) | {"interval_95": list(one.interval_95), "share": one.share} for one in self.agreements]
        return {"probe": "consistency", "images": self.images, "agreements": found, "why_not": list(self.why_not)}


def consistency(network: Network, images: Array, shifts: Sequence[int] = SHIFTS, seed: int = 0) -> ConsistencyProbe:
    """Move every image by each shift, up, down, left or right as `seed` decides, so that images are the trials.

    Shapes: images (N, C, H, W).  Raises: NetworkError.
    """
    network, images, hidden = ready(network, images)
    if hidden:
        return ConsistencyProbe(network.name, len(images), (), hidden)
    shape = infer_shapes(network)[network.output]
    if len(shape) != 1 or shape[0] < 2:
        return ConsistencyProbe(network.name, len(images), (), (f"the output {shape} is not two classes or more",))
    before = outputs(network, images)
    ways = np.random.default_rng(seed).integers(4, size=len(images))
    found = []
    for protocol, move in (("circular", circular), ("crop", cropped)):
        for shift in (s for s in shifts if s < min(images.shape[2:])):
            after = outputs(network, _moved(images, shift, ways, move))
            found.append(_agreement(protocol, shift, before, after))
    why: tuple[str, ...] = ()
    if len(np.unique(before.argmax(axis=1))) == 1:
        why = ("one class is the answer for all images: agreement says nothing about shifts",)
    return ConsistencyProbe(network.name, len(images), tuple(found), why)


def circular(image: Array, down: int, right: int) -> Array:
    """The image (C, H, W) moved, what leaves coming in on the other side."""
    return np.roll(image, (down, right), axis=(1, 2))


def cropped(image: Array, down: int, right: int) -> Array:
    """The image (C, H, W) moved, its outermost pixels repeated where nothing came in."""
    rows = np.clip(np.arange(image.shape[1]) - down, 0, image.shape[1] - 1)
    columns = np.clip(np.arange(image.shape[2]) - right, 0, image.shape[2] - 1)
    return image[:, rows[:, None], columns]


def wilson(same: int, images: int) -> tuple[float, float]:
    """95 % interval of a share.  Source: Wilson 1927, J. Am. Stat. Assoc. 22, 209-212."""
    p, z2_n = same / images, Z_95**2 / images
    reach = Z_95 * sqrt(p * (1 - p) / images + z2_n / (4 * images))
    return max(0.0, (p + z2_n / 2 - reach) / (1 + z2_n)), min(1.0, (p + z2_n / 2 + reach) / (1 + z2_n))


def _moved(images: Array, shift: int, ways: Array, move: Callable[[Array, int, int], Array]) -> Array:
    steps = ((shift, 0), (-shift, 0), (0, shift), (0, -shift))
    return np.stack([move(image, *steps[way]) for image, way in zip(images, ways, strict=True)])


def _agreement(protocol: str, shift: int, before: Array, after: Array) -> Agreement:
    same = int((before.argmax(axis=1) == after.argmax(axis=1)).sum())
    change = float(np.abs(_probabilities(before) - _probabilities(after)).max(axis=1).mean())
    return Agreement(protocol, shift, same, len(before), wilson(same, len(before)), change)


def _probabilities(logits: Array) -> Array:
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    result: Array = powers / powers.sum(axis=1, keepdims=True)
    return result


def _row(one: Agreement) -> tuple[str, ...]:
    low, high = one.interval_95
    interval = f"{100 * low:.1f} to {100 * high:.1f} %"
    return (one.protocol, str(one.shift_px), f"{100 * one.share:.1f} %", interval, f"{one.change:.3f}")
