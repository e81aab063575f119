"""Internal covariate shift as a run recorded it: how far updates moved what each layer reads.

A row for each step that was looked at: for every layer with a kernel, the distance of the distributions of its input
before and after the step, in deviations, mean over channels (`striate.train.norms.shift` has the formula).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from striate.measure.text import aligned
from striate.ops import Array

ENDS = 5
"""The first and the last part of the recorded steps, a fifth, stand for the start and the end."""
NOT_RECORDED = "covariate shift was not recorded; it is where a run was trained with --set record_shift=true"


@dataclass(frozen=True, slots=True, eq=False)
class CovariateShiftProbe:
    """shift: (steps looked at, layers), in standard deviations; images: those that were passed through the network."""

    network: str
    images: int
    steps: tuple[int, ...]
    layers: tuple[str, ...]
    shift: Array
    why_not: tuple[str, ...] = ()

    def ends(self) -> tuple[Array, Array]:
        """Mean shift of each layer over the first and over the last fifth of the steps (layers,)."""
        part = max(1, len(self.steps) // ENDS)
        return self.shift[:part].mean(axis=0), self.shift[-part:].mean(axis=0)

    def lines(self) -> list[str]:
        """One line a layer, and the reading."""
        if self.why_not:
            return [f"not measured: {why}" for why in self.why_not]
        first, last = self.ends()
        largest = self.shift.argmax(axis=0)
        rows = [
            (
                layer,
                *(f"{value[i]:.2g}" for value in (first, last)),
                f"{self.shift[largest[i], i]:.2g}",
                f"{self.steps[largest[i]]:,}",
            )
            for i, layer in enumerate(self.layers)
        ]
        heads = ("input of layer", "start, sigma", "end, sigma", "largest", "at step")
        return [*aligned(heads, rows, (False, True, True, True, True)), self._reading(first, last)]

    def _reading(self, first: Array, last: Array) -> str:
        most = int(first.argmax())
        if not first[most]:
            return "no layer stands behind one that learns: nothing shifts"
        course = "calms down" if last[most] < first[most] / 2 else "grows" if last[most] > 2 * first[most] else "stays"
        return (
            f"an update moves the input of {self.layers[most]} most, by {first[most]:.2g} of its deviations a step at "
            f"the start and {last[most]:.2g} at the end: it {course}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "probe": "covariate-shift", "images": self.images, "steps": list(self.steps),
            "shift": {layer: self.shift[:, i].tolist() for i, layer in enumerate(self.layers)},
            "why_not": list(self.why_not),
        }  # fmt: skip


def covariate_shift(network: str, rows: Sequence[Mapping[str, Any]]) -> CovariateShiftProbe:
    """What the rows of a run's shift.jsonl say; rows: step, images, and shift by layer."""
    if not rows:
        return CovariateShiftProbe(network, 0, (), (), np.zeros((0, 0)), (NOT_RECORDED,))
    layers = tuple(rows[0]["shift"])
    shift = np.array([[row["shift"][layer] for layer in layers] for row in rows], np.float64)
    return CovariateShiftProbe(network, rows[0]["images"], tuple(row["step"] for row in rows), layers, shift)
