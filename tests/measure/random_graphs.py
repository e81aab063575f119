"""Random networks whose fields are hard: branches of any shape, holes, uneven padding, overhang, gates, resizing.

All weights are positive and nothing is subtracted, so that a gradient is positive exactly where an output depends on
a pixel, and none cancel. `random_graph` can replace layers by others that read the same pixels and have no such
gradient: pools by the maximum of their windows, batch normalisation by that of the image.
All channels of a tensor share one field; so what tells channels apart stands behind or before a layer that mixes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from striate.errors import GeometryError, ShapeError
from striate.geometry import Transposed, Window
from striate.graph import INPUT, Builder, Network, Node
from striate.ops import (
    Activation,
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    Add,
    AvgPool,
    BatchNorm,
    ChannelReduce,
    ChannelShuffle,
    Concat,
    Conv,
    ConvTranspose,
    GlobalAvgPool,
    GroupNorm,
    Linear,
    MaxPool,
    Mul,
    Op,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    Resize,
    Slice,
)

CHANNELS = 2
LARGEST_PX = 40


def random_graph(seed: int, *, replaced: bool = False) -> Network:
    """The network of a seed, with float64 weights; with `replaced`, half of what can be is replaced."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 3)), int(rng.integers(3, 20)), int(rng.integers(3, 20)))
    net = Builder(f"random {seed}", shape)
    maps = [INPUT]
    for i in range(int(rng.integers(3, 12))):
        step = STEPS[int(rng.integers(len(STEPS)))]
        try:
            maps.append(step(rng, net, maps, f"n{i}"))
        except (ShapeError, GeometryError):
            continue  # the layer drawn does not fit these maps
    x = maps[-1]
    if rng.random() < 0.3:
        x = net.add(GlobalAvgPool(), x, name="pool")
        x = net.add(Linear(net.shape(x)[0], 3, bias=False), x, name="fc")
    if x == INPUT:
        x = net.add(Activation(), x, name="only")
    network = net.build(x)
    return positive(_replaced(rng, network) if replaced else network, seed)


def positive(network: Network, seed: int) -> Network:
    """The network with positive weights; batch normalisations only scale up."""
    rng = np.random.default_rng(seed)
    zeros = {"running_mean"}
    return network.with_weights(
        {
            name: np.zeros(spec.shape) if spec.role in zeros else rng.uniform(0.5, 1.0, spec.shape)
            for name, spec in network.weight_specs().items()
        }
    )


def _window(rng: np.random.Generator, *, pool: bool = False) -> Window:
    kernel, dilation = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    lo, hi = (int(n) for n in rng.integers(-1, 4, 2))
    if pool:
        extent = dilation * (kernel - 1) + 1
        lo, hi = min(max(lo, 0), extent // 2), min(max(hi, 0), extent // 2)
        return Window(kernel, int(rng.integers(1, 4)), dilation, lo, hi, ceil_mode=bool(rng.integers(2)))
    return Window(kernel, int(rng.integers(1, 4)), dilation, lo, hi)


def _any_conv(rng: np.random.Generator, channels: int) -> Conv:
    groups = CHANNELS if channels == CHANNELS and rng.random() < 0.3 else 1
    return Conv(channels, CHANNELS, (_window(rng), _window(rng)), groups, bias=False)


def _pick(rng: np.random.Generator, maps: Sequence[str]) -> str:
    """A tensor, mostly a late one."""
    return maps[-1] if rng.random() < 0.7 else maps[int(rng.integers(len(maps)))]


def _checked(net: Builder, op: Op, *inputs: str, name: str) -> str:
    shape = op.out_shape(*(net.shape(i) for i in inputs))
    if max(shape[1:], default=1) > LARGEST_PX:
        raise ShapeError("larger than wanted here")
    for axis, n in zip(op.axis_maps(net.shape(inputs[0])), net.shape(inputs[0])[1:], strict=True):
        if not all(axis.reads(i, n) for i in range(axis.out_size(n))):
            raise ShapeError("a unit reads padding alone: it is 0, and the gradient of its product with others too")
    return net.add(op, *inputs, name=name)


def _conv(rng: np.random.Generator, net: Builder, maps: Sequence[str], name: str) -> str:
    x = _pick(rng, maps)
    return _checked(net, _any_conv(rng, net.shape(x)[0]), x, name=name)


def _same_conv(rng: np.random.Generator, net: Builder, maps: Sequence[str], name: str) -> str:
    """A convolution that keeps the size, off centre as often as not."""
    x = _pick(rng, maps)
    windows = []
    for _ in range(2):
        kernel, dilation = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        total = dilation * (kernel - 1)
        lo = int(rng.integers(0, total + 1))
        windows.append(Window(kernel, 1, dilation, lo, total - lo))
    return _checked(net, Conv(net.shape(x)[0], CHANNELS, tuple(windows), bias=False), x, name=name)


def _pool(rng: np.random.Generator, net: Builder, maps: Sequence[str], name: str) -> str:
    windows = (_window(rng, pool=True), _window(rng, pool=True))
    return _checked(net, AvgPool(windows, count_include_pad=bool(rng.integers(2))), _pick(rng, maps), name=name)


def _adaptive(rng: np.random.Generator, net: Builder, maps: Sequence[str], name: str) -> str:
    return _checked(net, AdaptiveAvgPool(tuple(int(n) for n in rng.integers(1, 9, 2))), _pick(rng, maps), name=name)


def _pointwise(rng: np.random.Generator, net: Builder, maps: Sequence[str], name: str) -> str:
    x = _pick(rng, maps)
    op: Any = Activation() if rng.random() < 0.5 else BatchNorm(net.shape(x)[0])
    return _checked(net, op, x, name=name)


def _merge(rng: np.random.Generator, net: Builder, maps: Sequence[str], name: str) -> str:
    """A sum, product or concatenation of two tensors of one size, wherever in the network they are."""
    x = _pick(rng, maps)
    mates = [m for m in maps if m != x and net.shape(m)[1:] == net.shape(x)[1:]]
    if not mates:
        raise ShapeError("no mate of this size")
    mate = mates[int(rng.integers(len(mates)))]
    equal = net.shape(mate) == net.shape(x)
    options: list[Op] = [Add(), Mul(), Concat()] if equal else [Concat()]
    x = net.add(options[int(rng.integers(len(options)))], x, mate, name=name)
    if net.shape(x)[0] == CHANNELS:
        return x
    one = (Window(1), Window(1))
    return net.add(Conv(net.shape(x)[0], CHANNELS, one, bias=False), x, name=f"{name}.mix")


def _gate(rng: np.random.Generator, net: Builder, maps: Sequence[str], name: str) -> str:
    x = _pick(rng, maps)
    pooled = net.add(GlobalAvgPool(keep_axes=True), _pick(rng, maps), name=f"{name}.squeeze")
    one = (Window(1), Window(1))
    pooled = net.add(Conv(net.shape(pooled)[0], net.shape(x)[0], one, bias=False), pooled, name=f"{name}.excite")
    return net.add(Mul(), x, pooled, name=name)


def _transposed(rng: np.random.Generator, net: Builder, maps: Sequence[str], name: str) -> str:
    x = _pick(rng, maps)
    channels = net.shape(x)[0]
    groups = CHANNELS if channels == CHANNELS and rng.random() < 0.3 else 1
    windows = []
    for _ in range(2):
        stride, dilation = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        extra = int(rng.integers(max(stride, dilation)))
        # Mostly as many taps as leave no gap, and as much cut off as is added.
        kernel, pad_hi = stride + int(rng.integers(-1, 3)), extra + int(rng.integers(-1, 3))
        windows.append(Transposed(max(1, kernel), stride, dilation, int(rng.integers(3)), max(0, pad_hi), extra))
    return _checked(net, ConvTranspose(channels, CHANNELS, tuple(windows), groups, bias=False), x, name=name)


def _resized(rng: np.random.Generator, net: Builder, maps: Sequence[str], name: str) -> str:
    two = tuple(int(n) for n in rng.integers(1, 4, 2))
    linear = bool(rng.integers(2))
    corners = linear and bool(rng.integers(2))
    x = _pick(rng, maps)
    if rng.random() < 0.5:
        return _checked(net, Resize((), two, linear, corners), x, name=name)
    out = tuple(int(rng.integers(1, 2 * n + 2)) for n in net.shape(x)[1:])
    return _checked(net, Resize(out, (), linear, corners), x, name=name)


def _sliced(rng: np.random.Generator, net: Builder, maps: Sequence[str], name: str) -> str:
    """A part of the positions, every so many of them."""
    x = _pick(rng, maps)
    parts: list[tuple[int | None, int | None, int]] = [(None, None, 1)]
    for n in net.shape(x)[1:]:
        start, stop = sorted(int(i) for i in rng.integers(-n, n, 2))
        parts.append((start, stop if stop > start else None, int(rng.integers(1, 4))))
    return _checked(net, Slice(tuple(parts)), x, name=name)


def _padded(rng: np.random.Generator, net: Builder, maps: Sequence[str], name: str) -> str:
    """A border of image values, or of ones, which are no image; or a crop. Of zeros, gradients would show nothing."""
    x = _pick(rng, maps)
    mode = ("reflect", "replicate", "circular", "constant")[int(rng.integers(4))]
    lo, hi = ([int(n) for n in rng.integers(-1 if mode == "constant" else 0, 4, 2)] for _ in range(2))
    op = Pad((0, *lo), (0, *hi), mode, float(mode == "constant"))
    return net.add(op, x, name=name) if mode == "constant" else _checked(net, op, x, name=name)


def _mixed(net: Builder, x: str, out: int, name: str) -> str:
    one = (Window(1), Window(1))
    return net.add(Conv(net.shape(x)[0], out, one, bias=False), x, name=name)


def _shuffled(rng: np.random.Generator, net: Builder, maps: Sequence[str], name: str) -> str:
    """Pixels to channels or back, or channels among themselves."""
    x, r = _pick(rng, maps), int(rng.integers(2, 4))
    match int(rng.integers(3)):
        case 0:
            return _checked(net, PixelShuffle(r), _mixed(net, x, CHANNELS * r * r, f"{name}.wide"), name=name)
        case 1:
            return _mixed(net, _checked(net, PixelUnshuffle(r), x, name=name), CHANNELS, f"{name}.mix")
        case _:
            return net.add(ChannelShuffle(CHANNELS), x, name=name)


def _reduced(rng: np.random.Generator, net: Builder, maps: Sequence[str], name: str) -> str:
    how = ("sum", "mean", "l2")[int(rng.integers(3))]
    return net.add(ChannelReduce(how), _pick(rng, maps), name=name)


STEPS = (
    _conv, _conv, _same_conv, _same_conv, _pool, _adaptive, _pointwise, _merge, _merge, _gate, _transposed, _transposed,
    _resized, _sliced, _padded, _shuffled, _reduced,
)  # fmt: skip


def _replaced(rng: np.random.Generator, network: Network) -> Network:
    """Layers replaced, as often as not, by others that read the same pixels and more of a map's values."""
    return replace(network, nodes=tuple(_other(node) if rng.random() < 0.5 else node for node in network))


def _other(node: Node) -> Node:
    match node.op:
        case AvgPool(windows):
            return replace(node, op=MaxPool(windows))
        case AdaptiveAvgPool(out):
            return replace(node, op=AdaptiveMaxPool(out))
        case BatchNorm(channels):
            return replace(node, op=GroupNorm(channels, affine=False, groups=channels), weights={})
        case _:
            return node
