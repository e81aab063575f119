"""From text to values: chains, repetitions and residual groups; `striate.notation.layers` reads the layers."""

from __future__ import annotations

import re

from striate.notation.layers import ALLOWED, read_layer
from striate.notation.scan import Scanner, quoted
from striate.notation.syntax import MAX_COUNT, MAX_DEPTH, MAX_LAYERS, Chain, Item, Repeat, Residual, count_layers

REPEAT = re.compile(r"[0-9]+ *x *\(")


def parse(text: str) -> Chain:
    """What `text` says.

    Raises: NotationError of three lines: the fault and what is allowed, the text, a caret under the fault.
    """
    scan = Scanner(text)
    scan.skip_spaces()
    if not scan.peek():
        raise scan.fault("the notation is empty", "write layers joined by -, such as 32C3-BN-R-GAP-10")
    chain = _chain(scan, depth=0)
    if scan.peek():
        raise scan.fault(f"{scan.peek()!r} closes or divides no group", "remove it, or open the group before it")
    return chain


def _chain(scan: Scanner, depth: int) -> Chain:
    """Read items joined by `-` up to the end, `)`, `]` or `|`."""
    items: list[Item] = []
    layers = 0
    while True:
        scan.skip_spaces()
        start = scan.at
        items.append(_item(scan, depth))
        layers += count_layers((items[-1],))
        if layers > MAX_LAYERS:
            raise scan.fault(f"more than {MAX_LAYERS:,} layers", "repeat fewer times", start)
        scan.skip_spaces()
        if scan.take("-"):
            continue
        if scan.peek() in ("", ")", "]", "|"):
            return tuple(items)
        raise scan.fault(f"unexpected {quoted(scan.word() or scan.peek())}", "write - before the next layer")


def _item(scan: Scanner, depth: int) -> Item:
    repeats = REPEAT.match(scan.text, scan.at) is not None
    if depth >= MAX_DEPTH and (repeats or scan.peek() == "["):
        raise scan.fault(f"groups nested deeper than {MAX_DEPTH}", "write it flatter")
    if repeats:
        return _repeat(scan, depth + 1)
    if scan.peek() == "[":
        return _residual(scan, depth + 1)
    if scan.peek() == "(":
        raise scan.fault("a group without a count", f"write how often, as in 2x(...); {ALLOWED}")
    return read_layer(scan)


def _repeat(scan: Scanner, depth: int) -> Repeat:
    count = scan.number("number of repetitions", 1, MAX_COUNT)
    start = scan.text.index("(", scan.at)
    scan.at = start + 1
    body = _chain(scan, depth)
    _close(scan, ")", start)
    return Repeat(count, body)


def _residual(scan: Scanner, depth: int) -> Residual:
    start = scan.at
    scan.take("[")
    body = _chain(scan, depth)
    shortcut = _chain(scan, depth) if scan.take("|") else ()
    _close(scan, "]", start)
    return Residual(body, shortcut)


def _close(scan: Scanner, bracket: str, opened_at: int) -> None:
    if not scan.take(bracket):
        raise scan.fault(
            f"{bracket!r} is missing", f"the group opened at character {opened_at + 1} must close with {bracket!r}"
        )
