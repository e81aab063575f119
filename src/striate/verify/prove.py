"""Is the shipped network the one that was trained? Algebra, rounding, decisions, layer by layer.

The reference is the original network in float64. Every tensor that original and rewritten network both have, by
name, and the result, is compared:

(1) algebra: both in float64, each layer computed from the original's own inputs to it, so that a fault shows at
    the layer that has it; and once more from input to output;
(2) rounding: what each layer of the shipped float32 network adds, measured in float64 from the very inputs that
    the engine gave it, is within the a-priori bound and at most `ROUNDING_FACTOR` times what the same layer of
    the original float32 network adds; the error since the input is within its own bound, and that of the result
    at most `RESULT_FACTOR` times the original's;
(3) decisions: the top class flips only where the float64 margin is below twice the bound.

Why these suffice, and what they do not show: docs/math/proof.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from striate.errors import ProofError
from striate.graph import INPUT, Network
from striate.graph.reference import run
from striate.ops import Array
from striate.verify.bound import error_bounds, propagate
from striate.verify.inputs import BATCH_SIZES, Cases
from striate.verify.proof import Decisions, Proof, Worst
from striate.verify.tally import Tally, scale_of, worst_of
from striate.verify.tolerance import ALGEBRA, FLOAT32_UNIT, FLOAT64_UNIT

Engine = Callable[[Array], Mapping[str, Array]]
"""Runs a float32 network on a float32 batch and returns its tensors by name."""
Tell = Callable[[int, int], None]
"""Told how many inputs of how many are done."""


def silent(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """One tensor by its name in the original and in the rewritten network."""

    before: str
    after: str


def prove(
    original: Network,
    rewritten: Network,
    shipped: Engine,
    original32: Engine,
    cases: Cases,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    tell: Tell = silent,
) -> Proof:
    """Compare `rewritten` and its shipped float32 form with `original` on `cases`.

    original, rewritten: weights in float64, the rewritten ones before rounding to float32
    shipped, original32: the two float32 networks run by the same engine, giving every tensor that both networks
        have (of the same names) and the result
    tell: told after each batch how many inputs of how many are done
    Returns a proof, which may be a refutation.  Raises: ProofError if an engine leaves out a tensor.
    """
    comparison = _Comparison(original, rewritten, _pairs(original, rewritten))
    done = 0
    for names, images in cases.batches(batch_sizes):
        x = np.asarray(images, np.float32)
        comparison.add(names, x, _upcast(original32(x)), _upcast(shipped(x)))
        done += len(names)
        tell(done, len(cases.names))
    return Proof(
        network=original.name,
        inputs=dict(Counter(cases.kinds)),
        batch_sizes=tuple(batch_sizes),
        layers=tuple(tally.result() for tally in comparison.tallies.values()),
        end_to_end=comparison.end_to_end,
        decisions=comparison.decisions,
    )


class _Comparison:
    """What has been compared so far."""

    def __init__(self, original: Network, rewritten: Network, pairs: Sequence[_Pair]) -> None:
        self.original, self.rewritten, self.pairs = original, rewritten, pairs
        kinds = {node.name: node.op.kind for node in original}
        self.tallies = {pair: Tally(pair.before, kinds[pair.before], pair is pairs[-1]) for pair in pairs}
        self.end_to_end = Worst()
        self.decisions = Decisions()

    def add(self, names: Sequence[str], x: Array, before32: Mapping[str, Array], after32: Mapping[str, Array]) -> None:
        """Compare on one batch."""
        x64 = x.astype(np.float64)
        exact = run(self.original, x64)
        if not self._fits(names, x64, exact, before32, after32):
            return
        self._algebra(names, x64, exact)
        self._rounding(names, x64, exact, before32, after32)

    def _fits(
        self,
        names: Sequence[str],
        x64: Array,
        exact: Mapping[str, Array],
        before32: Mapping[str, Array],
        after32: Mapping[str, Array],
    ) -> bool:
        """Whether every tensor of the batch can be compared at all."""
        rewritten = run(self.rewritten, x64)
        fits = True
        for pair, tally in self.tallies.items():
            got = {
                "the rewritten network in float64": rewritten[pair.after],
                "the original in float32": _tensor(before32, pair.before, "original"),
                "the shipped network": _tensor(after32, pair.after, "shipped"),
            }
            fits = tally.fits(exact[pair.before], names, **got) and fits
        if fits:
            self._compare_results(names, x64, exact[self.original.output], rewritten[self.rewritten.output])
        return fits

    def _compare_results(self, names: Sequence[str], x64: Array, want: Array, got: Array) -> None:
        """Part 1, from input to output."""
        scale = scale_of(want)
        difference = np.abs(got - want)
        self.end_to_end = worst_of(difference / scale, names, self.end_to_end)
        if (difference > ALGEBRA * scale).any():
            self._result_beyond_tolerance(x64, difference)

    def _result_beyond_tolerance(self, x64: Array, difference: Array) -> None:
        """An ill-conditioned network amplifies float64's own rounding: then its running bound decides."""
        allowed = (
            error_bounds(self.original, x64, FLOAT64_UNIT)[self.original.output]
            + error_bounds(self.rewritten, x64, FLOAT64_UNIT)[self.rewritten.output]
        )
        if (difference > allowed).any():
            last = self.tallies[self.pairs[-1]]
            last.broken = last.broken or "algebra: the results differ in float64 though every layer agrees"

    def _known_before(self, x64: Array, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """The tensors of the original that the rewritten network has as well."""
        return {INPUT: x64, **{pair.before: tensors[pair.before] for pair in self.pairs}}

    def _algebra(self, names: Sequence[str], x64: Array, exact: Mapping[str, Array]) -> None:
        """Part 1, layer by layer, each from the original's inputs."""
        _, own = propagate(self.original, self._known_before(x64, exact), FLOAT64_UNIT)
        # Of the pairs, the one of results comes first here: where it shares a tensor with another, that one holds.
        known = {INPUT: x64, **{pair.after: exact[pair.before] for pair in reversed(self.pairs)}}
        values, bounds = propagate(self.rewritten, known, FLOAT64_UNIT)
        for pair, tally in self.tallies.items():
            uncertainty = own[pair.before] + bounds[pair.after]
            tally.compare_algebra(exact[pair.before], values[pair.after], uncertainty, names)

    def _rounding(
        self,
        names: Sequence[str],
        x64: Array,
        exact: Mapping[str, Array],
        before32: Mapping[str, Array],
        after32: Mapping[str, Array],
    ) -> None:
        """Parts 2 and 3."""
        before_at = self._known_before(x64, before32)
        after_at = {INPUT: x64, **{pair.after: after32[pair.after] for pair in self.pairs}}
        before64, _ = propagate(self.original, before_at, FLOAT32_UNIT)
        after64, bounds = propagate(self.rewritten, after_at, FLOAT32_UNIT)
        _, one_ulp = propagate(self.rewritten, after_at, 0.0, FLOAT32_UNIT)
        running = error_bounds(self.rewritten, x64)
        for pair, tally in self.tallies.items():
            want, before, after = exact[pair.before], before32[pair.before], after32[pair.after]
            tally.compare_errors(want, before, after, running[pair.after], names)
            made_before, made_after = before - before64[pair.before], after - after64[pair.after]
            tally.compare_rounding(scale_of(want), made_before, made_after, one_ulp[pair.after])
            tally.compare_bound(made_after, bounds[pair.after], names)
        last = self.pairs[-1]
        self.decisions = _decide(
            self.decisions, exact[last.before], before32[last.before], after32[last.after], running[last.after]
        )


def _pairs(original: Network, rewritten: Network) -> tuple[_Pair, ...]:
    """The tensors to compare, in the original's order; the pair of results comes last."""
    after = {node.name for node in rewritten}
    result = _Pair(original.output, rewritten.output)
    common = [_Pair(node.name, node.name) for node in original if node.name in after]
    return (*(pair for pair in common if pair != result), result)


def _decide(so_far: Decisions, exact: Array, before: Array, after: Array, bound: Array) -> Decisions:
    """Count the top classes that flip; results (N, K), taken as one vector an image."""
    scores, before, after, bound = (a.reshape(len(a), -1) for a in (exact, before, after, bound))
    if scores.shape[1] < 2:
        return so_far
    top = scores.argmax(axis=1)
    first, second = -np.partition(-scores, 1, axis=1)[:, :2].T
    certain = first - second >= 2 * bound.max(axis=1)
    flipped = after.argmax(axis=1) != top
    smallest = float((first - second).min())
    return Decisions(
        inputs=so_far.inputs + len(scores),
        certain=so_far.certain + int(certain.sum()),
        flips=so_far.flips + int(flipped.sum()),
        flips_before=so_far.flips_before + int((before.argmax(axis=1) != top).sum()),
        unexplained=so_far.unexplained + int((flipped & certain).sum()),
        smallest_margin=min(smallest, so_far.smallest_margin) if so_far.inputs else smallest,
        largest_error=max(so_far.largest_error, float(np.abs(after - scores).max())),
    )


def _tensor(tensors: Mapping[str, Array], name: str, whose: str) -> Array:
    if name not in tensors:
        raise ProofError(f"{name}: the {whose} engine did not return this tensor; let it return every layer's result")
    return tensors[name]


def _upcast(tensors: Mapping[str, Array]) -> dict[str, Array]:
    return {name: np.asarray(array, np.float64) for name, array in tensors.items()}
