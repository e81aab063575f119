"""ONNX arithmetic as layers: sums, products and quotients of maps, with constants and with each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from striate.graph.moves import order_of
from striate.graph.onnx.reading import Reading
from striate.ops import Add, Affine, Array, Concat, Div, Mul, Op, Power, Scale, Shape, Shift, Sub


def _spelled(r: Reading, node: onnx.NodeProto, position: int) -> Array | None:
    """A constant operand, its axes put where they belong: operators before opset 7 say from which axis on."""
    value = r.constant(node, position)
    if value is None or r.opset >= 7 or not r.attribute(node, "broadcast", 0):
        return value
    axis, rank = r.attribute(node, "axis", -1), len(r.shape(node)) + 1
    return value if axis < 0 else value.reshape(*value.shape, *(1,) * (rank - axis % rank - value.ndim))


def operands(r: Reading, node: onnx.NodeProto) -> tuple[int, Array] | None:
    """Where the computed operand of two stands, and the other's value; None where both are computed."""
    first, second = (_spelled(r, node, i) for i in (0, 1))
    return (1, first) if first is not None else (0, second) if second is not None else None


def is_number(r: Reading, node: onnx.NodeProto, position: int) -> bool:
    """Whether a constant is a plain number: without axes, or one value that the file does not keep as a weight."""
    value = r.constant(node, position)
    return value is not None and value.size == 1 and (value.ndim == 0 or node.input[position] not in r.stored)


def both(r: Reading, node: onnx.NodeProto, op: Op) -> None:
    """A layer on tensors that stand alike, or on all of them settled."""
    count = len(node.input)
    values = [r.value(node, i) for i in range(count)]
    first = values[0]
    alike = all(v.moves == first.moves and v.shape == first.shape and not v.before for v in values)
    if alike and first.moves and order_of(first.moves, first.shape_before):
        r.emit(node, op, [v.layer for v in values], moves=first.moves)
    else:
        r.emit(node, op, [r.layer(node, i) for i in range(count)])


def add(r: Reading, node: onnx.NodeProto) -> None:
    """A sum of branches; with a constant, a shift."""
    found = operands(r, node) if len(node.input) == 2 else None
    if found is not None:
        by_constant(r, node, found[0], found[1], "shift")
    elif len(node.input) == 1:
        r.give(node, r.value(node))
    else:
        both(r, node, Add())


def multiply(r: Reading, node: onnx.NodeProto) -> None:
    """A product of maps, such as with a gate; with a constant, a factor. A factor and a shift by our writer are one."""
    found = operands(r, node)
    if found is None:
        both(r, node, Mul())
        return
    after = r.sole_reader(node, "Add")
    if after is not None and r.is_part(node) and is_number(r, after, 1):
        r.absorb([after.output[0]])
        op = Affine(_plain(found[1]), _plain(r.demand(after, 1, "summand")))
        layer, _, moves = r.bare(node)
        r.emit(after, op, [layer], moves=moves)
        return
    by_constant(r, node, found[0], found[1], "scale")


def subtract(r: Reading, node: onnx.NodeProto) -> None:
    """A difference; x minus a constant is a shift, a constant minus x a factor of -1 and a shift."""
    found = operands(r, node)
    if found is None:
        both(r, node, Sub())
        return
    position, value = found
    if position == 0:
        by_constant(r, node, 0, -value, "shift")
        return
    layer, _, moves = r.bare(node, 1)
    if is_number(r, node, 0):
        r.emit(node, Affine(-1.0, _plain(value)), [layer], moves=moves)
        return
    turned = r.emit(node, Affine(-1.0, 0.0), [layer], inner="turned")
    _constant_layer(r, node, turned, moves, value, "shift", 0)


def divide(r: Reading, node: onnx.NodeProto) -> None:
    """A quotient; by a constant, a factor."""
    found = operands(r, node)
    if found is None:
        both(r, node, Div())
    elif found[0] == 0:
        by_constant(r, node, 0, (1 / found[1].astype(np.float64)).astype(found[1].dtype), "scale")
    else:
        raise r.refusal(node, "divides a constant by maps, for which striate has no layer")


def negate(r: Reading, node: onnx.NodeProto) -> None:
    """-x."""
    layer, _, moves = r.bare(node)
    r.emit(node, Affine(-1.0, 0.0), [layer], moves=moves)


def power(r: Reading, node: onnx.NodeProto) -> None:
    """x^p for a plain number p; the square, as a product."""
    exponent = r.demand(node, 1, "exponent")
    if exponent.size != 1:
        raise r.refusal(node, f"raises each value to a power of its own, {exponent.shape}; striate knows one number")
    _raised(r, node, _plain(exponent))


def fixed_power(exponent: float) -> Callable[[Reading, onnx.NodeProto], None]:
    """A reader of an operator that is a power: a square root, a reciprocal."""
    return lambda r, node: _raised(r, node, exponent)


def _raised(r: Reading, node: onnx.NodeProto, exponent: float) -> None:
    layer, _, moves = r.bare(node)
    if exponent == 2:
        r.emit(node, Mul(), [layer, layer], moves=moves)
    else:
        r.emit(node, Power(exponent), [layer], moves=moves)


def by_constant(r: Reading, node: onnx.NodeProto, position: int, value: Array, kind: str) -> None:
    """The input at `position` times a constant, or plus it; nothing where that is 1, or 0."""
    if is_number(r, node, 1 - position) and _plain(value) == (kind == "scale"):
        r.give(node, r.value(node, position))
        return
    layer, _, moves = r.bare(node, position)
    _constant_layer(r, node, layer, moves, value, kind, 1 - position)


def _constant_layer(
    r: Reading, node: onnx.NodeProto, layer: str, moves: tuple[Op, ...], value: Array, kind: str, at: int
) -> None:
    """The layer: a number is part of it, anything else a weight with its axes put where those of the maps stand."""
    if is_number(r, node, at):
        number = _plain(value)
        op = Affine(number, 0.0) if kind == "scale" else Affine(1.0, number)
        r.emit(node, op, [layer], moves=moves)
        return
    shape = r.shape_of(layer)
    order = order_of(moves, shape) or ()
    sizes = (*(1,) * (len(shape) + 1 - value.ndim), *value.shape)
    placed = tuple(sizes[1 + order.index(axis)] for axis in range(len(shape))) if len(sizes) == len(shape) + 1 else ()
    if not placed or sizes[0] != 1 or any(m not in (1, n) for m, n in zip(placed, shape, strict=True)):
        raise r.refusal(
            node, f"a constant of shape {value.shape} on {shape}; supported is 1 or the size of the maps on each axis"
        )
    weight = np.transpose(value.reshape(sizes[1:]), tuple(order.index(axis) for axis in range(len(shape))))
    make: Callable[[Shape], Op] = Scale if kind == "scale" else Shift
    role = "weight" if kind == "scale" else "bias"
    r.emit(node, make(placed), [layer], {role: (r.weight_name(node.input[at]), weight)}, moves=moves)


def _plain(value: Array) -> float:
    """The shortest decimal of a float32, so that 0.1 stays 0.1."""
    one = value.reshape(-1)[0]
    return float(str(one)) if value.dtype == np.float32 else float(one)


def concat(r: Reading, node: onnx.NodeProto) -> None:
    """Concatenation over channels, or over another axis, which is then put where channels stand."""
    values = [r.moved(node, i) for i in range(len(node.input))]
    axis = r.attribute(node, "axis", 1) % (len(values[0].shape) + 1)
    if len(values) == 1:
        r.give(node, values[0])
        return
    if axis == 0:
        raise r.refusal(node, "puts images of a batch together; striate describes one image, whichever it is")
    moved = [r.in_front(value, axis - 1, node.output[0]) for value in values]
    r.emit(node, Concat(), [layer for layer, _ in moved], moves=moved[0][1])
