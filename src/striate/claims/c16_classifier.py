"""Convolutions extract features, dense layers classify, and the dense part sees the whole image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import images, network
from striate.graph import Network, reference
from striate.measure import views
from striate.measure.inspection import parts
from striate.ops import Linear

NOTATIONS = (
    "8C3-R-MP2-12C3-R-MP2-F-32-R-10",
    "8C3-BN-R-12C3s2-BN-R-GAP-10",
    "6C5-R-AP2-[6C3-BN-R-6C3-BN]-R-F-10",
    "resnet20",
)
Seen = Callable[[Network], tuple[tuple[int, int] | None, ...]]


def seen_by_first_dense(net: Network) -> tuple[tuple[int, int] | None, ...]:
    """First and last pixel on each axis that the units of the first dense layer see."""
    return tuple(axis.sight.interval(0) for axis in views(net)[_first_dense(net)])


def measure(seen: Seen = seen_by_first_dense) -> Finding:
    """`seen` states what a unit of a network's first dense layer sees of the image."""
    wrong, rows = [], []
    for notation in NOTATIONS:
        net = network(notation)
        part_of = parts(net)
        order = [part_of[node.name] for node in net]
        in_two = order == sorted(order, reverse=True) and set(order) == {"features", "classifier"}
        no_kernel_behind = all(
            part_of[n.name] == "features" for n in net if n.op.kind in ("conv", "max_pool", "avg_pool")
        )
        stated = seen(net)
        rows.append((notation, order.count("features"), order.count("classifier")))
        whole = tuple((0, n - 1) for n in net.input_shape[1:])
        if not (in_two and no_kernel_behind and stated == whole == reached_by_gradient(net)):
            wrong.append(f"{notation}: sees {stated}")
    split = ", ".join(f"{features} + {classifier}" for _, features, classifier in rows)
    first = f" (first: {wrong[0]})" if wrong else ""
    return Finding(
        not wrong,
        f"{len(NOTATIONS)} networks, layers of features + classifier: {split}; split or field wrong in "
        f"{len(wrong)}{first}",
    )


def reached_by_gradient(net: Network) -> tuple[tuple[int, int], ...]:
    """First and last row and column that the gradient of one unit of the first dense layer reaches on real images."""
    values = reference.run(net, images(20))
    last = Network(net.name, net.input_shape, net.nodes, _first_dense(net), net.weights)
    one = np.zeros_like(values[last.output])
    one[:, 0] = 1.0
    reached = (reference.gradient(last, values, one)[0] != 0).any(axis=(0, 1))
    lines = (np.flatnonzero(reached.any(axis=axis)) for axis in (1, 0))
    return tuple((int(line[0]), int(line[-1])) for line in lines)


def _first_dense(net: Network) -> str:
    return next(node.name for node in net if isinstance(node.op, Linear))


CLAIM = Claim(
    number=16,
    title="Feature extractor and classifier",
    statement="Flattening feeds the dense part: convolutions are the feature extractor, dense layers the classifier, "
    "and the dense part sees the whole image.",
    formula="image → [ convolution, activation, pooling ]* → flatten or global pool → [ dense ]* → scores",
    method="Four networks, with flattening, with global pooling, with a residual block, and a ResNet-20, are split as "
    "`striate inspect` splits them. What a unit of the first dense layer sees by the exact index maps is compared with "
    "the rows and columns that its gradient reaches on real images.",
    expected="every network splits in two, no kernel lies behind the split, and a dense unit sees rows and columns 0 "
    "to 27",
    run=measure,
)
