"""ONNX activations as layers, also where several nodes spell one.

What a group of elementwise nodes is, is found by computing it: GELU is spelled in many ways, but its values are GELU's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from math import erf, isclose
from types import MappingProxyType

import numpy as np
import onnx

from striate.graph.moves import Moves
from striate.graph.onnx.arithmetic import is_number
from striate.graph.onnx.reading import Reading
from striate.ops import CURVES, Activation, Array, PReLU, Shape
from striate.ops.curves import SELU

LARGEST_GROUP = 16  # nodes; GELU's approximation takes 10
LARGEST_FLOAT32 = 3.4028234663852886e38
SAMPLES = np.concatenate([np.linspace(-8.03, 7.97, 129), [-300.5, -31.5, -12.25, 12.75, 33.5, 290.25]])
CLOSE = 1e-6  # relative: the constants in the file are float32
Function = Callable[..., Array]


def _erf(x: Array) -> Array:
    return np.asarray(np.frompyfunc(erf, 1, 1)(x), np.float64)


def _plain(function: Function) -> Function:
    """A function without attributes."""
    return lambda _, *inputs: np.asarray(function(*inputs))


def _elu(x: Array, alpha: float, scale: float = 1.0, inner: float = 1.0) -> Array:
    return np.where(x > 0, scale * x, scale * alpha * np.expm1(np.minimum(x, 0) / inner))


ELEMENTWISE: Mapping[str, Function] = MappingProxyType(
    {
        "Abs": _plain(np.abs),
        "Add": _plain(np.add),
        "Celu": lambda a, x: _elu(x, a("alpha", 1.0), inner=a("alpha", 1.0)),
        "Clip": lambda a, x, low=-np.inf, high=np.inf: np.clip(x, a("min", low), a("max", high)),
        "Div": _plain(np.divide),
        "Elu": lambda a, x: _elu(x, a("alpha", 1.0)),
        "Erf": _plain(_erf),
        "Exp": _plain(np.exp),
        "Greater": _plain(np.greater),
        "HardSigmoid": lambda a, x: np.clip(a("alpha", 0.2) * x + a("beta", 0.5), 0, 1),
        "HardSwish": _plain(CURVES["hard_swish"].value),
        "Less": _plain(np.less),
        "Log": _plain(np.log),
        "Mish": _plain(CURVES["mish"].value),
        "Mul": _plain(np.multiply),
        "Neg": _plain(np.negative),
        "Pow": _plain(np.power),
        "Reciprocal": _plain(np.reciprocal),
        "Relu": _plain(CURVES["relu"].value),
        "Selu": lambda a, x: _elu(x, a("alpha", SELU[1]), scale=a("gamma", SELU[0])),
        "Sigmoid": _plain(CURVES["sigmoid"].value),
        "Softplus": _plain(CURVES["softplus"].value),
        "Softsign": _plain(CURVES["softsign"].value),
        "Sqrt": _plain(np.sqrt),
        "Sub": _plain(np.subtract),
        "Swish": lambda a, x: x * CURVES["sigmoid"].value(a("alpha", 1.0) * x),
        "Tanh": _plain(CURVES["tanh"].value),
        "Where": _plain(np.where),
    }
)
"""op_type -> what a node of it computes, each value on its own; the first argument answers with its attributes."""

NO_LAYERS = ("Celu", "Erf", "Exp", "Greater", "Less", "Log", "Selu", "Swish", "Where")
"""Those of them that are no layers on their own, only in a group."""


def spelled_curve(r: Reading, node: onnx.NodeProto) -> bool:
    """Read `node` and what follows as one activation, if they compute one of the `CURVES`.

    The group has one input and one result, seen by nobody else inside. No part of it that everything passes through is
    an activation itself: a ReLU after a ReLU stays two layers.
    """
    if node.op_type not in ELEMENTWISE:
        return False
    starts = {name for i, name in enumerate(node.input) if r.is_value(node, i)}
    if len(starts) != 1:
        return False
    start = starts.pop()
    group = _group(r, start)
    curve, last, inside = None, "", set[str]()
    for tensor in group:
        parts = _made_of(r, tensor, group)
        if node.output[0] not in parts or not _is_closed(r, tensor, parts):
            continue
        found = _same_curve(group[tensor])
        if found is not None and (curve is None or _is_one(r, parts - inside, {start, *inside} - {last})):
            curve, last, inside = found, tensor, parts
    if curve is None:
        return False
    layer, _, moves = r.bare(node, list(node.input).index(start))
    r.absorb(inside)
    r.emit(r.writer(last), Activation(curve), [layer], moves=moves)
    return True


def _group(r: Reading, start: str) -> dict[str, Array]:
    """The tensors that elementwise nodes make of `start` and numbers alone, with their values for the samples."""
    known: dict[str, Array] = {start: SAMPLES}
    waiting = [*r.readers(start)]
    while waiting and len(known) <= LARGEST_GROUP:
        node = waiting.pop(0)
        tensor = node.output[0] if node.output else ""
        ready = all(name in known or not name or is_number(r, node, i) for i, name in enumerate(node.input))
        fits = node.op_type in ELEMENTWISE and node.domain in ("", "ai.onnx") and not r.is_done(node)
        if ready and fits and tensor not in known:
            known[tensor] = _computed(r, node, known)
            waiting += r.readers(tensor)
    del known[start]
    return known


def _made_of(r: Reading, tensor: str, group: Mapping[str, Array]) -> set[str]:
    """The tensors of `group` that `tensor` depends on, and itself."""
    found, waiting = {tensor}, [tensor]
    while waiting:
        inputs = {name for name in r.writer(waiting.pop()).input if name in group} - found
        found |= inputs
        waiting += inputs
    return found


def _computed(r: Reading, node: onnx.NodeProto, known: Mapping[str, Array]) -> Array:
    values = []
    for i, name in enumerate(node.input):
        constant = r.constant(node, i)
        if name:
            values.append(known[name] if constant is None else constant.astype(np.float64).reshape(()))
        else:
            values.append(np.asarray(-np.inf if i == 1 else np.inf))  # a bound of Clip that is left out
    try:
        with np.errstate(all="ignore"):
            return np.asarray(ELEMENTWISE[node.op_type](partial(_number, node), *values))
    except (TypeError, ValueError):  # more or fewer inputs than the operator has
        return np.full_like(SAMPLES, np.nan)


def _is_one(r: Reading, tensors: set[str], hidden: set[str]) -> bool:
    """Whether `tensors` belong to what stands before them: made of what is `hidden` there, or no layers alone."""
    nodes = [r.writer(tensor) for tensor in tensors]
    return any(node.op_type in NO_LAYERS or not hidden.isdisjoint(node.input) for node in nodes)


def _is_closed(r: Reading, last: str, tensors: set[str]) -> bool:
    """Whether nobody outside sees any of `tensors` but the last."""
    inner = tensors - {last}
    return not any(
        r.is_result(tensor) or any(node.output[0] not in tensors for node in r.readers(tensor)) for tensor in inner
    )


def _number(node: onnx.NodeProto, name: str, default: float) -> float:
    return next((float(one.f) for one in node.attribute if one.name == name), default)


@cache
def _table() -> tuple[tuple[str, Array], ...]:
    with np.errstate(all="ignore"):
        return tuple((name, np.asarray(curve.value(SAMPLES))) for name, curve in CURVES.items())


def _same_curve(values: Array) -> str | None:
    """The curve, with its usual parameters, that has these values at the samples."""
    if values.shape != SAMPLES.shape or not np.isfinite(values.astype(np.float64)).all():
        return None
    for name, own in _table():
        if bool((np.abs(values - own) <= CLOSE * (1 + np.abs(own))).all()):
            return name
    return None


def with_parameters(curve: str, **attributes: float) -> Callable[[Reading, onnx.NodeProto], None]:
    """A reader of an activation whose parameters are attributes, given with ONNX's own defaults."""

    def read(r: Reading, node: onnx.NodeProto) -> None:
        usual = CURVES[curve].parameters.values()
        found = [decimal(r.attribute(node, name, default)) for name, default in attributes.items()]
        near = all(isclose(a, b, rel_tol=CLOSE) for a, b in zip(found, usual, strict=True))
        layer, _, moves = r.bare(node)
        r.emit(node, Activation(curve, () if near else tuple(found)), [layer], moves=moves)

    return read


def clip(r: Reading, node: onnx.NodeProto) -> None:
    """Cut at two numbers, or at one."""
    low, high = (
        float(r.demand(node, i, name).reshape(()))
        if i < len(node.input) and node.input[i]
        else r.attribute(node, name, d)
        for i, name, d in ((1, "min", -LARGEST_FLOAT32), (2, "max", LARGEST_FLOAT32))
    )
    _cut(r, node, r.bare(node), low, high)


def maximum(r: Reading, node: onnx.NodeProto) -> None:
    """The larger of each value and a number; with the smaller of that and another behind it, a cut at both."""
    value, position = _beside_number(r, node)
    after = r.sole_reader(node, "Min")
    high = LARGEST_FLOAT32
    if after is not None and len(after.input) == 2 and is_number(r, after, 1):
        r.absorb([after.output[0]])
        high = float(r.demand(after, 1, "bound").item())
    _cut(r, node if after is None or high == LARGEST_FLOAT32 else after, r.bare(node, position), value, high)


def minimum(r: Reading, node: onnx.NodeProto) -> None:
    """The smaller of each value and a number."""
    value, position = _beside_number(r, node)
    _cut(r, node, r.bare(node, position), -LARGEST_FLOAT32, value)


def _beside_number(r: Reading, node: onnx.NodeProto) -> tuple[float, int]:
    """The constant of two operands, and where the other stands."""
    for position in (0, 1):
        if len(node.input) == 2 and is_number(r, node, 1 - position):
            return float(r.demand(node, 1 - position, "bound").item()), position
    raise r.refusal(node, "compares maps with each other; striate knows maps and a number")


def _cut(r: Reading, node: onnx.NodeProto, start: tuple[str, Shape, Moves], low: float, high: float) -> None:
    layer, _, moves = start
    curve = {(0.0, 6.0): "relu6", (0.0, LARGEST_FLOAT32): "relu", (0.0, np.inf): "relu"}.get((low, high))
    op = Activation(curve) if curve else Activation("hard_tanh", (decimal(low), decimal(high)))
    r.emit(node, op, [layer], moves=moves)


def gelu(r: Reading, node: onnx.NodeProto) -> None:
    """GELU, exact or approximated."""
    layer, _, moves = r.bare(node)
    exact = r.attribute(node, "approximate", "none") == "none"
    r.emit(node, Activation("gelu" if exact else "gelu_tanh"), [layer], moves=moves)


def prelu(r: Reading, node: onnx.NodeProto) -> None:
    """A learnt slope below zero, one a channel or one for all."""
    slopes, channels = r.demand(node, 1, "slope"), r.shape(node)[0]
    rank = len(r.shape(node)) + 1
    sizes = (*(1,) * (rank - slopes.ndim), *slopes.shape)
    if len(sizes) != rank or slopes.size not in (1, channels) or sizes[1] != slopes.size:
        raise r.refusal(node, f"slopes of shape {slopes.shape}; striate knows one a channel, or one")
    weights = {"weight": (r.weight_name(node.input[1]), slopes.reshape(-1))}
    r.emit(node, PReLU(int(slopes.size)), [r.layer(node)], weights)


def decimal(value: float) -> float:
    """The shortest decimal that the file's float32 stands for: 1e-5, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))
