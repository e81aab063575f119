"""Reading one layer of a notation: `64C3s2`, `DW3`, `MP2`, `D0.5`, `BN`, `10`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from striate.geometry import Window
from striate.notation.scan import Scanner, quoted
from striate.notation.syntax import (
    ACTIVATIONS,
    MAX_COUNT,
    MAX_PX,
    WORDS,
    Convolution,
    Dense,
    Depthwise,
    Layer,
    Windows,
    default_pad,
)
from striate.ops import AdaptiveAvgPool, AvgPool, BlurPool, Dropout, MaxPool

ALLOWED = (
    f"allowed here: 64C3, DW3, BN, {', '.join(ACTIVATIONS)}, MP2, AP2, BP3, AAP7, GAP, F, D0.5, SM, 10 (dense), "
    "2x(...), [...], [...|...]"
)
SUFFIXES = {
    "s": "s stride",
    "p": "p padding or pv for none",
    "d": "d dilation",
    "g": "g groups",
    "b": "b bias or nb for none",
}
PROBABILITY = re.compile(r"[0-9]+(\.[0-9]+)?")

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]  # (before, after) of height, then of width


@dataclass(frozen=True, slots=True)
class _Suffixes:
    stride: Pair | None = None
    pads: Pads | None = None
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool | None = None


def read_layer(scan: Scanner) -> Layer:
    """Read the layer that comes next, up to its last suffix.  Raises: NotationError."""
    start, word = scan.at, scan.word()
    if not word:
        raise scan.fault("a layer is missing", ALLOWED)
    if "0" <= word[0] <= "9":
        return _numbered(scan)
    if word in WORDS:
        scan.take(word)
        return WORDS[word]
    head = HEAD.match(word)
    if head is None or word[head.end() :][:1].isalpha():
        raise scan.fault(f"unknown layer {quoted(word)}", _meant(word) + ALLOWED, start)
    scan.take(head[0])
    return _READERS[head[0]](scan)


def _meant(word: str) -> str:
    """A hint where the word is one of ours in other letters, or an activation's full name."""
    ours = {w.lower(): w for w in WORDS} | {curve.replace("_", ""): w for w, curve in ACTIVATIONS.items()}
    meant = ours.get(word.lower().replace("_", ""))
    return f"did you mean {meant}? " if meant else ""


def _numbered(scan: Scanner) -> Layer:
    count = scan.number("number of channels or features", 1, MAX_COUNT)
    if scan.take("C"):
        windows, found = _convolution(scan, allowed="spdgb")
        return Convolution(count, windows, found.groups, found.bias)
    if scan.peek() not in ("b", "n") and not scan.at_word_end():
        raise scan.fault(
            f"unexpected {quoted(scan.word())} after {count}",
            f"write {count}C3 for a convolution, {count} for a dense layer, {count}x(...) for a repetition",
        )
    return Dense(count, _read_suffixes(scan, allowed="b").bias)


def _depthwise(scan: Scanner) -> Depthwise:
    windows, found = _convolution(scan, allowed="spdb")
    return Depthwise(windows, found.bias)


def _convolution(scan: Scanner, allowed: str) -> tuple[Windows, _Suffixes]:
    start = scan.at
    kernel = _pair(scan, "kernel size", least=1)
    found = _read_suffixes(scan, allowed)
    pads = found.pads
    if pads is None:
        height, width = (default_pad(k, d) for k, d in zip(kernel, found.dilation, strict=True))
        if height is None or width is None:
            raise scan.fault(
                "no padding equal on both sides keeps the size under the even window",
                "write pv for none, or both sides as in p0:1",
                start,
            )
        pads = ((height, height), (width, width))
    return _windows(kernel, found.stride or (1, 1), found.dilation, pads), found


def _pool(scan: Scanner, allowed: str) -> Windows:
    start = scan.at
    kernel = _pair(scan, "window size", least=1)
    found = _read_suffixes(scan, allowed)
    windows = _windows(kernel, found.stride or kernel, found.dilation, found.pads or ((0, 0), (0, 0)))
    for w in windows:
        if max(w.pad_lo, w.pad_hi) > w.extent // 2:
            raise scan.fault(
                f"padding {max(w.pad_lo, w.pad_hi)} is more than half of a pooling window of {w.extent} px",
                f"write at most p{w.extent // 2}",
                start,
            )
    return windows


def _windows(kernel: Pair, stride: Pair, dilation: Pair, pads: Pads) -> Windows:
    height, width = (Window(k, s, d, lo, hi) for k, s, d, (lo, hi) in zip(kernel, stride, dilation, pads, strict=True))
    return height, width


def _adaptive(scan: Scanner) -> AdaptiveAvgPool:
    out = _pair(scan, "output size", least=1)
    _read_suffixes(scan, allowed="")
    return AdaptiveAvgPool(out)


def _dropout(scan: Scanner) -> Dropout:
    start = scan.at
    match = PROBABILITY.match(scan.text, start)
    p = float(match[0]) if match else 1.0
    if match is None or p >= 1:
        raise scan.fault("the probability of dropout is not below 1", "write it as in D0.5", start)
    scan.at = match.end()
    _read_suffixes(scan, allowed="")
    return Dropout(p)


_READERS: Mapping[str, Callable[[Scanner], Layer]] = MappingProxyType(
    {
        "AAP": _adaptive,
        "MP": lambda scan: MaxPool(_pool(scan, allowed="spd")),
        "AP": lambda scan: AvgPool(_pool(scan, allowed="sp")),
        "BP": lambda scan: BlurPool(_convolution(scan, allowed="sp")[0]),
        "DW": _depthwise,
        "D": _dropout,
    }
)
"""What reads on after the letters of a layer with numbers; where one begins another, the longer stands first."""

HEAD = re.compile("|".join(_READERS))


def _read_suffixes(scan: Scanner, allowed: str) -> _Suffixes:
    found, seen = _Suffixes(), set[str]()
    while not scan.at_word_end():
        start = scan.at
        letter = "b" if scan.text.startswith("nb", start) else scan.peek()
        if letter not in allowed:
            names = ", ".join(SUFFIXES[a] for a in allowed)
            raise scan.fault(
                f"unexpected {quoted(scan.word())}",
                f"allowed suffixes: {names}" if names else "this layer takes no suffix; write - before the next layer",
            )
        if letter in seen:
            raise scan.fault(f"a second suffix {letter!r}", "give each suffix once")
        seen.add(letter)
        found = _read_suffix(scan, letter, found)
    return found


def _read_suffix(scan: Scanner, letter: str, found: _Suffixes) -> _Suffixes:
    if scan.take("nb"):
        return replace(found, bias=False)
    scan.take(letter)
    match letter:
        case "s":
            return replace(found, stride=_pair(scan, "stride", least=1))
        case "d":
            return replace(found, dilation=_pair(scan, "dilation", least=1))
        case "g":
            return replace(found, groups=scan.number("number of groups", 1, MAX_COUNT))
        case "p":
            return replace(found, pads=((0, 0), (0, 0)) if scan.take("v") else _read_pads(scan))
        case _:
            return replace(found, bias=True)


def _pair(scan: Scanner, what: str, least: int) -> Pair:
    """`3` for both axes, or `3x5` for height and width."""
    height = scan.number(what, least, MAX_PX)
    return height, scan.number(what, least, MAX_PX) if scan.take("x") else height


def _read_pads(scan: Scanner) -> Pads:
    height = _sides(scan)
    return height, _sides(scan) if scan.take("x") else height


def _sides(scan: Scanner) -> Pair:
    """`1` for both sides of an axis, or `1:2` for before and after."""
    before = scan.number("padding", 0, MAX_PX)
    return before, scan.number("padding", 0, MAX_PX) if scan.take(":") else before
