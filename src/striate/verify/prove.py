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
from functools import partial

import numpy as np

from striate.errors import ProofError
from striate.graph import INPUT, Network, infer_shapes
from striate.graph.reference import run
from striate.ops import Array
from striate.verify.bound import Rounding, error_bounds, propagate, walk
from striate.verify.inputs import BATCH_SIZES, Cases
from striate.verify.proof import Decisions, Proof, Worst
from striate.verify.tally import Squares, Tally, scale_of, worst_of
from striate.verify.tolerance import ALGEBRA, FLOAT32_UNIT, FLOAT64_UNIT

Engine = Callable[[Array], Mapping[str, Array]]
"""Runs a float32 network on a float32 batch and returns its tensors by name."""
Serve = Callable[[Array], Array]
"""Runs a float32 network on a float32 batch and returns its result."""
Tell = Callable[[int, int], None]
"""Told how many inputs of how many are done."""


def silent(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """One tensor by its name in the original and in the rewritten network."""

    before: str
    after: str


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Inputs (N, C, H, W), their names, and the tensors of the original in float64 and of both float32 networks."""

    names: tuple[str, ...]
    x: Array
    exact: Mapping[str, Array]
    before32: Mapping[str, Array]
    after32: Mapping[str, Array]
    served: Array | None


def prove(
    original: Network,
    rewritten: Network,
    shipped: Engine,
    original32: Engine,
    cases: Cases,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    tell: Tell = silent,
    served: Serve | None = None,
) -> Proof:
    """Compare `rewritten` and its shipped float32 form with `original` on `cases`.

    original, rewritten: weights in float64, the rewritten ones before rounding to float32
    shipped, original32: the two float32 networks run by the same engine, giving every tensor that both networks
        have (of the same names) and the result
    tell: told after each batch how many inputs of how many are done
    served: the shipped network run as it will be, with every fusion that giving out all tensors prevents: its result
        is compared too, and the decisions are its
    Returns a proof, which may be a refutation.  Raises: ProofError if an engine leaves out a tensor.
    """
    comparison = _Comparison(original, rewritten, _pairs(original, rewritten))
    done = 0
    for names, images in cases.batches(batch_sizes):
        x = np.asarray(images, np.float32)
        comparison.add(names, x, original32(x), shipped(x), served(x) if served else None)
        done += len(names)
        tell(done, len(cases.names))
    return Proof(
        network=original.name,
        inputs=dict(Counter(cases.kinds)),
        batch_sizes=tuple(batch_sizes),
        layers=tuple(tally.result() for tally in comparison.tallies.values()),
        end_to_end=comparison.end_to_end,
        served_error=comparison.served.root_mean() if served else None,
        decisions=comparison.decisions,
    )


class _Comparison:
    """What has been compared so far."""

    def __init__(self, original: Network, rewritten: Network, pairs: Sequence[_Pair]) -> None:
        self.original, self.rewritten, self.pairs = original, rewritten, pairs
        kinds = {node.name: node.op.kind for node in original}
        self.tallies = {pair: Tally(pair.before, kinds[pair.before], pair is pairs[-1]) for pair in pairs}
        self.end_to_end = Worst()
        self.served = Squares()
        self.decisions = Decisions()

    def add(
        self,
        names: Sequence[str],
        x: Array,
        before32: Mapping[str, Array],
        after32: Mapping[str, Array],
        served: Array | None,
    ) -> None:
        """Compare on one batch."""
        x64 = x.astype(np.float64)
        batch = _Batch(tuple(names), x64, run(self.original, x64), before32, after32, served)
        if self._fits(batch):
            self._rounding_before(batch)
            self._compare(batch)

    def _fits(self, batch: _Batch) -> bool:
        """Whether every tensor of the batch can be compared at all."""
        shapes = infer_shapes(self.rewritten)
        fits = True
        for pair, tally in self.tallies.items():
            got = {
                "the original in float32": _tensor(batch.before32, pair.before, "original"),
                "the shipped network": _tensor(batch.after32, pair.after, "shipped"),
            }
            fits = tally.fits(batch.exact[pair.before], shapes[pair.after], batch.names, **got) and fits
        return fits

    def _rounding_before(self, batch: _Batch) -> None:
        """Part 2: what each layer of the original adds in float32."""
        known = {INPUT: batch.x, **{pair.before: batch.before32[pair.before] for pair in self.pairs}}
        tallies = {pair.before: tally for pair, tally in self.tallies.items()}
        for name, values, _ in walk(self.original, known):
            if name in tallies:
                made = batch.before32[name] - values
                tallies[name].rounding_before.add(made, scale_of(batch.exact[name]))

    def _compare(self, batch: _Batch) -> None:
        """All three parts, layer by layer of the rewritten network.

        Three walks go side by side: from the input, from the original's tensors, from the shipped float32 ones. None
        holds more than what is still to be read.
        """
        # Of the pairs, the one of results comes first here: where it shares a tensor with another, that one holds.
        exactly = {INPUT: batch.x, **{pair.after: batch.exact[pair.before] for pair in reversed(self.pairs)}}
        shipped = {INPUT: batch.x, **{pair.after: batch.after32[pair.after] for pair in self.pairs}}
        walks = zip(
            walk(self.rewritten, {INPUT: batch.x}, [Rounding(FLOAT32_UNIT, give_up=True)]),
            walk(self.rewritten, exactly),
            walk(self.rewritten, shipped, [Rounding(FLOAT32_UNIT), Rounding(0.0, FLOAT32_UNIT)]),
            strict=True,
        )
        for (name, from_input, (running,)), (_, from_exact, _), (_, from_shipped, (bound, one_ulp)) in walks:
            for pair in (pair for pair in self.pairs if pair.after == name):
                tally, want = self.tallies[pair], batch.exact[pair.before]
                after, scale = batch.after32[name], scale_of(want)
                made = after - from_shipped
                tally.compare_algebra(want, from_exact, scale, batch.names, partial(self._uncertainty, batch, pair))
                tally.compare_errors(want, batch.before32[pair.before], after, running, batch.names)
                tally.compare_rounding(scale, made, one_ulp)
                tally.compare_bound(made, bound, batch.names)
                if pair is self.pairs[-1]:
                    self._compare_results(batch, from_input, running)

    def _compare_results(self, batch: _Batch, got: Array, running: Array) -> None:
        """Part 1 from input to output, and part 3."""
        last = self.pairs[-1]
        want = batch.exact[last.before]
        scale, difference = scale_of(want), np.abs(got - want)
        self.end_to_end = worst_of(difference / scale, batch.names, self.end_to_end)
        if not (difference <= ALGEBRA * scale).all():
            self._result_beyond_tolerance(batch.x, difference)
        answer = batch.after32[last.after] if batch.served is None else batch.served
        self.served.add(answer - want, scale)
        self.decisions = _decide(self.decisions, want, batch.before32[last.before], answer, running)

    def _result_beyond_tolerance(self, x64: Array, difference: Array) -> None:
        """An ill-conditioned network amplifies float64's own rounding: then its running bound decides."""
        allowed = (
            error_bounds(self.original, x64, FLOAT64_UNIT)[self.original.output]
            + error_bounds(self.rewritten, x64, FLOAT64_UNIT)[self.rewritten.output]
        )
        if not (difference <= allowed).all():
            last = self.tallies[self.pairs[-1]]
            last.broken = last.broken or "algebra: the results differ in float64 though every layer agrees"

    def _uncertainty(self, batch: _Batch, pair: _Pair) -> Array:
        """Part 1: how well float64 knows one layer's difference, both computed from the original's tensors."""
        exact = {p.before: batch.exact[p.before] for p in self.pairs}
        before = propagate(self.original, {INPUT: batch.x, **exact}, FLOAT64_UNIT)[1][pair.before]
        exact = {p.after: batch.exact[p.before] for p in reversed(self.pairs)}
        after = propagate(self.rewritten, {INPUT: batch.x, **exact}, FLOAT64_UNIT)[1][pair.after]
        bound: Array = before + after
        return bound


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
