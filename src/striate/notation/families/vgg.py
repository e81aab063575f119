"""VGG: Simonyan & Zisserman 2014, arXiv:1409.1556, table 1; names and sizes as in torchvision.

Stages of 3x3 convolutions between max poolings, then three dense layers on 7x7 maps. The `_bn` networks keep the
biases of their convolutions, as torchvision's do.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from types import MappingProxyType

from striate.graph import INPUT, Builder, Network
from striate.notation.families.steps import act, conv, dense, max_pool, norm
from striate.ops import AdaptiveAvgPool, Dropout, Flatten, Shape

CHANNELS = (64, 128, 256, 512, 512)
CONVOLUTIONS: Mapping[int, tuple[int, ...]] = MappingProxyType(
    {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
)
"""Convolutions in each stage, by the number of layers that hold weights."""


def vgg(input_shape: Shape, classes: int = 1000, *, depth: int, batch_norm: bool = False) -> Network:
    """VGG with `depth` layers that hold weights."""
    net = Builder(f"vgg{depth}{'_bn' if batch_norm else ''}", input_shape)
    x, index = INPUT, count()
    for channels, convolutions in zip(CHANNELS, CONVOLUTIONS[depth], strict=True):
        for _ in range(convolutions):
            x = conv(net, x, f"features.{next(index)}", channels, 3, bias=True)
            x = norm(net, x, f"features.{next(index)}") if batch_norm else x
            x = act(net, x, f"features.{next(index)}")
        x = max_pool(net, x, f"features.{next(index)}", 2, stride=2)
    x = net.add(AdaptiveAvgPool((7, 7)), x, name="avgpool")
    x = net.add(Flatten(), x, name="flatten")
    for at in (0, 3):
        x = dense(net, x, f"classifier.{at}", 4096)
        x = act(net, x, f"classifier.{at + 1}")
        x = net.add(Dropout(0.5), x, name=f"classifier.{at + 2}")
    return net.build(dense(net, x, "classifier.6", classes))
