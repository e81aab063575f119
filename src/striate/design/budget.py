"""What a design may cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from striate.measure import Inspection

NAMES = {"macs": "MACs", "parameters": "parameters", "peak_activation_bytes": "bytes of activations"}


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that one image may cost; None is no limit.

    peak_activation_bytes: activations alive at once, in float32
    """

    macs: int | None = None
    parameters: int | None = None
    peak_activation_bytes: int | None = None

    def limits(self) -> Iterator[tuple[str, int]]:
        """(name, limit) of every limit there is."""
        for name in NAMES:
            if (limit := getattr(self, name)) is not None:
                yield name, limit

    def allows(self, found: Inspection) -> bool:
        """Whether a measured network costs no more."""
        return all(getattr(found, name) <= limit for name, limit in self.limits())

    def use(self, found: Inspection) -> float:
        """The largest part of any limit that the network uses: near 1 where the budget is spent."""
        return max((getattr(found, name) / limit for name, limit in self.limits()), default=1.0)
