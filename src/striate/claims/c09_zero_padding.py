"""Padding adds to the size; half the kernel less one keeps it."""

from __future__ import annotations

from striate.claims.c08_valid_padding import out_size
from striate.claims.claim import Claim, Finding
from striate.claims.sizes import Formula, disagreements, in_words


def measure(formula: Formula = out_size) -> Finding:
    """`formula` states the output size."""
    settings = [(h, k, p, 1) for h in range(1, 25) for k in range(1, 10) for p in range(6) if k <= h + 2 * p]
    wrong = disagreements(formula, settings)
    written = sum(formula(h, k, p, s) != h - k + 1 + 2 * p for h, k, p, s in settings)
    keeping = [(h, k) for h in range(1, 65) for k in range(1, 16, 2)]
    changed = sum(formula(h, k, (k - 1) // 2, 1) != h for h, k in keeping)
    return Finding(
        not wrong and written == 0 and changed == 0,
        f"{in_words(len(settings), wrong)}; with the written formula in {written}; P = (K − 1)/2 changed the size in "
        f"{changed} of {len(keeping)} settings of odd K",
    )


CLAIM = Claim(
    number=9,
    title="Zero padding: maps keep their size",
    statement="With P zeros on each side H_out = H_in − H_K + 1 + 2P; P = (H_K − 1)/2 keeps the size.",
    formula="H_out = H_in − H_K + 1 + 2P      P = (H_K − 1)/2  ⇒  H_out = H_in",
    method="Every input of 1 to 24 px with every kernel of 1 to 9 and every padding of 0 to 5 that fits, against the "
    "shape of torch's own output. Then odd kernels up to 15 with half of themselves as padding. Even kernels have no "
    "such P: (K − 1)/2 is not a whole number, and one side must get more than the other.",
    expected="no disagreement in any setting, and no odd kernel that changes the size",
    run=measure,
)
