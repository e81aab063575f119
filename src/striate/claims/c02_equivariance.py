"""Convolutions commute with translation, and with neither rotation nor scaling."""

from __future__ import annotations

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import ROUNDING, Maps, mosaic, network, rms, shift_error, tiny
from striate.geometry import Field
from striate.graph import reference
from striate.measure import views
from striate.ops import Array

NOTATION = "8C3-R-12C5-R"
SHIFTS = ((0, 1), (1, 0), (2, 3), (5, 4), (8, 7))


def measure(maps: Maps | None = None) -> Finding:
    """`maps` are the feature maps under test, by default those of a small network of random kernels."""
    net = network(NOTATION)
    maps = maps or (lambda x: reference.output(net, x))
    fields = [axis.field or Field() for axis in views(net)[net.output]]
    x = mosaic()
    errors = {f"shift {down}, {right} px": shift_error(maps, fields, x, down, right) for down, right in SHIFTS}
    worst_shift = max(errors.values())
    margin = fields[0].size // 2
    moved = {
        "rotation by 90°": (maps(turned(x)), turned(maps(x))),
        "mirror": (maps(x[..., ::-1]), maps(x)[..., ::-1]),
        "enlargement × 2": (maps(enlarged(x)), enlarged(maps(x))),
    }
    others = {name: _inner_error(after, before, margin) for name, (after, before) in moved.items()}
    least = min(others.values())
    names = ", ".join(f"{name} {error:.2f}" for name, error in others.items())
    return Finding(
        worst_shift <= ROUNDING and least > 0.1,
        f"largest error over {len(SHIFTS)} shifts {tiny(worst_shift)} of the maps' RMS; {names}",
        {"errors": {**errors, **others}, "image": x[0, 0], **_pictures(maps, x)},
    )


def turned(x: Array) -> Array:
    """Rotated by 90 degrees, counter-clockwise."""
    return np.rot90(x, axes=(-2, -1))


def enlarged(x: Array) -> Array:
    """Twice as large: every pixel becomes four."""
    return x.repeat(2, axis=-2).repeat(2, axis=-1)


def _inner_error(after: Array, before: Array, margin: int) -> float:
    inner = (..., slice(margin, -margin), slice(margin, -margin))
    return rms(after[inner] - before[inner]) / rms(before[inner])


def _pictures(maps: Maps, x: Array) -> dict[str, Array]:
    """The feature map for which turning before and after the network differ most."""
    after, before = maps(turned(x))[0], turned(maps(x))[0]
    most = int(np.abs(after - before).mean(axis=(1, 2)).argmax())
    return {"map of turned image": after[most], "turned map": before[most]}


CLAIM = Claim(
    number=2,
    title="Equivariant to translation, not to rotation or scale",
    statement="A stack of convolutions is equivariant to translation; it is not to rotation, and not to scale.",
    formula="f(shift x) = shift f(x)      f(rotate x) ≠ rotate f(x)      f(scale x) ≠ scale f(x)",
    method=f"`{NOTATION}` with random kernels in float64 reads a real image before and after it is moved, and its maps "
    "are moved in turn. Compared are interior outputs only: those whose receptive field, known exactly, holds no pixel "
    "from beyond the border. The same is done with a quarter turn, a mirror and an enlargement.",
    expected="shifts: rounding only (1e-12); rotation, mirror, scale: more than 0.1 of the maps' RMS",
    run=measure,
    caption="Left: error of each movement, as a share of the maps' RMS, on a logarithmic scale; shifts lie at "
    "rounding. Right: one feature map of the turned image, and the turned feature map of the image. They are not the "
    "same.",
)
