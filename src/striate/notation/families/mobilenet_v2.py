"""MobileNetV2: Sandler et al. 2018, arXiv:1801.04381, table 2; names and sizes as in torchvision.

Inverted residuals: a 1x1 convolution widens, a depthwise 3x3 filters, a 1x1 narrows without activation; the input
is added where the shape stays. The width multiplier scales every channel count.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from striate.graph import INPUT, Builder, Network
from striate.notation.families.steps import act, conv, dense, norm
from striate.ops import Add, Dropout, GlobalAvgPool, Shape

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""(expansion, channels, blocks, stride of the first block) of each stage."""

WIDTHS: Mapping[str, float] = MappingProxyType(
    {"": 1.0, "_0.35": 0.35, "_0.5": 0.5, "_0.75": 0.75, "_1.3": 1.3, "_1.4": 1.4}
)
"""Width multipliers of the published networks, by the suffix of the name."""

DROPOUT = 0.2


def divisible(channels: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `channels`, at least one, and not below 0.9 of it."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * channels else nearest + divisor


def mobilenet_v2(input_shape: Shape, classes: int = 1000, *, width: float = 1.0) -> Network:
    """MobileNetV2 with every channel count scaled by `width`; the last never below 1280."""
    net = Builder("mobilenet_v2" if width == 1 else f"mobilenet_v2_{width:g}", input_shape)
    x = _conv_norm_act(net, INPUT, "features.0", divisible(32 * width), 3, stride=2)
    index = 1
    for expansion, channels, blocks, stride in STAGES:
        for i in range(blocks):
            x = _inverted(net, x, f"features.{index}", expansion, divisible(channels * width), stride if i == 0 else 1)
            index += 1
    x = _conv_norm_act(net, x, f"features.{index}", divisible(1280 * max(1.0, width)), 1)
    x = net.add(GlobalAvgPool(), x, name="pool")
    x = net.add(Dropout(DROPOUT), x, name="classifier.0")
    return net.build(dense(net, x, "classifier.1", classes))


def _inverted(net: Builder, x: str, name: str, expansion: int, channels: int, stride: int) -> str:
    in_channels = net.shape(x)[0]
    hidden, y, at = expansion * in_channels, x, 0
    if expansion != 1:
        y, at = _conv_norm_act(net, x, f"{name}.conv.0", hidden, 1), 1
    y = _conv_norm_act(net, y, f"{name}.conv.{at}", hidden, 3, stride=stride, groups=hidden)
    y = conv(net, y, f"{name}.conv.{at + 1}", channels, 1)
    y = norm(net, y, f"{name}.conv.{at + 2}")
    if stride != 1 or in_channels != channels:
        return y
    return net.add(Add(), y, x, name=f"{name}.add")


def _conv_norm_act(
    net: Builder, x: str, name: str, channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> str:
    x = conv(net, x, f"{name}.0", channels, kernel, stride=stride, groups=groups)
    return act(net, norm(net, x, f"{name}.1"), f"{name}.2", "relu6")
