"""Residual networks: He et al. 2015, arXiv:1512.03385; names and sizes as in torchvision.

In the bottleneck block the 3x3 convolution carries the stride, as in torchvision (the paper strides the first 1x1).
A shortcut whose shape changes is a strided 1x1 convolution with batch normalisation: option B of the paper, in the
CIFAR networks too. Its option A, which subsamples and pads with zero channels, has no weights there and so gives
slightly fewer parameters (ResNet-20: 269,722 instead of 272,474).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from striate.graph import INPUT, Builder, Network
from striate.notation.families.steps import act, conv, dense, max_pool, norm
from striate.ops import Add, GlobalAvgPool, Shape

EXPANSION = 4  # output channels of a bottleneck for each channel inside
CHANNELS = (64, 128, 256, 512)
CIFAR_CHANNELS = (16, 32, 64)

Block = Callable[[Builder, str, str, int, int], str]


def _basic(net: Builder, x: str, name: str, channels: int, stride: int) -> str:
    """Two 3x3 convolutions; the sum of body and shortcut is rectified."""
    y = _conv_norm(net, x, name, 1, channels, 3, stride)
    y = act(net, y, f"{name}.relu1")
    y = _conv_norm(net, y, name, 2, channels, 3)
    return _join(net, x, y, name, stride)


def _bottleneck(net: Builder, x: str, name: str, channels: int, stride: int) -> str:
    """A 1x1 convolution that narrows, a 3x3, and a 1x1 that widens."""
    y = _conv_norm(net, x, name, 1, channels, 1)
    y = act(net, y, f"{name}.relu1")
    y = _conv_norm(net, y, name, 2, channels, 3, stride)
    y = act(net, y, f"{name}.relu2")
    y = _conv_norm(net, y, name, 3, EXPANSION * channels, 1)
    return _join(net, x, y, name, stride)


STAGES: Mapping[int, tuple[Block, tuple[int, ...]]] = MappingProxyType(
    {
        18: (_basic, (2, 2, 2, 2)),
        34: (_basic, (3, 4, 6, 3)),
        50: (_bottleneck, (3, 4, 6, 3)),
        101: (_bottleneck, (3, 4, 23, 3)),
        152: (_bottleneck, (3, 8, 36, 3)),
    }
)
"""Block and number of blocks in each stage, by the number of layers that hold weights (table 1 of the paper)."""


def resnet(
    input_shape: Shape, classes: int | None = None, *, depth: int, stem: Literal["imagenet", "cifar"] = "imagenet"
) -> Network:
    """The ImageNet ResNet with `depth` layers that hold weights.

    stem: "imagenet" starts with a 7x7 convolution of stride 2 and a max pooling; "cifar" with one 3x3 convolution
    of stride 1, for images of about 32 px.
    classes: 1000, or 10 with the stem "cifar", by default.
    """
    cifar = stem == "cifar"
    if classes is None:
        classes = 10 if cifar else 1000
    net = Builder(f"resnet{depth}{'_cifar' if cifar else ''}", input_shape)
    x = conv(net, INPUT, "conv1", 64, 3 if cifar else 7, stride=1 if cifar else 2)
    x = act(net, norm(net, x, "bn1"), "relu")
    x = x if cifar else max_pool(net, x, "maxpool", 3, stride=2, pad=1)
    block, blocks = STAGES[depth]
    x = _stages(net, x, block, CHANNELS, blocks)
    return _head(net, x, classes)


def resnet_cifar(input_shape: Shape, classes: int = 10, *, depth: int) -> Network:
    """The CIFAR ResNet of section 4.2 with `depth` = 6n + 2 layers: three stages of n blocks of 16, 32, 64 channels."""
    net = Builder(f"resnet{depth}", input_shape)
    x = conv(net, INPUT, "conv1", CIFAR_CHANNELS[0], 3)
    x = act(net, norm(net, x, "bn1"), "relu")
    x = _stages(net, x, _basic, CIFAR_CHANNELS, ((depth - 2) // 6,) * 3)
    return _head(net, x, classes)


def _stages(net: Builder, x: str, block: Block, channels: tuple[int, ...], blocks: tuple[int, ...]) -> str:
    for stage, (width, count) in enumerate(zip(channels, blocks, strict=True), start=1):
        for i in range(count):
            x = block(net, x, f"layer{stage}.{i}", width, 2 if i == 0 and stage > 1 else 1)
    return x


def _head(net: Builder, x: str, classes: int) -> Network:
    x = net.add(GlobalAvgPool(), x, name="avgpool")
    return net.build(dense(net, x, "fc", classes))


def _conv_norm(net: Builder, x: str, block: str, index: int, channels: int, kernel: int, stride: int = 1) -> str:
    x = conv(net, x, f"{block}.conv{index}", channels, kernel, stride=stride)
    return norm(net, x, f"{block}.bn{index}")


def _join(net: Builder, x: str, y: str, name: str, stride: int) -> str:
    """relu(y + shortcut(x)); the shortcut is projected where the stride or the channels change."""
    channels = net.shape(y)[0]
    if stride != 1 or net.shape(x)[0] != channels:
        x = conv(net, x, f"{name}.downsample.0", channels, 1, stride=stride)
        x = norm(net, x, f"{name}.downsample.1")
    total = net.add(Add(), y, x, name=f"{name}.add")
    return act(net, total, f"{name}.relu")
