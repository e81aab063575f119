"""In training an image's output depends on its batch mates: noise that regularises."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import tiny
from striate.claims.training import Material, Plan, fresh, material, seeds_text, train
from striate.graph import Network, reference
from striate.ops import Array

WITH = "12C3-BN-R-MP2-16C3-BN-R-MP2-F-10"
WITHOUT = WITH.replace("-BN", "")
COMPANIES, LOOKED_AT, MATES = 10, 20, 31
Run = Callable[[Network, Array], Array]


def run_in_training(net: Network, x: Array) -> Array:
    """The result for a batch with the statistics of the batch."""
    return reference.run(net, x, training=True)[net.output]


def measure(run: Run = run_in_training, *, full: bool = False) -> Finding:
    """`run` gives a network's result for a batch in training mode."""
    seeds = range(5) if full else range(1)
    data = material(2000 if full else 1000, full=full)
    plan = Plan(rate=0.05, epochs=20 if full else 6)
    gap, test = np.empty((2, len(seeds))), np.empty((2, len(seeds)))
    trained = []
    for (k, seed), _ in np.ndenumerate(gap):
        done = train(fresh((WITH, WITHOUT)[k], seed), data, plan, seed)
        gap[k, seed], test[k, seed] = done.train_accuracy - done.test_accuracy, done.test_accuracy
        trained.append(done.network)
    in_training, flips = spread(trained[0], data, run)
    at_test, _ = spread(trained[0], data, lambda net, x: reference.run(net, x)[net.output])
    smaller = "smaller" if gap[0].mean() < gap[1].mean() else "not smaller"
    return Finding(
        in_training > 0.01 and at_test < 1e-5,
        f"spread of an image's scores over {COMPANIES} sets of {MATES} batch mates, as a share of the scores' own: "
        f"{in_training:.2f} in training mode ({100 * flips:.0f} % of {LOOKED_AT} images change class at least once), "
        f"{tiny(at_test)} at test time. Gap between training and test accuracy over {seeds_text(len(seeds))}: "
        f"{_points(gap[0])} with BN, {_points(gap[1])} without ({smaller} here); test accuracy "
        f"{100 * test[0].mean():.1f} % and {100 * test[1].mean():.1f} %",
        {"gap": gap, "test": test},
    )


def spread(net: Network, data: Material, run: Run) -> tuple[float, float]:
    """Standard deviation of scores over companies, relative to that over images; share of images that change class."""
    rng = np.random.default_rng(23)
    scores = np.empty((COMPANIES, LOOKED_AT, 10))
    for company, image in np.ndindex(scores.shape[:2]):
        mates = data.train[rng.choice(len(data.train), MATES, replace=False)]
        scores[company, image] = run(net, np.concatenate([data.test[image : image + 1], mates]))[0]
    classes = scores.argmax(axis=2)
    changed = (classes != classes[0]).any(axis=0).mean()
    return float(scores.std(axis=0).mean() / scores.mean(axis=0).std()), float(changed)


def _points(shares: Array) -> str:
    mean = f"{100 * shares.mean():.1f}"
    return f"{mean} ± {100 * shares.std(ddof=1):.1f} points" if len(shares) > 1 else f"{mean} points"


CLAIM = Claim(
    number=23,
    title="For batch normalisation: noise that may regularise",
    statement="Training with batch normalisation is not deterministic for an image: its output depends on its batch "
    "mates, which is said to regularise.",
    formula="y_i = γ (x_i − m(x_1..x_B)) / √(v(x_1..x_B) + ε) + β",
    method=f"`{WITH}` and the same without BN are trained alike, long enough to fit the training images closely. Then "
    "20 test images are each given to the trained network in training mode among ten random sets of 31 others. The "
    "verdict is about this noise. Whether it regularises is measured as the gap between training and test accuracy, "
    "and reported as found. The two are compared at equal epochs, not at equal fit: a network that has fitted its "
    "training images more closely has more of a gap to show.",
    expected="spread in training mode above 0.01 of the scores' own, at test time none; the gap is reported",
    run=measure,
    quick=False,
    caption="Training accuracy less test accuracy (left), and test accuracy (right): one dot a seed.",
)
