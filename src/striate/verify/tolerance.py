"""Every tolerance of a proof, once, with its reason."""

from __future__ import annotations

ALGEBRA = 1e-12
"""Two float64 evaluations of one function, relative to the largest value of the tensor: 4,500 units of float64's
roundoff 2^-53, which the sums of a layer stay far below, and a hundred times less than any fault in a weight
that float32 (6e-8) could show."""

ROUNDING_FACTOR = 4.0
"""How many times larger a layer's float32 error may become by rewriting: folding rounds each weight once more, which
is of the size of one rounding of the products; a factor 2 from luck, a factor 2 to spare."""

RESULT_FACTOR = 32.0
"""The same for the error of the result since the input: an original may round almost exactly by luck on the few
values of a small network; the largest ratio among 1,000 correct proofs of random networks was 13."""

ROUNDING_ULPS = 4.0
"""Roundings of a layer's own inputs and result that are forgiven where the original happened to make none."""

FLOAT32_UNIT = 2.0**-24
FLOAT64_UNIT = 2.0**-53
"""Unit roundoff: the largest relative error of one operation."""

REFERENCE_SLACK = 2.0**-20
"""Bounds are themselves computed in float64 and compared with a float64 reference: both are good to n 2^-53
of the bound, far below this for every n up to 2^30."""

UNDERFLOW = 2.0**-100
"""Absolute error that underflow may add to one layer: a term below 2^-126 is lost whole where denormals are
flushed, and no layer adds 2^26 terms. Nothing that matters is as small."""

HOPELESS = 2.0**10
"""A bound carried from the input that is on average this many times the largest value of its tensor explains every
error and certifies no decision; each further layer would only multiply it by 10 to 100."""

SMALLEST_SCALE = UNDERFLOW / FLOAT32_UNIT
"""A tensor whose largest value is below this is compared as if that were its scale: it is zero to float32."""


def result_allowed(error_before: float) -> float:
    """What the float32 error of a result may be, in units of its scale, given the original's."""
    return RESULT_FACTOR * error_before + ROUNDING_ULPS * FLOAT32_UNIT
