"""The receptive field with strides: exponential in the number of strided layers."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from striate.claims.claim import Claim, Finding
from striate.claims.fields import Stack, by_geometry, by_gradient, convolutions

STACKS: tuple[Stack, ...] = (
    [(3, 1), (2, 2), (3, 1), (2, 2), (3, 1)],
    [(3, 2), (3, 2), (3, 2), (5, 1), (1, 1)],
    [(7, 2), (3, 2), (3, 1), (3, 1), (3, 2)],
    [(5, 3), (1, 1), (4, 2), (2, 1), (3, 1)],
    [(2, 1), (3, 3), (2, 2), (3, 1), (2, 1)],
)
DEPTHS = range(1, 8)


def field_size(stack: Stack) -> int:
    """r_L = 1 + sum over l of (K_l - 1) prod over j < l of S_j."""
    return 1 + sum((kernel - 1) * prod(stride for _, stride in stack[:i]) for i, (kernel, _) in enumerate(stack))


def measure(formula: Callable[[Stack], int] = field_size) -> Finding:
    """`formula` states the field of a stack of (kernel, stride)."""
    wrong = []
    for rows, columns in zip(STACKS, STACKS[1:] + STACKS[:1], strict=True):
        net = convolutions(rows, columns, (97, 89))
        stated, exact, reached = (formula(rows), formula(columns)), by_geometry(net), by_gradient(net)
        if not stated == exact == reached:
            wrong.append(f"{rows}: formula {stated[0]}, index maps {exact[0]}, gradient {reached[0]}")
    doubling = [formula([(3, 2)] * depth) for depth in DEPTHS]
    exponential = doubling == [2 ** (depth + 1) - 1 for depth in DEPTHS]
    first = f" (first: {wrong[0]})" if wrong else ""
    return Finding(
        not wrong and exponential,
        f"{2 * len(STACKS)} stacks of mixed kernels and strides: formula, index maps and gradient disagree in "
        f"{len(wrong)}{first}; 3 × 3 with stride 2: {', '.join(map(str, doubling))} px",
        {"depths": list(DEPTHS), "growth": {s: [field_size([(3, s)] * depth) for depth in DEPTHS] for s in (1, 2, 3)}},
    )


CLAIM = Claim(
    number=12,
    title="Receptive field with strides: exponential",
    statement="With strides r_L = 1 + Σ_l (H_K,l − 1) Π_(j<l) S_j: exponential in the number of strided layers.",
    formula="r_L = 1 + Σ_(l=1..L) (H_K,l − 1) · Π_(j=1..l−1) S_j",
    method="Five stacks of mixed kernels and strides, another on the height than on the width, measured by formula, by "
    "index maps and by gradient, as before. A layer's own stride does not widen its own field, only those of the "
    "layers after it. Then 3 × 3 layers of stride 2, where the formula becomes 2^(L+1) − 1.",
    expected="formula = index maps = gradient in every stack; 3, 7, 15, 31 ... for stride 2",
    run=measure,
    caption="Field of one unit against depth for 3 × 3 kernels, on a logarithmic scale. A stride of 2 or 3 makes a "
    "straight line here: exponential growth.",
)
