"""What a pass says it did, and what it left alone and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from striate.graph import Network


@dataclass(frozen=True, slots=True)
class Applied:
    """A pass changed the network: `by` is the pass, `at` the layer as it is called now, `what` one clause."""

    by: str
    at: str
    what: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A pass left alone a layer that it is meant for: `by` is the pass, `at` the layer, `reason` one clause."""

    by: str
    at: str
    reason: str


Note = Applied | Refused
Pass = Callable[[Network], tuple[Network, tuple[Note, ...]]]
"""A rewrite: pure, in the dtype of the network it is given, and silent about layers that are none of its business."""
