"""The floor in the output size, and the rows that it drops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from striate.claims.c08_valid_padding import out_size
from striate.claims.claim import Claim, Finding
from striate.claims.instruments import images
from striate.claims.sizes import Formula, disagreements, in_words
from striate.geometry import Sight, Window
from striate.ops import Conv

Dropped = Callable[[Window, int], tuple[int, ...]]
EXAMPLE = Window(3, stride=4)  # on 28 px: windows start at 0, 4 .. 24, the last ends at 26


def dropped_rows(window: Window, in_size: int) -> tuple[int, ...]:
    """The pixels that no window reads, from the exact index map."""
    return Sight.of_image(in_size).through(window).unread()


def measure(formula: Formula = out_size, dropped: Dropped = dropped_rows) -> Finding:
    """`formula` states the output size, `dropped` the pixels on an axis of a given size that no window reads."""
    settings = [
        (h, k, p, s) for h in range(1, 21) for k in range(1, 7) for p in range(4) for s in range(1, 6) if k <= h + 2 * p
    ]
    wrong = disagreements(formula, settings)
    named, misnamed = 0, 0
    for h, k, p, s in settings:
        window = Window(k, s, pad_lo=p, pad_hi=p)
        silent = rows_without_gradient(window, h)
        named += bool(silent)
        misnamed += dropped(window, h) != silent
    return Finding(
        not wrong and misnamed == 0,
        f"{in_words(len(settings), wrong)}; {named:,} of them leave rows unread, and the rows named differ from those "
        f"that no gradient reaches in {misnamed}",
        {"image": images(10)[8, 0], "window": EXAMPLE, "dropped": dropped(EXAMPLE, 28)},
    )


def rows_without_gradient(window: Window, in_size: int) -> tuple[int, ...]:
    """The rows whose pixels have no influence: the gradient of the sum of all outputs, all weights 1, is 0 there."""
    conv = Conv(1, 1, (window, Window(1)), bias=False)
    x = np.ones((1, 1, in_size, 1))
    weights = {"weight": np.ones((1, 1, window.kernel, 1))}
    y = conv.forward([x], weights)
    (gradient,), _ = conv.backward(np.ones_like(y), [x], y, weights)
    return tuple(int(row) for row in np.flatnonzero(gradient[0, 0, :, 0] == 0))


CLAIM = Claim(
    number=10,
    title="Stride: the floor drops rows",
    statement="With stride S, H_out = floor((H_in − H_K + 2P)/S) + 1. The floor can drop rows, and they can be named.",
    formula="H_out = ⌊(H_in − H_K + 2P) / S⌋ + 1",
    method="Every input of 1 to 20 px with kernels of 1 to 6, paddings of 0 to 3 and strides of 1 to 5, against the "
    "shape of torch's own output. The rows that no window reads, by the exact index map, are compared with the rows "
    "that no gradient reaches. A window shorter than its stride also leaves gaps between windows.",
    expected="no disagreement in size; the rows named are exactly those without gradient",
    run=measure,
    caption="A bag of 28 rows under windows of 3 rows with stride 4: seven windows fit, and the hatched rows are never "
    "read. The last one is what the floor dropped; the others lie between windows.",
)
