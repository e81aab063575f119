"""Max-pooling damps small shifts, BlurPool more; the stride, not the pooling, makes maps smaller."""

from __future__ import annotations

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import rms
from striate.claims.training import Material, Plan, Trained, fresh, material, seeds_text, train
from striate.geometry import Window
from striate.ops import Array, MaxPool
from striate.probe import consistency
from striate.probe.running import tensors

POOLED = "12C3-R-MP2-16C3-R-MP2-F-10"
STRIDED = "12C3s2-R-16C3s2-R-F-10"
BLURRED = "12C3-R-MP2s1-BP3s2-16C3-R-MP2s1-BP3s2-F-10"
NAMES = ("max-pooling", "strided convolution", "max and BlurPool")
SHIFTS = ((0, 1), (0, -1), (1, 0), (-1, 0))
FARTHER = (1, 2, 3, 4)
LOOKED_AT = 300


def measure(pooled: str = POOLED, strided: str = STRIDED, blurred: str = BLURRED, *, full: bool = False) -> Finding:
    """The three are notations of networks that differ in how they make maps smaller."""
    seeds = range(3) if full else range(1)
    data = material(5000 if full else 1500, full=full)
    plan = Plan(rate=0.05, epochs=6 if full else 2)
    change, kept, accuracy = (np.empty((3, len(seeds))) for _ in range(3))
    agreement = np.empty((3, len(FARTHER), len(seeds)))
    for k, notation in enumerate((pooled, strided, blurred)):
        for seed in seeds:
            done = train(fresh(notation, seed), data, plan, seed)
            change[k, seed], kept[k, seed] = response(done, data)
            agreement[k, :, seed] = agreements(done, data)
            accuracy[k, seed] = done.test_accuracy
    sizes = {
        stride: MaxPool((Window(3, stride, pad_lo=1, pad_hi=1),) * 2).out_shape((1, 28, 28))[1] for stride in (1, 2)
    }
    means = change.mean(axis=1)
    rows = [
        f"{name} {_with_range(change[k])}, {100 * kept[k].mean():.1f} % and {100 * accuracy[k].mean():.1f} %"
        for k, name in enumerate(NAMES)
    ]
    far = ", ".join(f"{100 * one:.1f} %" for one in agreement.mean(axis=(1, 2)))
    return Finding(
        bool(means[0] < means[1] and means[2] < means[0] and sizes[1] == 28),
        f"stride-1 pooling gives {sizes[1]} px from 28, stride 2 {sizes[2]}. After a shift of 1 px, the change of the "
        f"last maps as a share of their RMS ({seeds_text(len(seeds))}), the decisions kept, and test "
        f"accuracy: {'; '.join(rows)}. Wrapped around by {FARTHER[0]} to {FARTHER[-1]} px, decisions kept: {far}",
        {"change": change, "kept": kept, "agreement": agreement, "shifts": FARTHER, "names": NAMES},
    )


def agreements(done: Trained, data: Material) -> list[float]:
    """Share of decisions kept at each of `FARTHER`, by the circular protocol of Zhang 2019."""
    found = consistency(done.network, data.test[:LOOKED_AT], FARTHER).agreements
    return [one.share for one in found if one.protocol == "circular"]


def response(done: Trained, data: Material) -> tuple[float, float]:
    """Relative change of the maps that are flattened, and share of decisions kept, over shifts of one pixel."""
    net, x = done.network, data.test[:LOOKED_AT]
    features = next(node.inputs[0] for node in net if node.op.kind == "flatten")
    names = (features, net.output)
    before = tensors(net, x, names)
    changes, kept = [], []
    for down, right in SHIFTS:
        after = tensors(net, _rolled(x, down, right), names)
        changes.append(rms(after[features] - before[features]) / rms(before[features]))
        kept.append((after[net.output].argmax(axis=1) == before[net.output].argmax(axis=1)).mean())
    return float(np.mean(changes)), float(np.mean(kept))


def _rolled(x: Array, down: int, right: int) -> Array:
    """Moved by a pixel with the border repeated: what comes in is what was there."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    return padded[..., 1 - down : 29 - down, 1 - right : 29 - right]


def _with_range(values: Array) -> str:
    """`0.50 (0.47 to 0.55)`; the mean alone of one seed."""
    spread = f" ({values.min():.2f} to {values.max():.2f})" if len(values) > 1 else ""
    return f"{values.mean():.2f}{spread}"


CLAIM = Claim(
    number=14,
    title="Max-pooling damps small shifts",
    statement="Max-pooling is invariant to small shifts; downsampling comes from the stride, not from pooling.",
    formula="y[c, i, j] = max of x[c, S i + u, S j + v],  0 ≤ u, v < K      (S = 1: the size stays)",
    method=f"`{POOLED}` and `{STRIDED}` are trained alike, and with them `{BLURRED}`, in which the maximum keeps its "
    "place and a fixed blur takes the stride. Real test images are moved by one pixel in four directions, and the "
    "change of the maps that reach the classifier is measured. 'Invariant' is a matter of degree: the maximum of a "
    "window survives while it stays in the window, so the response changes less, but it does change; and because the "
    "window moves in steps of its stride, it still aliases, which the blur damps (Zhang 2019, arXiv:1904.11486). Last, "
    "images are moved farther, wrapping around, so that nothing is lost and nothing new comes in.",
    expected="pooling with stride 1 keeps the size; the max-pooled maps change less than the strided ones, and the "
    "blurred ones less still",
    run=measure,
    quick=False,
    caption="Left: change of the last maps when the image moves by one pixel, as a share of their RMS, one dot a seed. "
    "Right: share of decisions that stay when the image wraps around by more pixels, mean and range over seeds.",
)
