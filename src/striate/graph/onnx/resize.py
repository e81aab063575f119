"""ONNX's resizing as a layer, where it reads what torch's reads, however it is spelled."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import onnx

from striate.geometry import Resized
from striate.graph.onnx.reading import Reading, check_size
from striate.ops import Resize, Shape


def resize(r: Reading, node: onnx.NodeProto) -> None:
    """Resizing by whole factors or to a size."""
    shape = r.shape(node)
    sizes, factors = _resized_to(r, node, shape)
    mode, is_old = r.attribute(node, "mode", "nearest"), node.op_type == "Upsample" or r.opset < 11
    grid = "asymmetric" if is_old else r.attribute(node, "coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if is_old else r.attribute(node, "nearest_mode", "round_prefer_floor")
    known = mode in ("nearest", "linear", "bilinear", "trilinear") and not r.attribute(node, "antialias", 0)
    if not known or sizes[0] != shape[0]:
        raise r.refusal(node, f"mode={mode!r} to {sizes}; striate resizes positions by the nearest pixel or linearly")
    check_size(sizes)
    op = Resize(() if factors else sizes[1:], factors, mode != "nearest", grid == "align_corners" and mode != "nearest")
    for axis, n in zip(op.axes(shape), shape[1:], strict=True):
        if not _is_same(axis, n, grid, rounding):
            how = f"{mode} with {grid}, {rounding}"
            raise r.refusal(node, f"{how} from {n} px to {axis.out} is another resizing than torch's")
    r.emit(node, op, [r.layer(node)])


def _is_same(axis: Resized, size: int, grid: str, rounding: str) -> bool:
    """Whether every output lies where ONNX puts it."""
    for i in range(axis.out):
        at = _place(i, size, axis.out, grid)
        if at is None:
            return False
        if not axis.linear:
            at = Fraction(_rounded(at, rounding))
        pixel, above, below = axis.place(i, size)
        if min(max(at, Fraction(0)), Fraction(size - 1)) != pixel + Fraction(above, below):
            return False
    return True


def _resized_to(r: Reading, node: onnx.NodeProto, shape: Shape) -> tuple[Shape, Shape]:
    """The size of the result, and the factors of its positions where they are stated and whole."""
    axes = [int(a) % (len(shape) + 1) for a in r.attribute(node, "axes", [])] or list(range(len(shape) + 1))
    sizes = r.constant(node, 3)
    scales = r.constant(node, 1 if node.op_type == "Upsample" or r.opset < 11 else 2)
    stated = scales.reshape(-1).tolist() if scales is not None else r.attribute(node, "scales", [])
    full = [1, *shape]
    if sizes is not None and sizes.size:
        if r.attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
            raise r.refusal(node, "keeps the aspect ratio; give the size itself")
        for axis, n in zip(axes, sizes.reshape(-1).tolist(), strict=True):
            full[axis] = n if axis else 1
        return tuple(int(n) for n in full[1:]), ()
    if not stated:
        raise r.refusal(node, "its sizes or scales are computed or missing; export them as constants")
    factors = [Fraction(1)] * len(full)
    for axis, factor in zip(axes, stated, strict=True):
        factors[axis] = Fraction(factor).limit_denominator(2**20)
    exact = [f * n for f, n in zip(factors, full, strict=True)]
    if factors[0] != 1 or any(n.denominator != 1 or n < 1 for n in exact):
        raise r.refusal(node, f"scales={stated} of {shape} are fractions of a pixel; export it with sizes")
    whole = all(f.denominator == 1 for f in factors[2:])
    return tuple(int(n) for n in exact[1:]), tuple(int(f) for f in factors[2:]) if whole else ()


def _place(index: int, size: int, out: int, grid: str) -> Fraction | None:
    """Where output `index` lies among `size` pixels, as ONNX's coordinate transformations say; None for others."""
    match grid:
        case "half_pixel":
            return Fraction((2 * index + 1) * size, 2 * out) - Fraction(1, 2)
        case "pytorch_half_pixel":
            return Fraction((2 * index + 1) * size, 2 * out) - Fraction(1, 2) if out > 1 else Fraction(0)
        case "align_corners":
            return Fraction(index * (size - 1), out - 1) if out > 1 else Fraction(0)
        case "asymmetric":
            return Fraction(index * size, out)
        case _:
            return None


def _rounded(at: Fraction, rounding: str) -> int:
    """A whole pixel from a place, by ONNX's nearest_mode."""
    half = Fraction(1, 2)
    match rounding:
        case "floor":
            return floor(at)
        case "ceil":
            return ceil(at)
        case "round_prefer_ceil":
            return floor(at + half)
        case _:
            return ceil(at - half)
