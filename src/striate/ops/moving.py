"""Layers that move values and compute nothing: slices, reshapes, permutations, shuffles.

Every output value is one input value, and no input value is read twice; so the gradient goes back the way the values
came, and the errors travel with them. Which inputs an output reads is found by moving numbered values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from striate.errors import ShapeError
from striate.geometry import AxisMap, Listed, Transposed, Whole, Window
from striate.ops.base import Array, Gradients, OnnxNode, Op, Shape, Weights, need_maps
from striate.ops.conv import divisors

Part = tuple[int | None, int | None, int]
"""start, stop and step of a slice on one axis, as in Python; the step is positive."""


class Move(Op):
    """What all of them share; a layer says how its values move in `forward`."""

    __slots__ = ()

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy goes back to where the values came from; zero where none was read."""
        (x,) = inputs
        dx = np.zeros_like(x)
        dx.reshape(len(x), -1)[:, self.sources(x.shape[1:]).reshape(-1)] = grad.reshape(len(x), -1)
        return (dx,), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """The errors, moved."""
        return self.forward(errors, weights)

    def sources(self, shape: Shape) -> Array:
        """For every output value the number of the input value that it is, counted row by row."""
        numbered: Array = np.arange(prod(shape)).reshape(1, *shape)
        moved: Array = self.forward([numbered], {})[0]
        return moved

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """Every axis whole where the number of axes changes; else, of each unit, where its values came from."""
        out = self.out_shape(shape)
        if len(out) != len(shape):
            return tuple(Whole() for _ in shape[1:])
        places = np.unravel_index(self.sources(shape), shape)
        return tuple(_listed(places[axis], axis) for axis in range(1, len(shape)))


def _listed(place: Array, axis: int) -> Listed:
    units = np.moveaxis(place, axis, 0).reshape(place.shape[axis], -1)
    return Listed(tuple(tuple(np.unique(unit).tolist()) for unit in units))


@dataclass(frozen=True, slots=True)
class Slice(Move):
    """A part of the maps: `parts` of the channels first, then of each spatial axis."""

    kind: ClassVar[str] = "slice"
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if any(step < 1 for _, _, step in self.parts):
            raise ShapeError("slice: a step below 1 is not possible; flip the maps instead")

    def out_shape(self, *inputs: Shape) -> Shape:
        """As many as each axis keeps."""
        (shape,) = inputs
        if len(shape) != len(self.parts):
            raise ShapeError(f"slice got shape {shape}, needs {len(self.parts)} axes; give one part for each axis")
        out = tuple(len(range(*part)) for part in self._indices(shape))
        if not all(out):
            raise ShapeError(f"slice {self.describe()} of {shape} is empty; take a part that is there")
        return out

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """Windows of one pixel: the step is their stride, what is left out before and after their negative padding."""
        spatial = zip(self._indices(shape)[1:], shape[1:], strict=True)
        return tuple(Window(1, step, 1, -start, stop - n) for (start, stop, step), n in spatial)

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """x[:, parts]."""
        (x,) = inputs
        part: Array = x[(slice(None), *(slice(*p) for p in self.parts))]
        return part

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """One Slice node."""
        starts, ends, steps = (list(column) for column in zip(*self._indices(shapes[0]), strict=True))
        axes = list(range(1, len(self.parts) + 1))
        names = tuple(f"{output}.{what}" for what in ("starts", "ends", "axes", "steps"))
        rows = (starts, ends, axes, steps)
        constants = [integers(name, row) for name, row in zip(names, rows, strict=True)]
        return [*constants, OnnxNode("Slice", (inputs[0], *names), (output,))]

    def describe(self) -> str:
        """`[8:16, :, ::2]`."""
        return f"[{', '.join(map(_spelled, self.parts))}]"

    def _indices(self, shape: Shape) -> list[tuple[int, int, int]]:
        return [slice(*part).indices(n) for part, n in zip(self.parts, shape, strict=True)]


def _spelled(part: Part) -> str:
    start, stop, step = part
    said = f"{start or ''}:{'' if stop is None else stop}"
    return said if step == 1 else f"{said}:{step}"


@dataclass(frozen=True, slots=True)
class Reshape(Move):
    """The same values, row by row, in another `shape` for each image; -1 stands for what is left."""

    kind: ClassVar[str] = "reshape"
    shape: Shape

    def out_shape(self, *inputs: Shape) -> Shape:
        """The shape, with -1 worked out."""
        (shape,) = inputs
        known, total = prod(n for n in self.shape if n != -1), prod(shape)
        open_axes = self.shape.count(-1)
        fits = total == known if not open_axes else open_axes == 1 and known > 0 and total % known == 0
        if not fits or any(n < 1 and n != -1 for n in self.shape):
            raise ShapeError(
                f"reshape of {shape} to {self.shape} does not fit its {total} values; "
                "make the product of the sizes equal"
            )
        return tuple(total // known if n == -1 else n for n in self.shape)

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """Reshape."""
        return inputs[0].reshape(len(inputs[0]), *self.shape)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """One Reshape node, which copies the batch size."""
        return reshaped(inputs[0], output, self.out_shape(shapes[0]), f"{output}.shape")

    def describe(self) -> str:
        """The shape."""
        return "to " + "x".join(map(str, self.shape))


@dataclass(frozen=True, slots=True)
class Permute(Move):
    """The axes of an image in another order: axis i of the result is axis order[i] of the input, channels being 0."""

    kind: ClassVar[str] = "permute"
    order: tuple[int, ...]

    def __post_init__(self) -> None:
        if sorted(self.order) != list(range(len(self.order))):
            raise ShapeError(f"permute: {self.order} is no order of axes; name each of 0 to n - 1 once")

    def out_shape(self, *inputs: Shape) -> Shape:
        """The sizes in the new order."""
        (shape,) = inputs
        if len(shape) != len(self.order):
            raise ShapeError(f"permute got shape {shape}, needs {len(self.order)} axes; give an order of all axes")
        return tuple(shape[axis] for axis in self.order)

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """Transpose."""
        return inputs[0].transpose(0, *(axis + 1 for axis in self.order))

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """Transpose."""
        return [OnnxNode("Transpose", (inputs[0],), (output,), {"perm": [0, *(axis + 1 for axis in self.order)]})]

    def describe(self) -> str:
        """The order, channels being 0."""
        return " ".join(map(str, self.order))


class _Rearranged(Move):
    """A split of axes, a new order, and a merge: (split, order, merged) of an input shape."""

    __slots__ = ()

    def steps(self, shape: Shape) -> tuple[Shape, tuple[int, ...], Shape]:
        """The three steps for an input of `shape`, without the batch."""
        raise NotImplementedError

    def out_shape(self, *inputs: Shape) -> Shape:
        """The merged shape."""
        return self.steps(inputs[0])[2]

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """Reshape, transpose, reshape."""
        (x,) = inputs
        split, order, merged = self.steps(x.shape[1:])
        return x.reshape(len(x), *split).transpose(0, *(axis + 1 for axis in order)).reshape(len(x), *merged)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """Reshape, Transpose, Reshape."""
        split, order, merged = self.steps(shapes[0])
        apart, turned = f"{output}.split", f"{output}.turned"
        return [
            *reshaped(inputs[0], apart, split, f"{output}.parts"),
            OnnxNode("Transpose", (apart,), (turned,), {"perm": [0, *(axis + 1 for axis in order)]}),
            *reshaped(turned, output, merged, f"{output}.shape"),
        ]


@dataclass(frozen=True, slots=True)
class ChannelShuffle(_Rearranged):
    """Channels in `groups` rows, read column by column: each group after it has channels of every group before.

    Source: Zhang et al. 2017, ShuffleNet, arXiv:1707.01083.
    """

    kind: ClassVar[str] = "channel_shuffle"
    groups: int

    def steps(self, shape: Shape) -> tuple[Shape, tuple[int, ...], Shape]:
        """(g, C / g, ...) -> (C / g, g, ...) -> (C, ...).  Raises: ShapeError."""
        if self.groups < 1 or shape[0] % self.groups:
            raise ShapeError(
                f"{self.kind}: groups={self.groups} does not divide {shape[0]} channels; "
                f"use one of {divisors(shape[0])}"
            )
        split = (self.groups, shape[0] // self.groups, *shape[1:])
        return split, (1, 0, *range(2, len(split))), shape

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """Positions stay."""
        return Op.axis_maps(self, shape)

    def describe(self) -> str:
        """The number of groups."""
        return f"g{self.groups}"


@dataclass(frozen=True, slots=True)
class PixelShuffle(_Rearranged):
    """Channels to pixels, (C r^2, H, W) -> (C, H r, W r): channel c r^2 + r i + j is pixel (i, j) of each block.

    Source: Shi et al. 2016, sub-pixel convolution, arXiv:1609.05158.
    """

    kind: ClassVar[str] = "pixel_shuffle"
    factor: int

    def steps(self, shape: Shape) -> tuple[Shape, tuple[int, ...], Shape]:
        """(C, r, r, H, W) -> (C, H, r, W, r) -> (C, H r, W r).  Raises: ShapeError."""
        need_maps(self.kind, shape, None, 2)
        r = _factor(self.kind, self.factor, shape[:1], self.factor**2)
        channels, h, w = shape[0] // r**2, *shape[1:]
        return (channels, r, r, h, w), (0, 3, 1, 4, 2), (channels, h * r, w * r)

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """Each pixel fills a block of r px: a transposed window of kernel and stride r."""
        return tuple(Transposed(self.factor, self.factor) for _ in shape[1:])

    def describe(self) -> str:
        """The factor."""
        return str(self.factor)


@dataclass(frozen=True, slots=True)
class PixelUnshuffle(_Rearranged):
    """Pixels to channels, (C, H r, W r) -> (C r^2, H, W): the inverse of `PixelShuffle`, space to depth."""

    kind: ClassVar[str] = "pixel_unshuffle"
    factor: int

    def steps(self, shape: Shape) -> tuple[Shape, tuple[int, ...], Shape]:
        """(C, H, r, W, r) -> (C, r, r, H, W) -> (C r^2, H, W).  Raises: ShapeError."""
        need_maps(self.kind, shape, None, 2)
        r = _factor(self.kind, self.factor, shape[1:], self.factor)
        channels, h, w = shape[0], shape[1] // r, shape[2] // r
        return (channels, h, r, w, r), (0, 2, 4, 1, 3), (channels * r**2, h, w)

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """Each unit reads a block of r px."""
        return tuple(Window(self.factor, self.factor) for _ in shape[1:])

    def describe(self) -> str:
        """The factor."""
        return str(self.factor)


def _factor(kind: str, factor: int, sizes: Sequence[int], divisor: int) -> int:
    if factor < 1 or any(n % divisor for n in sizes):
        raise ShapeError(
            f"{kind}: factor {factor} does not fit sizes {tuple(sizes)}; they must be multiples of {divisor}"
        )
    return factor


def integers(name: str, values: Sequence[int]) -> OnnxNode:
    """An ONNX node whose one output holds `values`."""
    return OnnxNode("Constant", (), (name,), {"value_ints": list(values)})


def reshaped(source: str, target: str, shape: Shape, constant: str) -> list[OnnxNode]:
    """ONNX nodes that give every image of `source` the `shape`; the 0 copies the batch size."""
    return [integers(constant, [0, *shape]), OnnxNode("Reshape", (source, constant), (target,))]
