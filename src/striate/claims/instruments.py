"""What the experiments share: real images, small networks in float64, and ways to compare two arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from striate.data.fashion import CLASSES
from striate.data.sample import read_sample
from striate.geometry import Field, Window
from striate.graph import Network, initialise
from striate.notation import read
from striate.ops import Array, Conv

SIDE_PX = 28
SHAPE = (1, SIDE_PX, SIDE_PX)
ROUNDING = 1e-12
"""What two float64 evaluations of one function may differ by, relative to the largest value: 4,500 roundoffs."""

Maps = Callable[[Array], Array]
"""From images (N, C, H, W) to feature maps (N, O, Ho, Wo)."""


def images(count: int, part: str = "test") -> Array:
    """The first `count` sample images, the classes in turn, 0 to 1 in float64.  Shape (N, 1, 28, 28)."""
    return labelled(count, part)[0]


def labelled(count: int, part: str = "test") -> tuple[Array, Array]:
    """`images` with their labels (N,), int64."""
    raw = read_sample().parts[part]
    labels = np.array([CLASSES.index(name) for name in raw.class_names], np.int64)
    turn = np.zeros(len(labels), np.int64)  # 0 for the first image of a class, 1 for the second ...
    for k in range(len(CLASSES)):
        turn[labels == k] = np.arange((labels == k).sum())
    order = np.lexsort((labels, turn))[:count]
    return np.asarray(raw.pixels)[order].astype(np.float64) / 255, labels[order]


def stacked(count: int, channels: int) -> Array:
    """Real images with many channels: each channel is another sample image.  Shape (N, C, 28, 28)."""
    return images(count * channels).reshape(count, channels, SIDE_PX, SIDE_PX)


def mosaic() -> Array:
    """One image of 56 x 56 px made of four sample images: room for interior outputs.  Shape (1, 1, 56, 56)."""
    boot, bag, sneaker, sandal = images(10)[[9, 8, 7, 5], 0]
    return np.block([[boot, bag], [sneaker, sandal]])[None, None]


def network(notation: str, shape: Sequence[int] = SHAPE, seed: int = 0) -> Network:
    """A network in float64 with starting weights from `seed`; biases too are random, so that they can matter."""
    start = initialise(read(notation, tuple(shape)), seed).astype(np.float64)
    rng = np.random.default_rng([seed, 1])
    biases = {
        name: rng.normal(0, 0.1, spec.shape) for name, spec in start.weight_specs().items() if spec.role == "bias"
    }
    return start.with_weights({**start.weights, **biases})


def convolve(x: Array, weight: Array, bias: Array, windows: Sequence[Window]) -> Array:
    """The convolution layer's output for images (N, C, H, W), kernels (O, C, Kh, Kw) and biases (O,)."""
    op = Conv(x.shape[1], len(weight), tuple(windows))
    return op.forward([x], {"weight": weight, "bias": bias})


def relative(got: Array, want: Array) -> float:
    """Largest difference as a share of the largest value wanted."""
    return float(np.abs(got - want).max() / np.abs(want).max())


def rms(values: Array) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def tiny(value: float) -> str:
    """`3.1e-16`, and `0` where it is exactly that."""
    return f"{value:.1e}" if value else "0"


def shifted(x: Array, down: int, right: int) -> Array:
    """Images moved by whole pixels; zeros come in.  Shifts are not negative."""
    moved = np.zeros_like(x)
    moved[..., down:, right:] = x[..., : x.shape[-2] - down, : x.shape[-1] - right]
    return moved


def interior(field: Field, image: int, units: int, shift: int) -> tuple[slice, slice]:
    """Units of f(shifted x), and units of f(x), that must agree along one axis: their fields hold moved pixels only.

    Unit i after the shift is compared with unit i - round(shift / jump) before it.
    """
    steps = (2 * shift + field.jump) // (2 * field.jump)
    fits = [
        i
        for i in range(steps, units)
        if field.start + i * field.jump >= shift
        and field.start + i * field.jump + field.size <= image
        and field.start + (i - steps) * field.jump >= 0
    ]
    return slice(fits[0], fits[-1] + 1), slice(fits[0] - steps, fits[-1] + 1 - steps)


def shift_error(maps: Maps, fields: Sequence[Field], x: Array, down: int, right: int) -> float:
    """RMS of f(shift x) - shift f(x) over the interior outputs, as a share of the RMS of f(x) there."""
    before, after = maps(x), maps(shifted(x, down, right))
    axes = zip(fields, x.shape[2:], before.shape[2:], (down, right), strict=True)
    (rows, rows_was), (columns, columns_was) = (interior(*axis) for axis in axes)
    was = before[..., rows_was, columns_was]
    return rms(after[..., rows, columns] - was) / rms(was)
