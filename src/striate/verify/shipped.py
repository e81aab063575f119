"""What can be checked again from the shipped file alone: the original network is not at hand, its answers are."""

from __future__ import annotations

import numpy as np

from striate.graph import INPUT, Network
from striate.graph.reference import output as run_exactly
from striate.ops import Array
from striate.verify.bound import Rounding, walk
from striate.verify.proof import Value, Worst
from striate.verify.prove import Engine
from striate.verify.tally import scale_of, share, worst_of
from striate.verify.tolerance import FLOAT32_UNIT, result_allowed


class Recheck(Value):
    """What a second look at a shipped network found.

    of_bound: for each tensor that the engine returned, the largest float32 error made since the tensors before it
        that it returned, as a share of the a-priori bound
    golden: largest difference of the recorded results from the shipped weights in float64, as a share of what is
        allowed after the float32 error that the proof measured
    """

    network: str
    inputs: int
    of_bound: dict[str, Worst]
    golden: Worst

    @property
    def fault(self) -> str:
        """The first fault from the input on; empty if there is none."""
        for name, worst in self.of_bound.items():
            if not worst.value <= 1:
                return f"{name}: float32 error is {worst.value:.1f} times its bound ({worst.case})"
        if not self.golden.value <= 1:
            return f"recorded results differ by {self.golden.value:.1f} times what is allowed"
        return ""


def prove_shipped(
    shipped: Network, inputs: Array, logits: Array, error: float, engine: Engine, batch_images: int = 1
) -> Recheck:
    """Compare the engine with the shipped weights in float64, and those with what the original once answered.

    inputs: (N, C, H, W) float32, first those of which answers are recorded
    logits: (M, K) recorded results of the original network in float64, M <= N
    error: float32 error of the result on record, `Proof.layers[-1].error_after`; rounding the weights is part of it
    engine: runs the shipped file; returns at least the result, better every layer's
    """
    network = shipped.astype(np.float64)
    names = tuple(f"golden {i}" if i < len(logits) else f"image {i - len(logits)}" for i in range(len(inputs)))
    of_bound: dict[str, Worst] = {}
    golden = Worst()
    for start in range(0, len(inputs), batch_images):
        batch = slice(start, start + batch_images)
        x = np.asarray(inputs[batch], np.float64)
        got = engine(inputs[batch])
        known = {INPUT: x, **{name: array for name, array in got.items() if name != network.output}}
        for name, values, (bound,) in walk(network, known, [Rounding(FLOAT32_UNIT)]):
            if name in got:
                difference = np.abs(got[name] - values)
                of_bound[name] = worst_of(share(difference, bound), names[batch], of_bound.get(name, Worst()))
        recorded = logits[batch]
        if len(recorded):
            exact = run_exactly(network, x[: len(recorded)])
            allowed = result_allowed(error) * scale_of(exact)
            golden = worst_of(share(np.abs(recorded - exact), allowed), names[batch], golden)
    return Recheck(network=network.name, inputs=len(inputs), of_bound=of_bound, golden=golden)
