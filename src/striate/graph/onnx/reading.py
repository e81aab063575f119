"""What is known halfway through an ONNX graph: the layers so far, the constants, and who reads what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper

from striate.errors import CaptureError, NetworkError, ShapeError
from striate.graph.build import Builder
from striate.graph.moves import Moves, order_of, plain, shape_of, then
from striate.graph.network import INPUT, Network, fresh
from striate.ops import Array, Op, Pad, Permute, Reshape, Shape, Unknown

BATCH = -(2**40)  # stands for the free batch size in shape arithmetic; no size of a tensor is negative
LONGEST_LAYER = 16  # nodes that our writer makes of one layer, at most
ASK_SHAPES = ("Shape", "Size")  # operators that need only the shape of what they read
MAX_SIDE = 2**15  # px of feature maps on one axis: index maps are made of every one
MAX_CHANNELS = 2**20
MAX_VALUES = 2**31  # of one tensor, for one image
MAX_MOVED = 2**26  # of one that is sliced or permuted: where each value goes is written down


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the file: the result of `layer`, of `shape_before` for one image, and what waits to become layers.

    moves: slices, reshapes, permutations on the way to this tensor; two that cancel become nothing
    before, after: padding by `fill` on each axis of the moved tensor, channels first, that a window after it may take
    """

    layer: str
    shape_before: Shape
    moves: Moves = ()
    before: Shape = ()
    after: Shape = ()
    fill: float = 0.0

    @property
    def shape(self) -> Shape:
        """Its shape for one image."""
        inner = shape_of(self.moves, self.shape_before)
        if not self.before:
            return inner
        return tuple(lo + n + hi for lo, n, hi in zip(self.before, inner, self.after, strict=True))

    def after_move(self, op: Op) -> Value:
        """It after one more move.  Raises: ShapeError."""
        return replace(self, moves=then(self.moves, self.shape_before, op))


class Reading:
    """A half-read graph. Readers of nodes ask it for attributes, constants and shapes, and add layers to it.

    opset: version of the operators
    batch: the batch size that the file states, or BATCH
    constants: values of tensors that do not depend on the image, by tensor name
    origin: for a constant that is a weight reshaped or transposed, the weight's name
    stored: the constants that the file keeps as weights
    lists: lists of tensors, by name
    is_ours: whether our own writer made the file, whose nodes are called after the layer that ends with them
    """

    def __init__(
        self,
        graph: onnx.GraphProto,
        opset: int,
        constants: dict[str, Array],
        entry: onnx.ValueInfoProto,
        shape: Shape,
        *,
        is_ours: bool = False,
    ) -> None:
        self.opset = opset
        dims = entry.type.tensor_type.shape.dim
        self.batch = dims[0].dim_value if dims and dims[0].dim_value > 0 else BATCH
        self.constants = constants
        self.origin: dict[str, str] = {}
        self.stored = set(constants)
        self.lists: dict[str, list[Value]] = {}
        self.is_ours = is_ours
        self._builder = Builder(graph.name or "onnx", shape)
        self._values = {entry.name: Value(INPUT, shape)}
        self._names = {INPUT}
        self._weights: dict[str, Array] = {}
        self._done: set[str] = set()
        self._results = {o.name for o in graph.output}
        self._writers = {name: node for node in graph.node for name in node.output if name}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in (
                node.input[:1] if node.op_type == "CastLike" else node.input
            ):  # the other is asked its type only
                self._readers.setdefault(name, []).append(node)
        self._moved: dict[tuple[str, Op], str] = {}

    # Faults, attributes, constants.

    def refusal(self, node: onnx.NodeProto, reason: str) -> CaptureError:
        """The error that names `node`."""
        name = node.name or (node.output[0] if node.output else "?")
        return CaptureError(f"onnx node {name!r} ({node.op_type}): {reason}")

    def attribute(self, node: onnx.NodeProto, name: str, default: Any) -> Any:  # noqa: ANN401 - ONNX's own variety
        """An attribute's value, of the default's type; of any type where that is None.

        Raises: CaptureError on another type.
        """
        for one in node.attribute:
            if one.name != name:
                continue
            value = helper.get_attribute_value(one)
            if isinstance(value, bytes):
                value = value.decode(errors="replace")
            if isinstance(default, list):
                numbers = (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS)
                value = list(value) if one.type in numbers else value
            if default is not None and type(value) is not type(default):
                raise self.refusal(node, f"attribute {name} is {type(value).__name__}, not {type(default).__name__}")
            return value
        return default

    def constant(self, node: onnx.NodeProto, position: int) -> Array | None:
        """The value of an input that is there and constant."""
        return self.constants.get(node.input[position]) if position < len(node.input) else None

    def demand(self, node: onnx.NodeProto, position: int, what: str) -> Array:
        """The value of an input that must be constant.  Raises: CaptureError."""
        value = self.constant(node, position)
        if value is None:
            raise self.refusal(
                node, f"its {what} is computed or missing; a network's {what} must be stored in the file"
            )
        return value

    def is_constant(self, node: onnx.NodeProto) -> bool:
        """Whether nothing of `node` depends on the image's values: all inputs constant, or only a shape asked."""
        needed = node.input[:1] if node.op_type == "CastLike" else node.input
        return node.op_type in ASK_SHAPES or all(name in self.constants for name in needed if name)

    def weight_name(self, tensor: str) -> str:
        """The name of the weight that a constant is, however it was reshaped."""
        return self.origin.get(tensor, tensor)

    # Tensors.

    def value(self, node: onnx.NodeProto, position: int = 0) -> Value:
        """An input of `node` as it stands.  Raises: CaptureError where that is a constant or nothing."""
        name = node.input[position] if position < len(node.input) else ""
        if name not in self._values:
            raise self.refusal(node, f"input {position} ({name!r}) {self._why_not(name)}")
        return self._values[name]

    def _why_not(self, name: str) -> str:
        if name in self.constants:
            return "is a constant; striate's layers take feature maps there"
        if name in self._writers:
            return "is written only after it, or by what is no layer; the graph has a cycle or is not in order"
        return "is not the result of a layer before it"

    def is_value(self, node: onnx.NodeProto, position: int) -> bool:
        """Whether an input of `node` is there and depends on the image."""
        return position < len(node.input) and node.input[position] in self._values

    def has(self, tensor: str) -> bool:
        """Whether a tensor is there that depends on the image."""
        return tensor in self._values

    def give(self, node: onnx.NodeProto, value: Value, output: int = 0) -> None:
        """An output of `node` is `value`. A vector made by reshaping alone becomes a layer at once, as in torch."""
        if output < len(node.output) and node.output[output]:
            check_size(value.shape if not value.moves else (prod(value.shape),))
            tensor = node.output[output]
            self._values[tensor] = value
            flattens = value.moves and not value.before and all(isinstance(op, Reshape) for op in value.moves)
            if flattens and len(value.shape) == 1:
                self._settle(tensor)

    def move(self, node: onnx.NodeProto, op: Op, value: Value | None = None, output: int = 0) -> None:
        """An output of `node` is its first input after a move.  Raises: ShapeError."""
        self.give(node, (self.moved(node) if value is None else value).after_move(op), output)

    def moved(self, node: onnx.NodeProto, position: int = 0) -> Value:
        """An input of `node` whose padding, if any, is a layer by now; its moves may wait."""
        if self.value(node, position).before:
            self._settle(node.input[position])
        return self.value(node, position)

    def value_of(self, tensor: str) -> Value:
        """A tensor that is there."""
        return self._values[tensor]

    def bare(self, node: onnx.NodeProto, position: int = 0) -> tuple[str, Shape, Moves]:
        """An input before a permutation that waits on it: layer, its shape, and the permutation, empty if none."""
        value = self.value(node, position)
        if value.before or order_of(value.moves, value.shape_before) is None:
            waits = not value.before and bool(value.moves) and isinstance(value.moves[-1], Permute)
            self._settle(node.input[position], but=value.moves[-1:] if waits else ())
            value = self.value(node, position)
        return value.layer, value.shape_before, value.moves

    def in_front(self, value: Value, axis: int, called: str) -> tuple[str, Moves]:
        """A tensor with `axis` (without the batch) where channels stand, as a layer, and the move that puts it back."""
        order = (axis, *(i for i in range(len(value.shape)) if i != axis))
        back = Permute(tuple(order.index(i) for i in range(len(order))))
        layer = self._made(value.after_move(Permute(order)), f"{self._called(called)}.front")
        return layer, () if axis == 0 else (back,)

    def layer(self, node: onnx.NodeProto, position: int = 0) -> str:
        """The layer that writes an input of `node`; what waited before it becomes layers."""
        value = self.value(node, position)
        if value.moves or value.before:
            self._settle(node.input[position])
        return self.value(node, position).layer

    def shape(self, node: onnx.NodeProto, position: int = 0) -> Shape:
        """Shape of an input for one image."""
        return self.value(node, position).shape

    def shape_of(self, layer: str) -> Shape:
        """Shape of a layer's result for one image."""
        return self._builder.shape(layer)

    def _settle(self, tensor: str, but: Moves = ()) -> None:
        """Make layers of what waits before `tensor`, `but` a last move; the last of them is called after it."""
        value = self._values[tensor]
        waiting = value.moves[: len(value.moves) - len(but)]
        layer = self._made(replace(value, moves=waiting), self._called(tensor))
        self._values[tensor] = Value(layer, self._builder.shape(layer), but)

    def _made(self, value: Value, called: str) -> str:
        """The layer that gives `value`. The same move of the same layer is made once."""
        if value.moves and prod(value.shape_before) > MAX_MOVED:
            raise ShapeError(f"moves {prod(value.shape_before):,} values; striate follows up to {MAX_MOVED:,}")
        ops = list(plain(value.moves, value.shape_before))
        check_size(value.shape)
        if value.before:
            ops.append(Pad(value.before, value.after, value=value.fill))
        layer = value.layer
        for i, op in enumerate(ops):
            key = layer, op
            if key not in self._moved:
                name = self._unique(called if i == len(ops) - 1 else f"{called}.{op.kind}")
                self._moved[key] = self._builder.add(op, layer, name=name, weights={}, path="")
            layer = self._moved[key]
        return layer

    # Layers.

    def emit(
        self,
        node: onnx.NodeProto,
        op: Op,
        inputs: Sequence[str],
        weights: Mapping[str, tuple[str, Array]] | None = None,
        *,
        moves: Moves = (),
        inner: str = "",
    ) -> str:
        """Add the layer that `node` is; weights: role -> name and values.

        moves: what waits on its result; inner: it is no result yet, but a step inside of `node` called so.
        """
        tensor = node.output[0]
        check_size(op.out_shape(*(self._builder.shape(i) for i in inputs)))
        name = self._unique(f"{self._called(tensor)}.{inner}" if inner else self._called(tensor))
        roles = {role: self._weight(*pair) for role, pair in (weights or {}).items()}
        self._builder.add(op, *inputs, name=name, weights=roles, path=module_path(roles))
        if not inner:
            self.give(node, Value(name, self._builder.shape(name), moves))
        return name

    def add_unknown(self, tensor: str, op: Unknown, inputs: Sequence[str]) -> str:
        """Add a layer of unknown kind that writes `tensor`."""
        name = self._unique(self._called(tensor) if tensor in self._writers else tensor)
        self._builder.add(op, *inputs, name=name, weights={}, path="")
        self._values[tensor] = Value(name, op.shape)
        return name

    def layer_of(self, tensor: str) -> str:
        """The layer that writes a tensor.  Raises: CaptureError where there is none."""
        if tensor not in self._values:
            raise CaptureError(f"onnx: output {tensor!r} is not the result of a layer; export the whole network")
        if self._values[tensor].moves or self._values[tensor].before:
            self._settle(tensor)
        return self._values[tensor].layer

    def alias(self, node: onnx.NodeProto, value: Value) -> None:
        """The output of `node` is a tensor already known."""
        self._values[node.output[0]] = value

    def _called(self, tensor: str) -> str:
        """The name of the layer that writes `tensor`; our own writer's nodes bear it, the last one of each layer."""
        node = self._writers.get(tensor)
        if self.is_ours and node is not None:
            last = node
            for _ in range(LONGEST_LAYER):  # a hostile file may lead in a circle
                after = self.readers(last.output[0])
                last = last if last.name or not after else after[0]
            return last.name or tensor
        return readable(node.name if node is not None and node.name and tensor in self._results else tensor)

    # Neighbours.

    def sole_reader(self, node: onnx.NodeProto, *op_types: str) -> onnx.NodeProto | None:
        """The one node that reads the output of `node`, if it is of these types and nothing else sees that output."""
        readers = self.readers(node.output[0])
        seen_once = len(readers) == 1 and not self.is_result(node.output[0])
        return readers[0] if seen_once and readers[0].op_type in op_types else None

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that read a tensor, once for each time that they do."""
        return self._readers.get(tensor, [])

    def writer(self, tensor: str) -> onnx.NodeProto:
        """The node that writes a tensor."""
        node: onnx.NodeProto = self._writers[tensor]
        return node

    def is_result(self, tensor: str) -> bool:
        """Whether a tensor is an output of the graph."""
        return tensor in self._results

    def is_part(self, node: onnx.NodeProto) -> bool:
        """Whether our own writer made `node` as a part, not the last, of a layer: such nodes have no name."""
        return self.is_ours and not node.name

    def absorb(self, tensors: Iterable[str]) -> None:
        """Mark the nodes that write `tensors` as part of a layer added before their turn."""
        self._done.update(tensors)

    def is_done(self, node: onnx.NodeProto) -> bool:
        """Whether `node` is part of a layer already, or a constant whose value is known."""
        return bool(node.output) and (node.output[0] in self._done or node.output[0] in self.constants)

    def network(self, result: str, *, with_weights: bool = True) -> Network:
        """The finished network, whose result is the tensor `result`.  Raises: CaptureError."""
        try:
            layer = self.layer_of(result)
            if layer == INPUT:
                raise CaptureError(f"onnx: output {result!r} is not the result of a layer; export the whole network")
            network = self._builder.build(layer)
            return network.with_weights(self._weights) if with_weights else network
        except (NetworkError, ShapeError) as fault:
            raise CaptureError(f"onnx: {fault}") from None

    def _unique(self, wanted: str) -> str:
        name = fresh(wanted, self._names, "_")
        self._names.add(name)
        return name

    def _weight(self, wanted: str, values: Array) -> str:
        """Store a weight; the same values under the same name are shared."""
        name, count = wanted, 1
        while name in self._weights and not _same(self._weights[name], values):
            count += 1
            name = f"{wanted}_{count}"
        self._weights[name] = values
        return name


def _same(a: Array, b: Array) -> bool:
    return a is b or (a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True))


def check_size(shape: Shape) -> None:
    """Raises: ShapeError on maps so large that describing them would take the machine's memory."""
    channels, *sides = shape if len(shape) > 1 else (1,)
    if channels > MAX_CHANNELS or max(sides, default=1) > MAX_SIDE or prod(shape) > MAX_VALUES:
        raise ShapeError(
            f"its result would be {'x'.join(map(str, shape))}; striate reads up to {MAX_CHANNELS:,} channels, "
            f"{MAX_SIDE:,} px a side and {MAX_VALUES:,} values"
        )


def readable(tensor: str) -> str:
    """A tensor's name as a layer's: `/layer1/conv/Conv_output_0` -> `layer1.conv`."""
    name = re.sub(r"/[A-Za-z]+(_\d+)?_output_0$", "", tensor) or tensor.removesuffix("_output_0")
    return name.strip("/").replace("/", ".") or tensor


def module_path(weights: Mapping[str, str]) -> str:
    """The module that a layer's weights name: `layer1.0.conv1` for `layer1.0.conv1.weight`."""
    paths = {name.rpartition(".")[0] for name in weights.values()}
    return paths.pop() if len(paths) == 1 else ""
