"""The receptive field at stride 1: linear in depth."""

from __future__ import annotations

from collections.abc import Callable

from striate.claims.claim import Claim, Finding
from striate.claims.fields import by_geometry, by_gradient, convolutions

Formula = Callable[[int, int], int]
DEPTHS = range(1, 8)


def field_size(depth: int, kernel: int) -> int:
    """r_L = L (K - 1) + 1."""
    return depth * (kernel - 1) + 1


def measure(formula: Formula = field_size) -> Finding:
    """`formula` states the field of a stack from its depth and kernel."""
    cases, wrong = 0, []
    for depth in DEPTHS:
        for kernels in ((1, 3), (3, 5), (5, 2), (4, 7)):
            net = convolutions([(kernels[0], 1)] * depth, [(kernels[1], 1)] * depth, (40, 48))
            stated = tuple(formula(depth, k) for k in kernels)
            exact, reached = by_geometry(net), by_gradient(net)
            cases += 2
            if not stated == exact == reached:
                wrong.append(f"L={depth} K={kernels}: formula {stated}, index maps {exact}, gradient {reached}")
    first = f" (first: {wrong[0]})" if wrong else ""
    growth = {k: [field_size(depth, k) for depth in DEPTHS] for k in (3, 5, 7)}
    return Finding(
        not wrong,
        f"{cases} stacks of 1 to {max(DEPTHS)} layers: formula, index maps and gradient disagree in "
        f"{len(wrong)}{first}",
        {"depths": list(DEPTHS), "growth": growth},
    )


CLAIM = Claim(
    number=11,
    title="Receptive field at stride 1: linear in depth",
    statement="At stride 1 the receptive field is r_L = L (H_K − 1) + 1: linear in depth.",
    formula="r_L = L · (H_K − 1) + 1",
    method="Stacks of 1 to 7 convolutions, with another kernel for the height than for the width. The field is taken "
    "from the formula, from the exact index map of every layer, and by marking the pixels that the gradient of one "
    "unit reaches when all weights are 1. With 3 × 3 kernels a unit needs 112 layers to see an image of 224 px.",
    expected="formula = index maps = gradient, in every stack",
    run=measure,
    caption="Field of one unit against depth at stride 1, for three kernel sizes: straight lines.",
)
