"""At small batches the statistics of a batch are noise, and batch normalisation suffers."""

from __future__ import annotations

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.training import GROUPS, Norm, Plan, fresh, material, seeds_text, train

NOTATION = "8C3s2-BN-R-16C3s2-BN-R-32C3-BN-R-GAP-10"
RATE_AN_IMAGE = 0.1 / 64
NORMS: tuple[Norm, Norm] = ("batch", "group")


def measure(suffers: Norm = NORMS[0], peer: Norm = NORMS[1], *, full: bool = False) -> Finding:
    """`suffers` is the normalisation that is said to lose accuracy at small batches, `peer` the one that is not."""
    sizes = (1, 2, 4, 8, 16, 32, 64, 128) if full else (2, 16)
    seeds = range(3) if full else range(1)
    data = material(5000 if full else 1500, full=full)
    accuracy = np.empty((2, len(sizes), len(seeds)))
    for (k, b, seed), _ in np.ndenumerate(accuracy):
        plan = Plan(RATE_AN_IMAGE * sizes[b], batch=sizes[b], epochs=3, norm=(suffers, peer)[k])
        accuracy[k, b, seed] = train(fresh(NOTATION, seed), data, plan, seed).test_accuracy
    means = 100 * accuracy.mean(axis=2)
    lost = means.max(axis=1) - means[:, 0]
    curves = "; ".join(
        f"{name} " + ", ".join(f"{size}: {m:.1f}" for size, m in zip(sizes, row, strict=True))
        for name, row in zip(("BN", "GroupNorm"), means, strict=True)
    )
    return Finding(
        bool(lost[0] > lost[1] + 5),
        f"test accuracy in % by batch size ({seeds_text(len(seeds))}): {curves}. From its best to batch {sizes[0]} BN "
        f"loses {lost[0]:.1f} points, GroupNorm {lost[1]:.1f}",
        {"sizes": sizes, "BN": accuracy[0], "GroupNorm": accuracy[1]},
    )


CLAIM = Claim(
    number=24,
    title="Against batch normalisation: micro-batches",
    statement="At small batches the statistics are noisy, and batch normalisation loses accuracy.",
    formula="standard error of a channel's mean ≈ σ / √(effective n),   n ≤ B H W, and near B where maps are smooth",
    method=f"`{NOTATION}` is trained with batches of one size each, all for three epochs and with a rate in "
    f"proportion to the batch. Its peer has GroupNorm of {GROUPS} groups with the same γ and β in place of BN, which "
    "normalises each image by itself and so does not know what a batch is (Wu & He 2018, arXiv:1803.08494).",
    expected="from its best batch size to the smallest, BN loses at least 5 points more than GroupNorm",
    run=measure,
    quick=False,
    caption="Test accuracy against batch size, mean and range over seeds.",
)
