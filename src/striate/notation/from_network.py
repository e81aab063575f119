"""From a `Network`, however it came to be, back to the notation: chains, residual sums, repetitions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from striate.errors import NotationError
from striate.graph import INPUT, Network, Node
from striate.notation.repetition import canonical
from striate.notation.syntax import (
    Chain,
    Convolution,
    Dense,
    Depthwise,
    Item,
    Layer,
    Norm,
    Residual,
    check_limits,
)
from striate.notation.write import unsayable
from striate.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    BlurPool,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Identity,
    Linear,
    MaxPool,
    Softmax,
)


def from_network(network: Network) -> Chain:
    """The notation of the network's architecture in canonical form; its names and weights are not part of it.

    Layers that do nothing are left out, and a global pooling that is flattened becomes one GAP.
    Raises: NotationError that names the first layer the notation cannot say.
    """
    nodes, output = _simplified(network)
    return canonical(check_limits(_Trace(nodes, output).chain()))


@dataclass(frozen=True, slots=True)
class _Step:
    """How a tensor comes about: `item` applied to the tensor `before`, the `place`-th in order."""

    before: str
    item: Item
    place: int


class _Trace:
    """For every tensor, the step that made it; a sum becomes one step from where its branches part."""

    def __init__(self, nodes: tuple[Node, ...], output: str) -> None:
        self._steps: dict[str, _Step] = {}
        self._forks: Counter[str] = Counter()
        self._output = output
        weights: set[str] = set()
        for place, node in enumerate(nodes, start=1):
            if shared := weights.intersection(node.weights.values()):
                raise _refusal(node, f"shares the weight {min(shared)!r} with an earlier layer")
            weights.update(node.weights.values())
            before, item = self._sum(node) if isinstance(node.op, Add) else (node.inputs[0], _layer(node))
            self._steps[node.name] = _Step(before, item, place)
        self._check_reads(nodes)

    def chain(self) -> Chain:
        return self._between(INPUT, self._output)

    def _sum(self, node: Node) -> tuple[str, Residual]:
        if len(node.inputs) != 2:
            raise _refusal(node, f"adds {len(node.inputs)} branches, and a group has two")
        left, right = node.inputs
        while left != right:
            if self._place(left) > self._place(right):
                left = self._steps[left].before
            else:
                right = self._steps[right].before
        body, shortcut = (self._between(left, end) for end in node.inputs)
        if not body:
            body, shortcut = shortcut, body
        if not body:
            raise _refusal(node, "adds a tensor to itself")
        self._forks[left] += 1
        return left, Residual(body, shortcut)

    def _place(self, tensor: str) -> int:
        return 0 if tensor == INPUT else self._steps[tensor].place

    def _between(self, start: str, end: str) -> Chain:
        items: list[Item] = []
        while end != start:
            step = self._steps[end]
            items.append(step.item)
            end = step.before
        return tuple(reversed(items))

    def _check_reads(self, nodes: tuple[Node, ...]) -> None:
        """Each tensor is read once, and once more for every group that starts at it; the output once less."""
        reads = Counter(name for node in nodes for name in node.inputs)
        reads[self._output] += 1
        for node in nodes:
            for name in (*node.inputs, node.name):
                if reads[name] != 1 + self._forks[name]:
                    raise _refusal(
                        node,
                        f"{'writes' if name == node.name else 'reads'} {name!r}, whose {reads[name]} readers are not "
                        "the two branches of a sum",
                    )


def _simplified(network: Network) -> tuple[tuple[Node, ...], str]:
    """The nodes that the notation has words for, and the output's name among them.

    Identities are read past, and a global pooling to 1x1 maps with the flattening behind it becomes one GAP.
    """
    readers = network.consumers()
    source: dict[str, str] = {}
    pooled: set[str] = set()
    nodes = []
    for node in network:
        inputs = tuple(source.get(name, name) for name in node.inputs)
        if type(node.op) is Identity or (isinstance(node.op, Flatten) and inputs[0] in pooled):
            source[node.name] = inputs[0]
            continue
        if node.op == GlobalAvgPool(keep_axes=True) and [type(r.op) for r in readers[node.name]] == [Flatten]:
            pooled.add(node.name)
            node = replace(node, op=GlobalAvgPool())  # noqa: PLW2901 - the same node, said shorter
        nodes.append(replace(node, inputs=inputs))
    return tuple(nodes), source.get(network.output, network.output)


def _layer(node: Node) -> Layer:
    layer = _read(node)
    if reason := unsayable(layer):
        raise _refusal(node, reason)
    return layer


def _read(node: Node) -> Layer:
    match node.op:
        case Conv():
            return _convolution(node, node.op)
        case Linear():
            return Dense(node.op.out_features, node.op.bias)
        case BatchNorm():
            if node.op != BatchNorm(node.op.channels):
                raise _refusal(node, f"has eps {node.op.eps:g}, momentum {node.op.momentum:g}, affine {node.op.affine}")
            return Norm()
        case AvgPool(windows, count_include_pad=False) if not any(w.pad_lo or w.pad_hi or w.ceil_mode for w in windows):
            return AvgPool(windows)
        case Activation() | Softmax() | Flatten() | Dropout():
            return node.op
        case MaxPool() | AvgPool() | BlurPool() | GlobalAvgPool() | AdaptiveAvgPool():
            return node.op
        case _:
            raise _refusal(node, f"is {node.op.kind}, for which it has no letters")


def _convolution(node: Node, op: Conv) -> Layer:
    if len(op.windows) != 2:
        raise _refusal(node, f"has {len(op.windows)} spatial axes instead of two")
    height, width = op.windows
    if op.groups == op.in_channels == op.out_channels > 1:
        return Depthwise((height, width), op.bias)
    return Convolution(op.out_channels, (height, width), op.groups, op.bias)


def _refusal(node: Node, reason: str) -> NotationError:
    return NotationError(f"{node.name}: the notation cannot say this layer: it {reason}; keep the network itself")
