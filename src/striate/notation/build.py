"""From what a notation says to a `Network`, following shapes so that a fault is named at the layer that causes it.

Names count each sort of layer within its group and read as paths of a state dict: `conv1`, `bn1`, `relu1`,
`block2.conv1`, `block2.shortcut.conv1`, `block2.add`, `fc1`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from striate.errors import GeometryError, NotationError, ShapeError
from striate.geometry import Window
from striate.graph import INPUT, Builder, Network
from striate.notation.repetition import expand
from striate.notation.syntax import (
    Chain,
    Convolution,
    Dense,
    Depthwise,
    Item,
    Norm,
    Residual,
    has_bias,
)
from striate.notation.write import write, write_layer
from striate.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    BlurPool,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Op,
    Shape,
    Softmax,
)

_STEMS: Mapping[type, str] = MappingProxyType(
    {
        Convolution: "conv",
        Depthwise: "conv",
        Norm: "bn",
        Dense: "fc",
        MaxPool: "pool",
        AvgPool: "pool",
        BlurPool: "blur",
        AdaptiveAvgPool: "pool",
        GlobalAvgPool: "pool",
        Flatten: "flatten",
        Dropout: "dropout",
        Softmax: "softmax",
        Residual: "block",
    }
)


def build(chain: Chain, input_shape: Shape, name: str | None = None) -> Network:
    """The network that `chain` describes, for images of `input_shape` (C, H, W).

    name: what to call it; its notation by default.
    Raises: NotationError that names the layer, its notation and what to change.
    """
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise NotationError(f"notation: input shape {input_shape} is not (channels, height, width), each at least 1")
    layers = expand(chain)
    if not layers:
        raise NotationError("notation: a network needs at least one layer")
    return _Walk(Builder(name or write(chain), input_shape), layers).network()


class _Walk:
    """Adds the layers of a written-out chain to a builder, in order."""

    def __init__(self, builder: Builder, layers: Chain) -> None:
        self._builder = builder
        self._layers = layers

    def network(self) -> Network:
        return self._builder.build(self._chain(self._layers, INPUT, scope=""))

    def _chain(self, items: Chain, x: str, scope: str) -> str:
        counts: Counter[str] = Counter()
        for item, following in zip(items, (*items[1:], None), strict=False):
            stem = _stem(item)
            counts[stem] += 1
            name = f"{scope}{stem}{counts[stem]}"
            x = self._residual(item, x, name) if isinstance(item, Residual) else self._layer(item, following, x, name)
        return x

    def _layer(self, item: Item, following: Item | None, x: str, name: str) -> str:
        shape = self._builder.shape(x)
        token = write((item,))
        if isinstance(item, Dense) and len(shape) > 1:
            raise NotationError(
                f"notation: {name} ('{token}') is a dense layer on feature maps {_times(shape)}; put F (keeps every "
                f"position) or GAP (averages each map) before it"
            )
        try:
            op = _op(item, following, shape)
            op.out_shape(shape)
        except GeometryError:
            raise NotationError(self._too_deep(f"{name} ('{token}')", op, shape)) from None
        except ShapeError as fault:
            raise NotationError(f"notation: {name} ('{token}'): {fault}") from None
        return self._builder.add(op, x, name=name)

    def _too_deep(self, layer: str, op: Op, shape: Shape) -> str:
        height, width = (smallest_input(self._layers, axis) for axis in (0, 1))
        _, *image = self._builder.shape()
        windows = op.windows if isinstance(op, Conv | MaxPool | AvgPool | BlurPool) else ()
        return (
            f"notation: {layer} needs {_times([w.extent - w.pad_lo - w.pad_hi for w in windows])} px and gets "
            f"{_times(shape[1:])}: the network is too deep for its {_times(image)} input; give it at least "
            f"{height}x{width}, or take out a stride or pooling before this layer"
        )

    def _residual(self, item: Residual, x: str, name: str) -> str:
        body = self._chain(item.body, x, f"{name}.")
        shortcut = self._chain(item.shortcut, x, f"{name}.shortcut.")
        before, left, right = (self._builder.shape(t) for t in (x, body, shortcut))
        if left != right:
            raise NotationError(_mismatch(item, name, before, left, right))
        return self._builder.add(Add(), body, shortcut, name=f"{name}.add")


def _stem(item: Item) -> str:
    """The sort of an item in names; an underscore keeps its number apart from one in the sort's name."""
    stem = item.curve if isinstance(item, Activation) else _STEMS[type(item)]
    return f"{stem}_" if stem[-1].isdigit() else stem


def _op(item: Item, following: Item | None, shape: Shape) -> Op:
    match item:
        case Convolution(out_channels, windows, groups):
            return Conv(shape[0], out_channels, windows, groups, has_bias(item, following))
        case Depthwise(windows):
            return Conv(shape[0], shape[0], windows, shape[0], has_bias(item, following))
        case Norm():
            return BatchNorm(shape[0])
        case Dense(features):
            return Linear(shape[0], features, has_bias(item, following))
        case Op():
            return item
        case _:
            raise TypeError(f"{item} is not a layer of a written-out chain")


def smallest_input(chain: Chain, axis: int, out_px: int = 1) -> int:
    """The least size in px on `axis` (0 height, 1 width) for which a written-out `chain` leaves at least `out_px`.

    Backwards: a window that must give m outputs needs (m - 1) s + extent - pads; what reads the whole map needs 1.
    """
    for item in reversed(chain):
        match item:
            case Residual(body, shortcut):
                out_px = max(smallest_input(body, axis, out_px), smallest_input(shortcut, axis, out_px))
            case GlobalAvgPool() | AdaptiveAvgPool() | Flatten():
                out_px = 1
            case Convolution() | Depthwise() | MaxPool() | AvgPool() | BlurPool():
                out_px = max(1, _needs(item.windows[axis], out_px))
            case _:
                pass
    return out_px


def _needs(window: Window, out_px: int) -> int:
    return (out_px - 1) * window.stride + window.extent - window.pad_lo - window.pad_hi


def _mismatch(item: Residual, name: str, before: Shape, body: Shape, shortcut: Shape) -> str:
    if item.shortcut:
        return (
            f"notation: {name}: the body gives {_times(body)} and the shortcut {_times(shortcut)}, which cannot be "
            f"added; make them equal{_projection(item, before, body)}"
        )
    return (
        f"notation: {name} turns {_times(before)} into {_times(body)}, which cannot be added to its own input; "
        f"make them equal{_projection(item, before, body)}"
    )


def _projection(item: Residual, before: Shape, after: Shape) -> str:
    """`, as by the shortcut [...|128C1s2-BN]`: the 1x1 convolution that fits, or nothing where none does."""
    if len(before) != 3 or len(after) != 3:
        return ""
    height, width = (_decimation(n, m) for n, m in zip(before[1:], after[1:], strict=True))
    if height is None or width is None:
        return ""
    layers = [write_layer(Convolution(after[0], (height, width)))]
    if any(isinstance(layer, Norm) for layer in item.body):
        layers.append("BN")
    return f", as the shortcut in [...|{'-'.join(layers)}] does"


def _decimation(in_px: int, out_px: int) -> Window | None:
    """The window of one tap and least stride that takes `in_px` to `out_px`, if there is one."""
    windows = (Window(1, stride) for stride in range(1, in_px + 1))
    return next((w for w in windows if w.out_size(in_px) == out_px), None)


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
