"""Building a network layer by layer; used by everything that writes one by hand."""

from __future__ import annotations

from collections.abc import Mapping

from striate.errors import GeometryError, ShapeError
from striate.graph.check import check, check_reads
from striate.graph.network import INPUT, Network, Node
from striate.ops import Op, Shape

TORCH_ROLES: Mapping[str, str] = {"gamma": "weight", "beta": "bias"}
"""Roles that a torch state dict calls by another name."""


def state_name(path: str, role: str) -> str:
    """The state-dict name of a role: `bn1.weight` for gamma at `bn1`."""
    return f"{path}.{TORCH_ROLES.get(role, role)}"


class Builder:
    """Collects nodes and follows shapes as it goes, so that a fault is named at the layer that causes it."""

    def __init__(self, name: str, input_shape: Shape) -> None:
        self._name = name
        self._nodes: list[Node] = []
        self._shapes: dict[str, Shape] = {INPUT: tuple(input_shape)}

    def add(
        self,
        op: Op,
        *inputs: str,
        name: str,
        weights: Mapping[str, str] | None = None,
        path: str | None = None,
    ) -> str:
        """Append a layer that reads `inputs` and return its name.

        weights: role -> weight name; by default the state-dict names under `path`, which is `name` by default.
        Raises: ShapeError, NetworkError that name the layer.
        """
        path = name if path is None else path
        check_reads(name, op, inputs, self._shapes)
        try:
            shape = op.out_shape(*(self._shapes[i] for i in inputs))
        except (ShapeError, GeometryError) as fault:
            raise ShapeError(f"{name}: {fault}") from None
        if weights is None:
            weights = {spec.role: state_name(path, spec.role) for spec in op.weight_specs()}
        self._nodes.append(Node(name, op, inputs, weights, path))
        self._shapes[name] = shape
        return name

    def shape(self, name: str = INPUT) -> Shape:
        """Shape of the tensor called `name`."""
        return self._shapes[name]

    def unread(self) -> tuple[str, ...]:
        """The tensors that no layer reads yet, in order."""
        read = {name for node in self._nodes for name in node.inputs}
        return tuple(name for name in self._shapes if name not in read)

    def build(self, output: str | None = None) -> Network:
        """The finished, checked network; its output is the last layer unless named."""
        last = self._nodes[-1].name if self._nodes else INPUT
        return check(Network(self._name, self._shapes[INPUT], tuple(self._nodes), output or last))
