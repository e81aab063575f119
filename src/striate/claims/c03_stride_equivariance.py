"""With total stride s only shifts by multiples of s commute; the rest is aliasing."""

from __future__ import annotations

from collections.abc import Callable

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import ROUNDING, mosaic, network, shift_error, tiny
from striate.geometry import Field
from striate.graph import Network, reference
from striate.measure import views

NOTATION = "8C3s2-R-12C3-R-MP2"
REPEATS = 3  # shifts of 0 to this many strides


def total_stride(net: Network) -> int:
    """Pixels between neighbouring outputs: the product of all strides."""
    return _fields(net)[0].jump


def measure(stride_of: Callable[[Network], int] = total_stride) -> Finding:
    """`stride_of` says the total stride of a network."""
    net = network(NOTATION)
    stride = stride_of(net)
    x = mosaic()
    errors = {
        d: shift_error(lambda a: reference.output(net, a), _fields(net), x, 0, d)
        for d in range(REPEATS * total_stride(net) + 1)
    }
    on_grid = max(error for d, error in errors.items() if d % stride == 0)
    off_grid = min(error for d, error in errors.items() if d % stride)
    return Finding(
        on_grid <= ROUNDING and off_grid > 0.01,
        f"total stride {stride}; shifts 0 to {max(errors)} px: at multiples of {stride} at most {tiny(on_grid)} of the "
        f"maps' RMS, at all others at least {off_grid:.2f}",
        {"errors": errors, "stride": stride},
    )


def _fields(net: Network) -> list[Field]:
    return [axis.field or Field() for axis in views(net)[net.output]]


CLAIM = Claim(
    number=3,
    title="Stride breaks equivariance into steps",
    statement="With total stride s, only shifts by multiples of s commute; the rest is aliasing.",
    formula="f(shift_d x) = shift_(d/s) f(x)   if and only if   d mod s = 0,      s = Π S_l",
    method=f"`{NOTATION}` has a convolution of stride 2 and a pooling of stride 2: s = 4. A real image is moved by 0 "
    "to 12 px, and the maps are compared with the unmoved ones, moved by the nearest whole number of units; interior "
    "outputs only. What is left between the multiples of s is not noise: the network samples the image at other "
    "places and sees other things there.",
    expected="at multiples of s rounding only (1e-12), at every other shift more than 0.01",
    run=measure,
    caption="Error against the shift in pixels, as a share of the maps' RMS: it falls to zero at every fourth pixel.",
)
