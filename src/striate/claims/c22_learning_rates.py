"""With batch normalisation a network trains at rates at which the plain one does not."""

from __future__ import annotations

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.training import Plan, fresh, material, seeds_text, train
from striate.ops import Array

WITH = "8C3s2-BN-R-16C3-BN-R-16C3s2-BN-R-32C3-BN-R-GAP-10"
WITHOUT = WITH.replace("-BN", "")
TRAINS = 0.5
"""Test accuracy from which a network is said to train; guessing gives 0.1."""


def measure(normalised: str = WITH, plain: str = WITHOUT, *, full: bool = False) -> Finding:
    """`normalised` and `plain` are notations of the two networks."""
    rates = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0) if full else (0.1, 0.3, 1.0, 3.0)
    seeds = range(3) if full else range(1)
    data = material(5000 if full else 2500, full=full)
    accuracy = np.empty((2, len(rates), len(seeds)))
    for (k, r, seed), _ in np.ndenumerate(accuracy):
        net = fresh((normalised, plain)[k], seed)
        accuracy[k, r, seed] = train(net, data, Plan(rates[r], epochs=3 if full else 2), seed).test_accuracy
    highest = [highest_rate(rates, of_net.mean(axis=1)) for of_net in accuracy]
    best = 100 * accuracy.mean(axis=2).max(axis=1)
    return Finding(
        highest[0] >= 3 * highest[1] > 0,
        f"highest rate that trains to {100 * TRAINS:.0f} % ({seeds_text(len(seeds))}, {len(rates)} rates from "
        f"{rates[0]:g} to {rates[-1]:g}): {highest[0]:g} with BN, {highest[1]:g} without; best accuracy {best[0]:.1f} "
        f"% and {best[1]:.1f} %",
        {"rates": rates, "with BN": accuracy[0], "without": accuracy[1]},
    )


def highest_rate(rates: tuple[float, ...], accuracy: Array) -> float:
    """The highest of `rates` whose accuracy is at least `TRAINS`; 0 if none is."""
    return max((rate for rate, share in zip(rates, accuracy, strict=True) if share >= TRAINS), default=0.0)


CLAIM = Claim(
    number=22,
    title="For batch normalisation: high learning rates",
    statement="With batch normalisation a network trains at learning rates at which the plain one diverges.",
    formula="BN(a W x) = BN(W x)  for every a > 0:  a step too long changes the scale of W, not the output",
    method=f"`{WITH}` and the same without BN are trained by SGD with momentum 0.9 from the same starting weights at "
    "rates a factor of about three apart, and tested on images that they have not seen. Both have the same few "
    "epochs, so the best accuracies compare speed, not what the networks could reach.",
    expected="the highest rate that trains to 50 % is at least three times as high with BN",
    run=measure,
    quick=False,
    caption="Test accuracy against learning rate, mean and range over seeds. The dashed line is guessing.",
)
