"""What a notation says, as frozen values: layers, repetitions, residual groups.

A layer that needs nothing from its input is the layer of `striate.ops` itself. The four whose size depends on what
reaches them (convolution, depthwise convolution, batch normalisation, dense layer) leave that open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from striate.errors import NotationError
from striate.geometry import Window
from striate.ops import (
    Activation,
    AdaptiveAvgPool,
    AvgPool,
    BlurPool,
    Dropout,
    Flatten,
    GlobalAvgPool,
    MaxPool,
    Softmax,
)

MAX_LAYERS = 10_000  # after writing out repetitions; the deepest published networks have about 1,200
MAX_DEPTH = 32  # groups within groups
MAX_COUNT = 1_000_000  # channels, features, repetitions
MAX_PX = 1_000  # kernel, stride, padding, dilation

Windows = tuple[Window, Window]


@dataclass(frozen=True, slots=True)
class Convolution:
    """`64C3`: `out_channels` kernels in `groups` groups.

    windows: height, width, with their padding written out
    bias: None = the default rule: a bias unless batch normalisation follows directly
    """

    out_channels: int
    windows: Windows
    groups: int = 1
    bias: bool | None = None


@dataclass(frozen=True, slots=True)
class Depthwise:
    """`DW3`: one kernel for each channel of the input."""

    windows: Windows
    bias: bool | None = None


@dataclass(frozen=True, slots=True)
class Norm:
    """`BN`: batch normalisation of all channels or features, with its usual eps and momentum."""


@dataclass(frozen=True, slots=True)
class Dense:
    """`10`: a dense layer with `features` outputs."""

    features: int
    bias: bool | None = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """`3x(...)`: the body written out `count` times."""

    count: int
    body: Chain


@dataclass(frozen=True, slots=True)
class Residual:
    """`[body|shortcut]`: body(x) + shortcut(x); an empty shortcut is x itself."""

    body: Chain
    shortcut: Chain = ()


Biased = Convolution | Depthwise | Dense
Settled = Activation | Softmax | MaxPool | AvgPool | BlurPool | GlobalAvgPool | AdaptiveAvgPool | Flatten | Dropout
Layer = Biased | Norm | Settled
Item = Layer | Repeat | Residual
Chain = tuple[Item, ...]

ACTIVATIONS: Mapping[str, str] = MappingProxyType(
    {
        "R": "relu",
        "R6": "relu6",
        "LR": "leaky_relu",
        "ELU": "elu",
        "S": "sigmoid",
        "T": "tanh",
        "SiLU": "silu",
        "HSig": "hard_sigmoid",
        "HS": "hard_swish",
    }
)
"""The word of each activation of `striate.ops`."""

WORDS: Mapping[str, Layer] = MappingProxyType(
    {
        "BN": Norm(),
        **{word: Activation(curve) for word, curve in ACTIVATIONS.items()},
        "GAP": GlobalAvgPool(),
        "F": Flatten(),
        "SM": Softmax(),
    }
)
"""The layers that are one word without a number."""


def default_pad(kernel: int, dilation: int = 1) -> int | None:
    """The padding on each side that keeps the size at stride 1: (extent - 1) / 2; None where the extent is even."""
    extent = Window(kernel, dilation=dilation).extent
    return (extent - 1) // 2 if extent % 2 else None


def has_bias(layer: Biased, following: Item | None) -> bool:
    """Whether `layer` has a bias, given what is written after it: by default yes, unless that is BN."""
    return layer.bias if layer.bias is not None else not isinstance(following, Norm)


def count_layers(chain: Chain) -> int:
    """Layers after writing out every repetition; the sum of a residual group counts as one."""
    total = 0
    for item in chain:
        match item:
            case Repeat(count, body):
                total += count * count_layers(body)
            case Residual(body, shortcut):
                total += 1 + count_layers(body) + count_layers(shortcut)
            case _:
                total += 1
    return total


def check_limits(chain: Chain) -> Chain:
    """Return `chain` if its nesting and its number of layers are within the limits.  Raises: NotationError.

    The nesting is measured first and without recursion, so that no value can exhaust Python's stack.
    """
    waiting: list[tuple[Chain, int]] = [(chain, 0)]
    while waiting:
        items, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise NotationError(f"notation: groups are nested deeper than {MAX_DEPTH}; write it flatter")
        for item in items:
            if isinstance(item, Repeat | Residual):
                if not item.body:
                    raise NotationError("notation: a group is empty; give it at least one layer")
                waiting.append((item.body, depth + 1))
            if isinstance(item, Residual):
                waiting.append((item.shortcut, depth + 1))
    if (layers := count_layers(chain)) > MAX_LAYERS:
        raise NotationError(f"notation: {layers:,} layers are more than {MAX_LAYERS:,}; repeat fewer times")
    return chain
