"""From values to text, in one canonical form: suffixes in the order s p d g b, and only where they change something."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from striate.errors import NotationError
from striate.geometry import Window
from striate.notation.syntax import (
    WORDS,
    Chain,
    Convolution,
    Dense,
    Depthwise,
    Item,
    Layer,
    Repeat,
    Residual,
    default_pad,
)
from striate.ops import AdaptiveAvgPool, AvgPool, BlurPool, Dropout, GlobalAvgPool, MaxPool

_WORD_OF = {layer: word for word, layer in WORDS.items()}


def write(chain: Chain) -> str:
    """The notation of `chain`; `parse` gives `chain` back.

    Raises: NotationError on a setting that the notation has no letters for.
    """
    return "-".join(_item(item) for item in chain)


def _item(item: Item) -> str:
    match item:
        case Repeat(count, body):
            return f"{count}x({write(body)})"
        case Residual(body, ()):
            return f"[{write(body)}]"
        case Residual(body, shortcut):
            return f"[{write(body)}|{write(shortcut)}]"
        case _:
            return write_layer(item)


def write_layer(layer: Layer) -> str:
    """The notation of one layer.  Raises: NotationError on a setting that the notation has no letters for."""
    if reason := unsayable(layer):
        raise NotationError(f"notation: it cannot say a layer that {reason}")
    match layer:
        case Convolution(out_channels, windows, groups, bias):
            return f"{out_channels}C{_convolution(windows)}{f'g{groups}' if groups > 1 else ''}{_bias(bias)}"
        case Depthwise(windows, bias):
            return f"DW{_convolution(windows)}{_bias(bias)}"
        case Dense(features, bias):
            return f"{features}{_bias(bias)}"
        case MaxPool(windows) | AvgPool(windows) | BlurPool(windows):
            return _windowed(layer, windows)
        case AdaptiveAvgPool(out):
            return f"AAP{_axes([str(n) for n in out])}"
        case _:
            return f"D{Decimal(repr(layer.p)):f}" if isinstance(layer, Dropout) else _WORD_OF[layer]


def _windowed(layer: MaxPool | AvgPool | BlurPool, windows: Sequence[Window]) -> str:
    match layer:
        case BlurPool():  # its padding is that of a convolution
            return f"BP{_convolution(windows)}"
        case _:
            return ("MP" if isinstance(layer, MaxPool) else "AP") + _pool(windows)


def unsayable(layer: Layer) -> str:
    """What about `layer` the notation has no letters for, to follow "it"; empty where it can be written."""
    match layer:
        case Convolution(windows=windows) | Depthwise(windows=windows):
            reason = _unsayable_windows(windows)
        case MaxPool(windows) | AvgPool(windows) | BlurPool(windows):
            reason = _unsayable_windows(windows)
        case AdaptiveAvgPool(out):
            reason = _unsayable_axes(len(out))
        case _:
            reason = ""
    match layer:
        case AvgPool(count_include_pad=False):
            reason = reason or "leaves its padding out of the average"
        case GlobalAvgPool(keep_axes=True):
            reason = "keeps 1x1 maps that are not flattened"
        case Dropout(whole_channels=True):
            reason = "drops whole channels"
    return reason


def _unsayable_windows(windows: Sequence[Window]) -> str:
    if reason := _unsayable_axes(len(windows)):
        return reason
    if any(w.ceil_mode for w in windows):
        return "has ceil_mode"
    return "has negative padding" if any(min(w.pad_lo, w.pad_hi) < 0 for w in windows) else ""


def _unsayable_axes(axes: int) -> str:
    return "" if axes == 2 else f"has {axes} spatial axes instead of two"


def _convolution(windows: Sequence[Window]) -> str:
    stride = _axes([str(w.stride) for w in windows])
    pads = _pads(windows)
    if all(w.pad_lo == w.pad_hi == default_pad(w.kernel, w.dilation) for w in windows):
        pads = ""
    return _kernel(windows) + (f"s{stride}" if stride != "1" else "") + pads + _dilation(windows)


def _pool(windows: Sequence[Window]) -> str:
    stride = f"s{_axes([str(w.stride) for w in windows])}"
    if all(w.stride == w.kernel for w in windows):
        stride = ""
    pads = _pads(windows)
    return _kernel(windows) + stride + ("" if pads == "pv" else pads) + _dilation(windows)


def _kernel(windows: Sequence[Window]) -> str:
    return _axes([str(w.kernel) for w in windows])


def _pads(windows: Sequence[Window]) -> str:
    sides = _axes([str(w.pad_lo) if w.pad_lo == w.pad_hi else f"{w.pad_lo}:{w.pad_hi}" for w in windows])
    return "pv" if sides == "0" else f"p{sides}"


def _dilation(windows: Sequence[Window]) -> str:
    dilation = _axes([str(w.dilation) for w in windows])
    return f"d{dilation}" if dilation != "1" else ""


def _axes(texts: Sequence[str]) -> str:
    """One text where both axes agree, `3x5` where they differ."""
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)


def _bias(bias: bool | None) -> str:
    return {None: "", True: "b", False: "nb"}[bias]
