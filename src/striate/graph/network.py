"""The one value that every network becomes: frozen nodes in topological order, and their named weights.

Everything else in striate is a function of a `Network`: measuring, drawing, rewriting, verifying, writing ONNX,
and building a module to train.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from striate.errors import NetworkError
from striate.ops import Array, Op, Shape, WeightSpec

INPUT = "input"
"""The name of a network's input tensor."""


@dataclass(frozen=True, slots=True)
class Node:
    """One layer at its place in a network.

    name: unique, and the name of the one tensor that the node writes
    op: the layer
    inputs: names of the nodes it reads, or `INPUT`
    weights: name of the network's weight for each role of the layer ("weight" -> "layer1.0.conv1.weight");
        two nodes that name the same weight share it
    path: module path it was captured from; empty where there is none
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    weights: Mapping[str, str] = field(default_factory=dict)
    path: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A convolutional network.

    name: what a person calls it
    input_shape: (C, H, W) of one image
    nodes: in topological order, checked by `striate.graph.check`
    output: the node whose tensor is the result
    weights: arrays by name; empty where only the architecture is known
    """

    name: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    output: str
    weights: Mapping[str, Array] = field(default_factory=dict)

    def __deepcopy__(self, memo: object) -> Network:
        return self  # a frozen value is its own copy

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def node(self, name: str) -> Node:
        """The node called `name`.  Raises: NetworkError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise NetworkError(f"{self.name} has no layer {name!r}; its layers are {', '.join(n.name for n in self.nodes)}")

    def consumers(self) -> dict[str, list[Node]]:
        """For every tensor name, the nodes that read it, in order."""
        readers: dict[str, list[Node]] = {INPUT: [], **{node.name: [] for node in self.nodes}}
        for node in self.nodes:
            for name in node.inputs:
                readers[name].append(node)
        return readers

    def weights_of(self, node: Node) -> dict[str, Array]:
        """The arrays of a node, by role.  Raises: NetworkError where the network has no weights."""
        try:
            return {role: self.weights[name] for role, name in node.weights.items()}
        except KeyError as missing:
            raise NetworkError(
                f"{node.name}: weight {missing} has no values; initialise or load the network first"
            ) from None

    def weight_specs(self) -> dict[str, WeightSpec]:
        """Every weight once, in order of first use, with the shape and kind that its layer gives it."""
        specs: dict[str, WeightSpec] = {}
        for node in self.nodes:
            for spec in node.op.weight_specs():
                specs.setdefault(node.weights[spec.role], spec)
        return specs

    def parameters(self) -> int:
        """Learnable numbers, shared ones counted once."""
        return sum(int(np.prod(spec.shape)) for spec in self.weight_specs().values() if spec.learnable)

    def with_weights(self, weights: Mapping[str, Array]) -> Network:
        """The same architecture with these arrays, read-only.  Raises: NetworkError on a missing name or shape."""
        kept = {}
        for name, spec in self.weight_specs().items():
            if name not in weights:
                raise NetworkError(
                    f"{self.name}: weight {name!r} is missing; the file must hold every weight of the network"
                )
            array = np.asarray(weights[name])
            if array.shape != spec.shape:
                raise NetworkError(f"{self.name}: weight {name!r} has shape {array.shape}, needs {spec.shape}")
            kept[name] = _frozen(array)
        return replace(self, weights=MappingProxyType(kept))

    def astype(self, dtype: type[np.floating]) -> Network:
        """The same network with all weights in `dtype`."""
        return self.with_weights({name: np.asarray(array, dtype) for name, array in self.weights.items()})


def _frozen(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


def fresh(name: str, taken: Collection[str], separator: str = ".") -> str:
    """`name`, or the first of `name.2`, `name.3`, ... that is not taken: a new tensor never replaces an old one."""
    unique, count = name, 1
    while unique in taken:
        count += 1
        unique = f"{name}{separator}{count}"
    return unique
