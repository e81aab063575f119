"""Putting a network together again after a pass has changed its nodes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from striate.graph import Network, Node, check
from striate.ops import Array


def rebuilt(network: Network, nodes: Iterable[Node], weights: Mapping[str, Array], output: str) -> Network:
    """The checked network of these nodes, holding only the weights that they name.

    Raises: NetworkError, ShapeError if the pass left something illegal behind.
    """
    return check(replace(network, nodes=tuple(nodes), output=output)).with_weights(weights)


def fresh(name: str, taken: Collection[str]) -> str:
    """`name`, or the first of `name.2`, `name.3`, ... that is not taken: a new tensor never replaces an old one."""
    unique, count = name, 1
    while unique in taken:
        count += 1
        unique = f"{name}.{count}"
    return unique
