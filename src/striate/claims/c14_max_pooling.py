"""Max-pooling damps small shifts; the stride, not the pooling, makes maps smaller."""

from __future__ import annotations

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import rms
from striate.claims.training import Material, Plan, Trained, fresh, material, seeds_text, train
from striate.geometry import Window
from striate.graph import reference
from striate.ops import Array, MaxPool

POOLED = "12C3-R-MP2-16C3-R-MP2-F-10"
STRIDED = "12C3s2-R-16C3s2-R-F-10"
SHIFTS = ((0, 1), (0, -1), (1, 0), (-1, 0))
LOOKED_AT = 300


def measure(pooled: str = POOLED, strided: str = STRIDED, *, full: bool = False) -> Finding:
    """`pooled` and `strided` are notations of two networks that differ in how they make maps smaller."""
    seeds = range(3) if full else range(1)
    data = material(5000 if full else 1500, full=full)
    plan = Plan(rate=0.05, epochs=6 if full else 2)
    change, kept, accuracy = (np.empty((2, len(seeds))) for _ in range(3))
    for k, notation in enumerate((pooled, strided)):
        for seed in seeds:
            done = train(fresh(notation, seed), data, plan, seed)
            change[k, seed], kept[k, seed] = response(done, data)
            accuracy[k, seed] = done.test_accuracy
    sizes = {
        stride: MaxPool((Window(3, stride, pad_lo=1, pad_hi=1),) * 2).out_shape((1, 28, 28))[1] for stride in (1, 2)
    }
    means = change.mean(axis=1)
    return Finding(
        bool(means[0] < means[1] and sizes[1] == 28),
        f"stride-1 pooling gives {sizes[1]} px from 28, stride 2 {sizes[2]}; after a shift of 1 px the last maps "
        f"change by {means[0]:.2f} of their RMS with max-pooling, {means[1]:.2f} with strided convolutions "
        f"({seeds_text(len(seeds))}, ranges {_range(change[0])} and {_range(change[1])}); decisions kept "
        f"{100 * kept[0].mean():.1f} % and {100 * kept[1].mean():.1f} %; test accuracy {100 * accuracy[0].mean():.1f} "
        f"% and {100 * accuracy[1].mean():.1f} %",
        {"change": change, "kept": kept},
    )


def response(done: Trained, data: Material) -> tuple[float, float]:
    """Relative change of the maps that are flattened, and share of decisions kept, over shifts of one pixel."""
    net, x = done.network, data.test[:LOOKED_AT]
    features = next(node.inputs[0] for node in net if node.op.kind == "flatten")
    before = reference.run(net, x)
    changes, kept = [], []
    for down, right in SHIFTS:
        after = reference.run(net, _rolled(x, down, right))
        changes.append(rms(after[features] - before[features]) / rms(before[features]))
        kept.append((after[net.output].argmax(axis=1) == before[net.output].argmax(axis=1)).mean())
    return float(np.mean(changes)), float(np.mean(kept))


def _rolled(x: Array, down: int, right: int) -> Array:
    """Moved by a pixel with the border repeated: what comes in is what was there."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    return padded[..., 1 - down : 29 - down, 1 - right : 29 - right]


def _range(values: Array) -> str:
    return f"{values.min():.2f} to {values.max():.2f}"


CLAIM = Claim(
    number=14,
    title="Max-pooling damps small shifts",
    statement="Max-pooling is invariant to small shifts; downsampling comes from the stride, not from pooling.",
    formula="y[c, i, j] = max of x[c, S i + u, S j + v],  0 ≤ u, v < K      (S = 1: the size stays)",
    method=f"`{POOLED}` and `{STRIDED}` are trained alike. Real test images are moved by one pixel in four "
    "directions, and the change of the maps that reach the classifier is measured. 'Invariant' is a matter of "
    "degree: the maximum of a window survives while it stays in the window, so the response changes less, but it "
    "does change; and because the window moves in steps of its stride, it still aliases (Zhang 2019, "
    "arXiv:1904.11486).",
    expected="pooling with stride 1 keeps the size; the max-pooled maps change less than the strided ones",
    run=measure,
    quick=False,
    caption="Change of the last maps when the image moves by one pixel, as a share of their RMS, and the share of "
    "decisions that stay: one dot a seed.",
)
