"""Collecting, batch by batch, the worst that was seen at one tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from striate.ops import Array, Shape
from striate.verify.proof import LayerProof, Worst
from striate.verify.tolerance import (
    ALGEBRA,
    FLOAT32_UNIT,
    ROUNDING_FACTOR,
    ROUNDING_ULPS,
    SMALLEST_SCALE,
    result_allowed,
)


def worst_of(values: Array, names: Sequence[str], so_far: Worst) -> Worst:
    """The larger of `so_far` and the largest of `values` (N, ...), with the name of its image.

    A value that is no number counts as infinite.
    """
    by_image = values.reshape(len(values), -1).max(axis=1)
    by_image = np.where(np.isnan(by_image), np.inf, by_image)
    at = int(by_image.argmax())
    return Worst(value=float(by_image[at]), case=names[at]) if by_image[at] > so_far.value else so_far


def scale_of(values: Array) -> Array:
    """The largest magnitude of each image's tensor, kept broadcastable: (N, 1, ...)."""
    largest: Array = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True, initial=SMALLEST_SCALE)
    return largest


def share(part: Array, whole: Array) -> Array:
    """part / whole, where 0 / 0 is 0 and x / 0 infinite; a bound that is infinite allows everything."""
    with np.errstate(divide="ignore"):
        ratio: Array = np.divide(part, whole, out=np.zeros(part.shape), where=part != 0)
    return ratio


@dataclass(slots=True)
class Squares:
    """A root mean square that grows."""

    total: float = 0.0
    count: int = 0

    def add(self, values: Array, scale: Array | None = None) -> None:
        """Take in more values (N, ...), in units of each image's `scale` (N, 1, ...)."""
        flat = values.reshape(len(values), -1)
        sums = np.einsum("nv,nv->n", flat, flat)
        self.total += float((sums if scale is None else sums / np.square(scale.reshape(-1))).sum())
        self.count += values.size

    def root_mean(self) -> float:
        """sqrt of the mean of the squares so far."""
        return float(np.sqrt(self.total / max(1, self.count)))


@dataclass(slots=True)
class Tally:
    """All that has been seen at the tensor `name`; the fields are those of `LayerProof`."""

    name: str
    kind: str
    is_result: bool
    algebra: Worst = field(default_factory=Worst)
    algebra_of_allowed: Worst = field(default_factory=Worst)
    rounding_before: Squares = field(default_factory=Squares)
    rounding_after: Squares = field(default_factory=Squares)
    forgiven: Squares = field(default_factory=Squares)
    error_before: Squares = field(default_factory=Squares)
    error_after: Squares = field(default_factory=Squares)
    of_bound: Worst = field(default_factory=Worst)
    of_running_bound: Worst = field(default_factory=Worst)
    broken: str = ""

    def fits(self, want: Array, rewritten: Shape, names: Sequence[str], **got: Array) -> bool:
        """Whether all arrays have the shape of `want` and are finite; remembers the first that is not."""
        if rewritten != want.shape[1:]:
            self.broken = self.broken or (
                f"the rewritten network in float64 has shape {rewritten} instead of {want.shape[1:]}"
            )
        for what, array in {"the original in float64": want, **got}.items():
            if array.shape != want.shape:
                self.broken = self.broken or f"{what} has shape {array.shape[1:]} instead of {want.shape[1:]}"
            elif not np.isfinite(array).all():
                image = int(np.argmin(np.isfinite(array).reshape(len(array), -1).all(axis=1)))
                self.broken = self.broken or f"{what} gives values that are not finite on {names[image]}"
        return not self.broken

    def compare_algebra(
        self, want: Array, got: Array, scale: Array, names: Sequence[str], uncertainty: Callable[[], Array]
    ) -> None:
        """Original against rewritten, both in float64 from the same inputs.

        scale: of `want`; uncertainty: how well float64 itself knows the difference, asked where it matters.
        """
        difference = np.abs(got - want)
        of_scale = worst_of(difference / scale, names, Worst())
        of_allowed = Worst(value=of_scale.value / ALGEBRA, case=of_scale.case)
        if of_scale.value > ALGEBRA:
            allowed = np.maximum(ALGEBRA * scale, uncertainty())
            of_allowed = worst_of(share(difference, allowed), names, Worst())
        self.algebra = max(self.algebra, of_scale, key=_value)
        self.algebra_of_allowed = max(self.algebra_of_allowed, of_allowed, key=_value)

    def compare_rounding(self, scale: Array, made_after: Array, one_ulp: Array) -> None:
        """The error that the layer itself makes as shipped; one_ulp: a rounding of its inputs, carried through."""
        self.rounding_after.add(made_after, scale)
        self.forgiven.add(ROUNDING_ULPS * (one_ulp / scale + FLOAT32_UNIT))

    def compare_bound(self, made_after: Array, bound: Array, names: Sequence[str]) -> None:
        """The error that the layer itself makes in the shipped network, and the most that rounding can make."""
        self.of_bound = worst_of(share(np.abs(made_after), bound), names, self.of_bound)

    def compare_errors(self, want: Array, before: Array, after: Array, bound: Array, names: Sequence[str]) -> None:
        """The errors since the input, and the most that rounding can make since there."""
        scale, error = scale_of(want), after - want
        self.error_before.add(before - want, scale)
        self.error_after.add(error, scale)
        if np.isfinite(bound.flat[0]):  # given up otherwise
            self.of_running_bound = worst_of(share(np.abs(error), bound), names, self.of_running_bound)

    def rounding_allowed(self) -> float:
        """What the layer may add in the shipped network, given what it adds in the original."""
        return ROUNDING_FACTOR * self.rounding_before.root_mean() + self.forgiven.root_mean()

    def fault(self) -> str:
        """Why the layer fails, the most telling reason first; empty if it does not."""
        if self.broken:
            return self.broken
        if self.algebra_of_allowed.value > 1:
            return (
                f"algebra: differs in float64 by up to {self.algebra.value:.1e} of its scale ({self.algebra.case}), "
                f"{self.algebra_of_allowed.value:.1e} times what rounding explains"
            )
        return self._made_here() or self._made_since_the_input()

    def _made_here(self) -> str:
        before, after = self.rounding_before.root_mean(), self.rounding_after.root_mean()
        if self.of_bound.value > 1:
            return f"rounding: float32 error is {self.of_bound.value:.1f} times its bound ({self.of_bound.case})"
        if after > self.rounding_allowed():
            return f"rounding: float32 error grew from {before:.1e} to {after:.1e} of its scale"
        return ""

    def _made_since_the_input(self) -> str:
        before, after = self.error_before.root_mean(), self.error_after.root_mean()
        if self.of_running_bound.value > 1:
            return f"rounding: float32 error since the input is {self.of_running_bound.value:.1f} times its bound"
        if self.is_result and after > result_allowed(before):
            return f"rounding: float32 error of the result grew from {before:.1e} to {after:.1e} of its scale"
        return ""

    def result(self) -> LayerProof:
        """The finished record."""
        return LayerProof(
            name=self.name,
            kind=self.kind,
            algebra=self.algebra,
            algebra_of_allowed=self.algebra_of_allowed.value,
            rounding_before=self.rounding_before.root_mean(),
            rounding_after=self.rounding_after.root_mean(),
            rounding_allowed=self.rounding_allowed(),
            error_before=self.error_before.root_mean(),
            error_after=self.error_after.root_mean(),
            of_bound=self.of_bound,
            of_running_bound=self.of_running_bound,
            fault=self.fault(),
        )


def _value(worst: Worst) -> float:
    return worst.value
