"""A proof as a value: what was compared, on which inputs, and how far apart it was at worst."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from striate.errors import ProofError
from striate.verify.tolerance import result_allowed


class Value(BaseModel):
    """A frozen record that becomes JSON and comes back, and accepts no field it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Worst(Value):
    """The largest value of a measure, and the input on which it occurred."""

    value: float = 0.0
    case: str = ""


class LayerProof(Value):
    """What was found at one tensor that both networks have.

    Differences and errors are in units of each image's scale, the largest magnitude in its tensor; means are root
    mean squares over all values and images.

    algebra: largest difference in float64, both computed from the same inputs
    algebra_of_allowed: the same as a share of what is allowed: `ALGEBRA`, or float64's own rounding if larger
    rounding_before, rounding_after: mean float32 error made in this layer alone, in the original and as shipped
    rounding_allowed: what the latter may be: `ROUNDING_FACTOR` times the former and `ROUNDING_ULPS`
    error_before, error_after: mean float32 error since the network's input
    of_bound: largest float32 error made in this layer alone, as a share of the a-priori bound
    of_running_bound: the same for the error since the input
    fault: why the layer fails; empty if it does not
    """

    name: str
    kind: str
    algebra: Worst
    algebra_of_allowed: float
    rounding_before: float
    rounding_after: float
    rounding_allowed: float
    error_before: float
    error_after: float
    of_bound: Worst
    of_running_bound: Worst
    fault: str = ""


class Decisions(Value):
    """The top class of the shipped float32 network against that of the original in float64.

    certain: inputs whose float64 margin is at least twice the bound, so that no rounding can flip them
    flips: inputs with another top class; flips_before: the same for the original network in float32
    unexplained: flips of certain inputs, each a fault
    smallest_margin: over the inputs, between the top two classes in float64
    largest_error: over the inputs, of a class score of the shipped network; a flip needs half a margin of it
    """

    inputs: int = 0
    certain: int = 0
    flips: int = 0
    flips_before: int = 0
    unexplained: int = 0
    smallest_margin: float = 0.0
    largest_error: float = 0.0


class Proof(Value):
    """Whether a shipped network is the one that was trained.

    inputs: how many of each kind; batch_sizes: those they were run in
    layers: every tensor that both networks have, in the original's order; the last is the result
    end_to_end: |difference| of the results in float64, from input to output, over the largest value
    served_error: mean float32 error of the result as the engine serves it, all fusions on; None where not measured
    """

    network: str
    inputs: dict[str, int]
    batch_sizes: tuple[int, ...]
    layers: tuple[LayerProof, ...]
    end_to_end: Worst
    served_error: float | None = None
    decisions: Decisions

    @property
    def fault(self) -> str:
        """The first fault from the input on, with its layer; empty if there is none."""
        for layer in self.layers:
            if layer.fault:
                return f"{layer.name}: {layer.fault}"
        result = self.layers[-1]
        if self.served_error is not None and not self.served_error <= result_allowed(result.error_before):
            return (
                f"{result.name}: as the engine serves it, the float32 error is {self.served_error:.1e} of its scale, "
                f"and was {result.error_before:.1e} in the original"
            )
        if self.decisions.unexplained:
            return f"{result.name}: {self.decisions.unexplained} top classes flip that no rounding explains"
        return ""

    @property
    def verdict(self) -> str:
        """`proved` or `refuted`."""
        return "refuted" if self.fault else "proved"

    def to_json(self) -> str:
        """The proof as JSON text."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> Proof:
        """The proof that `to_json` wrote.  Raises: pydantic.ValidationError, a ValueError, on anything else."""
        return cls.model_validate_json(text)

    def lines(self) -> tuple[str, ...]:
        """A short table for a person."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.inputs.items())
        head = f"{self.verdict} on {sum(self.inputs.values())} inputs: {kinds}"
        if self.fault:
            return head, f"  {'fault':<10} {self.fault}"
        algebra = max(self.layers, key=lambda layer: layer.algebra.value)
        grown = max(self.layers, key=_used)
        bound = max(self.layers, key=lambda layer: layer.of_bound.value)
        result, d = self.layers[-1], self.decisions
        served = "" if self.served_error is None else f", {self.served_error:.1e} as served"
        table = {
            "algebra": f"in float64 {len(self.layers)} layers differ by at most {algebra.algebra.value:.1e} of their "
            f"scale ({algebra.name}), the result by {self.end_to_end.value:.1e}",
            "rounding": f"float32 error of the result {result.error_before:.1e} before, {result.error_after:.1e} "
            f"after{served}; a layer uses at most {_used(grown):.0%} of its allowance",
            "bound": f"a layer reaches at most {bound.of_bound.value:.0%} of its a-priori error bound ({bound.name})",
            "decisions": f"{d.flips} top classes flip ({d.flips_before} before), {d.unexplained} unexplained; "
            f"smallest margin {d.smallest_margin:.1e}, largest error {d.largest_error:.1e}",
        }
        return head, *(f"  {part:<10} {found}" for part, found in table.items())

    def table(self, most: int | None = None) -> tuple[str, ...]:
        """A line a layer: how near it comes to each limit; with `most`, of as many layers as come nearest to one."""
        nearest = sorted(self.layers, key=_nearness, reverse=True)
        shown = [layer for layer in self.layers if most is None or layer in nearest[:most]]
        width = max(len("layer"), *(len(layer.name) for layer in shown))
        left = (
            "" if len(shown) == len(self.layers) else f", the {len(shown)} of {len(self.layers)} layers nearest to one"
        )
        head = f"shares of what is allowed, 100 % being the limit{left}:"
        columns = f"{'layer':<{width}}  {'algebra':>8}  {'rounding':>8}  {'bound':>8}  {'float32 error':>13}"
        return head, columns, *(_row(layer, width) for layer in shown)


def require(proof: Proof) -> Proof:
    """Return `proof` if it holds.  Raises: ProofError that names the first layer that fails."""
    if proof.fault:
        raise ProofError(f"{proof.network} is not the network it was made from: {proof.fault}; nothing is shipped")
    return proof


def _nearness(layer: LayerProof) -> float:
    return max(layer.algebra_of_allowed, _used(layer), layer.of_bound.value)


def _row(layer: LayerProof, width: int) -> str:
    shares = (layer.algebra_of_allowed, _used(layer), layer.of_bound.value)
    columns = "  ".join(f"{100 * value:>6.3g} %" for value in shares)
    return f"{layer.name:<{width}}  {columns}  {layer.error_after:>13.1e}{'  FAILS' if layer.fault else ''}"


def _used(layer: LayerProof) -> float:
    return layer.rounding_after / layer.rounding_allowed
