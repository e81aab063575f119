"""Changing a network one place at a time, and putting it together again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from striate.graph import INPUT, Network, Node, check, fresh, infer_shapes
from striate.ops import Array, Op, Shape
from striate.rewrite.note import Applied, Note, Refused


@dataclass(frozen=True, slots=True)
class Change:
    """One rewrite at one place.

    what: one clause for the note; at: the layer as it is called afterwards
    places: for each node that goes, by name, the nodes that stand at its place then
    arrays: new weights, under names that no weight has
    """

    at: str
    what: str
    places: Mapping[str, tuple[Node, ...]]
    arrays: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class View:
    """A network with what a pass asks about a place in it."""

    network: Network
    nodes: Mapping[str, Node]
    readers: Mapping[str, list[Node]]
    shapes: Mapping[str, Shape]

    def source(self, node: Node) -> Node | None:
        """The layer that writes what `node` reads first; None where that is the network's input."""
        return self.nodes.get(node.inputs[0])

    def owner(self, name: str) -> Node | None:
        """The layer that alone reads the tensor `name`, once; None where there are others, or it is the result."""
        readers = self.readers[name]
        return readers[0] if len(readers) == 1 and name != self.network.output else None

    def weights(self, node: Node) -> dict[str, Array]:
        """The arrays of `node`, by role."""
        return self.network.weights_of(node)

    def free(self, wanted: str) -> str:
        """A layer's name that no layer has."""
        return fresh(wanted, {INPUT, *self.nodes})

    def weighted(
        self, name: str, op: Op, inputs: tuple[str, ...], arrays: Mapping[str, Array], like: Node
    ) -> tuple[Node, dict[str, Array]]:
        """A node with new weights, and those under names that no weight has."""
        names = {role: fresh(f"{name}.rewritten.{role}", self.network.weights) for role in arrays}
        return Node(name, op, inputs, names, like.path), {names[role]: array for role, array in arrays.items()}


Step = Callable[[View, Node], Change | str | None]
"""What a pass does at one layer: a change, the reason why not, or None where the layer is none of its business."""


def everywhere(network: Network, by: str, step: Step) -> tuple[Network, tuple[Note, ...]]:
    """Take `step` at every layer until it changes nothing more; every change, then what was refused in the end."""
    applied: list[Note] = []
    while True:
        change, refused = _first_change(network, by, step)
        if change is None:
            return network, (*applied, *refused)
        applied.append(Applied(by, change.at, change.what))
        nodes = [new for node in network for new in change.places.get(node.name, (node,))]
        network = rebuilt(network, nodes, {**network.weights, **change.arrays}, network.output)


def _first_change(network: Network, by: str, step: Step) -> tuple[Change | None, list[Note]]:
    view = View(network, {node.name: node for node in network}, network.consumers(), infer_shapes(network))
    refused: list[Note] = []
    for node in network:
        found = step(view, node)
        if isinstance(found, Change):
            return found, []
        if found:
            refused.append(Refused(by, node.name, found))
    return None, refused


def rebuilt(network: Network, nodes: Iterable[Node], weights: Mapping[str, Array], output: str) -> Network:
    """The checked network of these nodes, holding only the weights that they name.

    Raises: NetworkError, ShapeError if the pass left something illegal behind.
    """
    return check(replace(network, nodes=tuple(nodes), output=output)).with_weights(weights)
