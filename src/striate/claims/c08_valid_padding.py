"""Without padding maps shrink by the kernel less one."""

from __future__ import annotations

from striate.claims.claim import Claim, Finding
from striate.claims.sizes import Formula, disagreements, in_words
from striate.geometry import Window


def out_size(in_size: int, kernel: int, padding: int, stride: int) -> int:
    """Striate's own answer, the arithmetic that everything else here uses."""
    return Window(kernel, stride, pad_lo=padding, pad_hi=padding).out_size(in_size)


def measure(formula: Formula = out_size) -> Finding:
    """`formula` states the output size."""
    settings = [(h, k, 0, 1) for h in range(1, 33) for k in range(1, h + 1)]
    written = sum(formula(*setting) != setting[0] - setting[1] + 1 for setting in settings)
    wrong = disagreements(formula, settings)
    return Finding(
        not wrong and written == 0,
        f"{in_words(len(settings), wrong)}; with the written formula in {written}",
    )


CLAIM = Claim(
    number=8,
    title="Valid padding: maps shrink",
    statement="Without padding H_out = H_in − H_K + 1, likewise for the width: maps shrink.",
    formula="H_out = H_in − H_K + 1",
    method="Every kernel that fits into every input of 1 to 32 px; the size is compared with the shape of torch's "
    "own output and with the formula. A 3 × 3 kernel takes a pixel off each side at each layer: 13 layers are all "
    "that an image of 28 px can bear, which is why networks pad.",
    expected="no disagreement in any setting",
    run=measure,
)
