"""What is a legal network, and the shape of every tensor in it."""

from __future__ import annotations

from collections.abc import Container, Sequence

from striate.errors import GeometryError, NetworkError, ShapeError
from striate.graph.network import INPUT, Network, Node
from striate.ops import Op, Shape


def check(network: Network) -> Network:
    """Return `network` if it is legal.

    Names are unique and not `INPUT`; every node reads only what stands before it, as many inputs as its layer
    takes; its weights are exactly its layer's roles; shared weights agree in shape; the output exists; shapes fit.
    Raises: NetworkError, ShapeError.
    """
    known = {INPUT}
    shapes: dict[str, Shape] = {}
    for node in network:
        _check_node(node, known, shapes)
        known.add(node.name)
    if network.output not in known - {INPUT}:
        raise NetworkError(f"{network.name}: output {network.output!r} is not a layer; name one of its layers")
    infer_shapes(network)
    return network


def check_reads(layer: str, op: Op, inputs: Sequence[str], known: Container[str]) -> None:
    """Check that `layer` may have its name and read `inputs`, with `known` written before it.  Raises: NetworkError."""
    if layer in known:
        raise NetworkError(f"{layer}: two layers have this name, or it is the input's; give each its own")
    for name in inputs:
        if name not in known:
            raise NetworkError(
                f"{layer}: reads {name!r}, which is not written before it; order the layers so that it is"
            )
    if len(inputs) != op.arity if op.arity else len(inputs) < 2:
        raise NetworkError(f"{layer}: {op.kind} reads {op.arity or '2 or more'} inputs, got {len(inputs)}")


def _check_node(node: Node, known: set[str], shapes: dict[str, Shape]) -> None:
    check_reads(node.name, node.op, node.inputs, known)
    roles = {spec.role: spec.shape for spec in node.op.weight_specs()}
    if set(roles) != set(node.weights):
        raise NetworkError(f"{node.name}: {node.op.kind} has weights {sorted(roles)}, got {sorted(node.weights)}")
    for role, name in node.weights.items():
        if shapes.setdefault(name, roles[role]) != roles[role]:
            raise NetworkError(f"{node.name}: shares {name!r} of shape {shapes[name]}, needs {roles[role]}")


def infer_shapes(network: Network, input_shape: Shape | None = None) -> dict[str, Shape]:
    """Shape of every tensor for one image, `INPUT` first: (C, H, W) or (F,).

    input_shape: another size to evaluate; the network's own by default.
    Raises: ShapeError that names the layer and what it was given.
    """
    shapes: dict[str, Shape] = {INPUT: tuple(input_shape or network.input_shape)}
    for node in network:
        try:
            shapes[node.name] = node.op.out_shape(*(shapes[name] for name in node.inputs))
        except (ShapeError, GeometryError) as fault:
            raise ShapeError(f"{node.name}: {fault}") from None
    return shapes
