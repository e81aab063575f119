"""Every named network, one row each: to add a family, write its file and its rows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Protocol

from striate.graph import Network
from striate.notation.families.cifar_fast import cifar_fast
from striate.notation.families.mobilenet_v2 import WIDTHS, mobilenet_v2
from striate.notation.families.plain import plain
from striate.notation.families.resnet import STAGES, resnet, resnet_cifar
from striate.notation.families.vgg import CONVOLUTIONS, vgg
from striate.ops import Shape


class Family(Protocol):
    """Makes the network for images of `input_shape` (C, H, W); `classes` is its paper's by default."""

    def __call__(self, input_shape: Shape, classes: int = ...) -> Network:
        """The network.  Raises: ShapeError where the image is too small."""


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        **{f"plain{depth}": partial(plain, depth=depth) for depth in (20, 32, 44, 56)},
        **{f"vgg{depth}": partial(vgg, depth=depth) for depth in CONVOLUTIONS},
        **{f"vgg{depth}_bn": partial(vgg, depth=depth, batch_norm=True) for depth in CONVOLUTIONS},
        **{f"resnet{depth}": partial(resnet, depth=depth) for depth in STAGES},
        **{f"resnet{depth}_cifar": partial(resnet, depth=depth, stem="cifar") for depth in STAGES},
        **{f"resnet{depth}": partial(resnet_cifar, depth=depth) for depth in (20, 32, 44, 56, 110)},
        "cifar_fast": cifar_fast,
        "cifar_fast_deeper": partial(cifar_fast, deeper=(1, 3)),
        "cifar_fast_half": partial(cifar_fast, channels=(32, 128, 128)),
        **{f"mobilenet_v2{suffix}": partial(mobilenet_v2, width=width) for suffix, width in WIDTHS.items()},
    }
)
"""Named networks: name -> function of the input shape and the number of classes."""
