"""Random networks for tests: every layer the spine knows, odd sizes, and batch normalisations in odd states.

One builder, two ways to drive it: `networks()` lets hypothesis choose, so that a failure shrinks; and
`random_network(seed)` replays from one integer, for long runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TypeVar

import numpy as np
from hypothesis import strategies as st

from striate.geometry import Window
from striate.graph import INPUT, Builder, Network
from striate.ops import (
    Activation,
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Identity,
    Linear,
    MaxPool,
    Mul,
)

T = TypeVar("T")
Choose = Callable[[Sequence[T]], T]

SMOOTH_AND_NOT = (
    "relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "silu", "hard_sigmoid", "hard_swish"
)  # fmt: skip
"""Written out, so that a new curve does not change the network of a seed."""
VARIANCES = (1e-12, 1e-3, 1.0, 1.0, 50.0, 1e6)
MEANS = (0.0, 0.1, 1.0, 1.0, 100.0)
DEAD = 0.1
GAMMAS = (-1.5, -0.3, 0.0, 0.7, 1.0, 2.5)


def random_network(seed: int) -> Network:
    """The network of a seed, with float32 weights."""
    rng = np.random.default_rng(seed)
    return draw_network(lambda options: options[int(rng.integers(len(options)))])


@st.composite
def networks(draw) -> Network:
    """Networks with float32 weights, chosen by hypothesis."""
    return draw_network(lambda options: draw(st.sampled_from(options)))


def draw_network(choose: Choose) -> Network:
    """A network of 1 to 4 random blocks and a head; `choose` picks from a sequence, simplest first."""
    shape = (choose((1, 2, 3)), choose((5, 7, 10, 11)), choose((6, 8, 9, 13)))
    b = Builder("random", shape)
    x = INPUT
    for i in range(choose((1, 2, 3, 4))):
        x = choose(BLOCKS)(b, x, f"b{i}", choose)
        x = maybe_after(b, x, f"b{i}", choose)
    x = head(b, x, choose)
    return with_random_weights(b.build(x), choose(range(2**32)), DEAD)


def with_random_weights(network: Network, seed: int, dead: float = 0.0) -> Network:
    """Float32 weights: kernels of the size that keeps variance, batch normalisations in random, odd states.

    dead: the share of layers whose first channel is its bias everywhere
    """
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, spec in network.weight_specs().items():
        draws = rng.standard_normal(spec.shape)
        match spec.role:
            case "weight":
                values = draws * np.sqrt(2 / prod(spec.shape[1:]))
                values[:1] *= not dead or rng.random() >= dead
            case "gamma":
                values = rng.choice(GAMMAS, spec.shape) * (1 + 0.1 * draws)
            case "running_var":
                values = rng.choice(VARIANCES, spec.shape) * np.exp(0.3 * draws)
            case "running_mean":
                values = rng.choice(MEANS) * draws
            case _:
                values = draws
        arrays[name] = values.astype(np.float32)
    return network.with_weights(arrays)


def random_conv(channels: int, size: Sequence[int], choose: Choose, out: int | None = None) -> Conv:
    """A convolution that fits maps of `size`: plain, grouped or depthwise, another window on each axis."""
    groups = choose([g for g in (1, 2, 3, channels) if channels % g == 0])
    if out is None:
        out = groups * choose((1, 2, 3))
    elif out % groups:
        groups = 1
    windows = []
    for n in size:
        kernel = choose((1, 2, 3, 5))
        dilation = choose((1, 2))
        lo, hi = choose((0, 1, 2)), choose((0, 1))
        extent = dilation * (kernel - 1) + 1
        lo += max(0, extent - n - lo - hi)
        windows.append(Window(kernel, choose((1, 2)), dilation, lo, hi))
    return Conv(channels, out, tuple(windows), groups, bias=choose((True, False)))


def same_conv(channels: int, out: int, choose: Choose) -> Conv:
    """A convolution that keeps the maps' size."""
    windows = tuple(Window(k, 1, 1, k // 2, k // 2) for k in (choose((1, 3)), choose((1, 3, 5))))
    return Conv(channels, out, windows, bias=choose((True, False)))


def maybe_norm(b: Builder, x: str, name: str, choose: Choose) -> str:
    """A batch normalisation three times out of four, now and then behind a dropout or without gamma and beta."""
    kind = choose(("norm", "norm", "dropout", "no affine", "double", "none"))
    if kind == "none":
        return x
    if kind == "dropout":
        x = b.add(Dropout(0.2), x, name=f"{name}.drop")
    eps = choose((1e-5, 1e-3))
    if kind == "double":
        x = b.add(BatchNorm(b.shape(x)[0], eps), x, name=f"{name}.bn0")
    return b.add(BatchNorm(b.shape(x)[0], eps, affine=kind != "no affine"), x, name=f"{name}.bn")


def maybe_activation(b: Builder, x: str, name: str, choose: Choose) -> str:
    """An activation, mostly ReLU, or none."""
    curve = choose(("relu", "relu", "none", *SMOOTH_AND_NOT))
    return x if curve == "none" else b.add(Activation(curve), x, name=f"{name}.act")


def plain(b: Builder, x: str, name: str, choose: Choose) -> str:
    """Convolution, norm, activation."""
    conv = random_conv(b.shape(x)[0], b.shape(x)[1:], choose)
    y = b.add(conv, x, name=f"{name}.conv")
    return maybe_activation(b, maybe_norm(b, y, name, choose), name, choose)


def residual(b: Builder, x: str, name: str, choose: Choose) -> str:
    """Two convolutions beside a shortcut, norms on the branch, sometimes one after the sum."""
    channels = b.shape(x)[0]
    y = b.add(same_conv(channels, 4, choose), x, name=f"{name}.conv1")
    y = maybe_activation(b, maybe_norm(b, y, f"{name}.1", choose), f"{name}.1", choose)
    y = b.add(same_conv(4, channels, choose), y, name=f"{name}.conv2")
    y = maybe_norm(b, y, f"{name}.2", choose)
    y = b.add(Add(), y, x, name=f"{name}.sum")
    return maybe_norm(b, y, f"{name}.after", choose) if choose((False, True)) else y


def shared(b: Builder, x: str, name: str, choose: Choose) -> str:
    """One convolution applied twice, each time with its own norm, and the first result kept for a sum."""
    channels = b.shape(x)[0]
    conv = same_conv(channels, channels, choose)
    y = b.add(conv, x, name=f"{name}.first", path=f"{name}.conv")
    y = maybe_norm(b, y, f"{name}.1", choose)
    z = b.add(conv, y, name=f"{name}.second", path=f"{name}.conv")
    z = maybe_norm(b, z, f"{name}.2", choose)
    return b.add(Add(), y, z, name=f"{name}.sum")


def branches(b: Builder, x: str, name: str, choose: Choose) -> str:
    """Two branches side by side, stacked, and a norm that nothing can take; one branch reads an unnormed result."""
    channels = b.shape(x)[0]
    p = b.add(same_conv(channels, 2, choose), x, name=f"{name}.left")
    q = maybe_norm(b, p, f"{name}.left", choose)
    r = b.add(same_conv(channels, 3, choose), x, name=f"{name}.right")
    r = maybe_norm(b, r, f"{name}.right", choose)
    parts = (p, q, r) if choose((False, True)) else (q, r)
    y = b.add(Concat(), *parts, name=f"{name}.cat")
    return maybe_norm(b, y, f"{name}.cat", choose)


def gated(b: Builder, x: str, name: str, choose: Choose) -> str:
    """Squeeze and excite: maps times a gate a channel computed from their average."""
    channels = b.shape(x)[0]
    g = b.add(GlobalAvgPool(keep_axes=True), x, name=f"{name}.squeeze")
    one = (Window(1), Window(1))
    g = b.add(Conv(channels, 2, one), g, name=f"{name}.down")
    g = b.add(Activation("relu"), maybe_norm(b, g, f"{name}.down", choose), name=f"{name}.relu")
    g = b.add(Conv(2, channels, one), g, name=f"{name}.up")
    g = b.add(Activation("sigmoid"), g, name=f"{name}.gate")
    return b.add(Mul(), x, g, name=f"{name}.mul")


def pooled(b: Builder, x: str, name: str, choose: Choose) -> str:
    """Convolution, pooling, and the norm only then."""
    y = b.add(random_conv(b.shape(x)[0], b.shape(x)[1:], choose), x, name=f"{name}.conv")
    return maybe_norm(b, maybe_after(b, y, f"{name}.mid", choose), name, choose)


def late(b: Builder, x: str, name: str, choose: Choose) -> str:
    """Convolution, ReLU, norm, and a convolution that may pad: nothing before the norm can take it."""
    conv = random_conv(b.shape(x)[0], b.shape(x)[1:], choose)
    y = b.add(conv, x, name=f"{name}.conv1")
    y = b.add(Activation("relu"), y, name=f"{name}.relu")
    y = maybe_norm(b, y, name, choose)
    return b.add(random_conv(b.shape(y)[0], b.shape(y)[1:], choose), y, name=f"{name}.conv2")


def pointwise(b: Builder, x: str, name: str, choose: Choose) -> str:
    """A wide 1x1 convolution beside another layer, in either order, or a strided one after an activation."""
    channels = b.shape(x)[0]
    wide = Conv(channels, 8, (Window(1), Window(1)), bias=choose((True, False)))
    order = choose(("wide first", "wide last", "strided"))
    if order == "wide first":
        y = maybe_norm(b, b.add(wide, x, name=f"{name}.wide"), name, choose)
        return b.add(random_conv(8, b.shape(y)[1:], choose), y, name=f"{name}.conv")
    y = b.add(same_conv(channels, 4, choose), x, name=f"{name}.conv")
    if order == "wide last":
        return b.add(Conv(4, 2, (Window(1), Window(1))), y, name=f"{name}.narrow")
    y = maybe_activation(b, maybe_norm(b, y, name, choose), name, choose)
    strides = tuple(Window(1, stride=choose((1, 2, 3))) for _ in range(2))
    return b.add(Conv(4, 3, strides), y, name=f"{name}.strided")


def parallel(b: Builder, x: str, name: str, choose: Choose) -> str:
    """RepVGG's training form: convolutions of other kernels, a norm and perhaps the input itself, added."""
    channels = b.shape(x)[0]
    p = maybe_norm(b, b.add(same_conv(channels, channels, choose), x, name=f"{name}.big"), f"{name}.big", choose)
    one = Conv(channels, channels, (Window(1), Window(1)), bias=choose((True, False)))
    q = maybe_norm(b, b.add(one, x, name=f"{name}.one"), f"{name}.one", choose)
    r = b.add(BatchNorm(channels), x, name=f"{name}.bn")
    y = b.add(Add(), p, q, *choose(((), (r,), (r, x))), name=f"{name}.sum")
    return maybe_activation(b, y, name, choose)


BLOCKS = (plain, plain, plain, residual, shared, branches, gated, pooled, late, pointwise, parallel)


def maybe_after(b: Builder, x: str, name: str, choose: Choose) -> str:
    """A pooling or an identity, where it fits."""
    kind = choose(("none", "none", "max", "avg", "identity"))
    if kind == "identity":
        return b.add(Identity(), x, name=f"{name}.same")
    if kind == "none" or min(b.shape(x)[1:]) < 4:
        return x
    ceil = choose((False, True))
    windows = (Window(2, stride=2, ceil_mode=ceil), Window(3, stride=2, pad_lo=1, pad_hi=1))
    pool = MaxPool(windows) if kind == "max" else AvgPool(windows, count_include_pad=not ceil and choose((True, False)))
    return b.add(pool, x, name=f"{name}.pool")


def head(b: Builder, x: str, choose: Choose) -> str:
    """To a vector, perhaps through a dense layer with a norm, and to the logits."""
    x = b.add(choose((GlobalAvgPool(), Flatten())), x, name="vector")
    if choose((False, True)):
        x = b.add(Linear(b.shape(x)[0], 5, bias=choose((True, False))), x, name="hidden")
        x = maybe_activation(b, maybe_norm(b, x, "hidden", choose), "hidden", choose)
    x = b.add(Linear(b.shape(x)[0], choose((2, 3, 7))), x, name="logits")
    return b.add(Dropout(), x, name="logits.drop") if choose((False, False, True)) else x
