"""Training mode and eval mode are two functions; precise statistics bring them together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import rms
from striate.claims.training import Material, Plan, fresh, material, seeds_text, train
from striate.graph import Network, reference
from striate.ops import Array
from striate.probe import recalibrate

NOTATION = "8C3s2-BN-R-16C3s2-BN-R-32C3-BN-R-GAP-10"
BATCH = 250
Recalibrate = Callable[[Network, Array], Network]


def measure(recalibrate: Recalibrate = recalibrate, *, full: bool = False) -> Finding:
    """`recalibrate` replaces a network's running statistics by those of the images given."""
    seeds = range(3) if full else range(1)
    data = material(5000 if full else 2000)
    plan = Plan(rate=0.4, batch=16, epochs=1)
    gaps, accuracies = [], []
    for seed in seeds:
        net = train(fresh(NOTATION, seed), data, plan, seed).network
        mended = recalibrate(net, data.train)
        gaps.append((gap(net, data.train), gap(mended, data.train)))
        accuracies.append((accuracy(net, data, training=True), accuracy(net, data), accuracy(mended, data)))
    before, after = np.mean(gaps, axis=0)
    in_training, running, precise = 100 * np.mean(accuracies, axis=0)
    return Finding(
        bool(after < before / 100),
        f"scores in eval mode differ from those in training mode by {before:.1e} of their RMS with running averages, "
        f"by {after:.1e} with precise statistics ({seeds_text(len(seeds))}); test accuracy {in_training:.1f} % in "
        f"training mode, {running:.1f} % in eval mode, {precise:.1f} % after",
        {"gaps": np.array(gaps), "accuracies": np.array(accuracies)},
    )


def gap(net: Network, x: Array) -> float:
    """RMS of the difference of scores between training mode, `x` as one batch, and eval mode, relative to their RMS."""
    in_training, in_eval = (reference.run(net, x, training=training)[net.output] for training in (True, False))
    return rms(in_training - in_eval) / rms(in_training)


def accuracy(net: Network, data: Material, *, training: bool = False) -> float:
    """Share of 1,000 test images right, in batches of 250."""
    batches = np.split(data.test[:1000], 1000 // BATCH)
    scores = np.concatenate([reference.run(net, x, training=training)[net.output] for x in batches])
    return float((scores.argmax(axis=1) == data.test_labels[:1000]).mean())


CLAIM = Claim(
    number=25,
    title="Against batch normalisation: training and test differ",
    statement="Batch normalisation is one function in training and another at test time; an implementation must keep "
    "the two apart.",
    formula="training: statistics of the batch      test: running averages      precise: statistics of the training "
    "set",
    method=f"`{NOTATION}` is trained for one epoch at a high rate in batches of 16, so that its running averages are "
    "those of weights long gone and of small batches. The training images are given to it in both modes, as one "
    "batch, so that no chance of small batches blurs the training mode. Then every mean and variance is measured anew "
    "over the training images, layer after layer, each behind layers already mended (Wu & Johnson 2021, "
    "arXiv:2105.07576; `striate recalibrate` does it), and nothing else is changed.",
    expected="precise statistics take away at least 99 % of the difference between the modes",
    run=measure,
    quick=False,
    caption="Left: difference between the scores of the two modes, as a share of their RMS. Right: test accuracy. "
    "One dot a seed.",
)
