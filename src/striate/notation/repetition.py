"""Writing repetitions out, and finding them: `2x(64C3-BN-R)` says exactly what `64C3-BN-R-64C3-BN-R` says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from striate.notation.syntax import (
    MAX_DEPTH,
    Chain,
    Convolution,
    Dense,
    Depthwise,
    Item,
    Repeat,
    Residual,
    check_limits,
    has_bias,
)
from striate.notation.write import write

LONGEST_BODY = 64  # items of a repeated group that are looked for


def expand(chain: Chain) -> Chain:
    """`chain` with every repetition written out.  Raises: NotationError beyond the limits."""
    return _expand(check_limits(chain))


def _expand(chain: Chain) -> Chain:
    items: list[Item] = []
    for item in chain:
        match item:
            case Repeat(count, body):
                items.extend(_expand(body) * count)
            case Residual(body, shortcut):
                items.append(Residual(_expand(body), _expand(shortcut)))
            case _:
                items.append(item)
    return tuple(items)


def canonical(chain: Chain) -> Chain:
    """The one form of all notations that write out to the same layers.

    A bias is named only where the default rule gives another; repetitions stand wherever they shorten the text.
    """
    plain = _default_biases(expand(chain))
    short = _compress(plain)
    return short if _depth(short) <= MAX_DEPTH else plain


def _default_biases(chain: Chain) -> Chain:
    """`chain` (written out) without the bias settings that the default rule gives anyway."""
    items: list[Item] = []
    for item, following in zip(chain, (*chain[1:], None), strict=False):
        if isinstance(item, Residual):
            items.append(Residual(_default_biases(item.body), _default_biases(item.shortcut)))
        elif isinstance(item, Convolution | Depthwise | Dense):
            default = replace(item, bias=None)
            items.append(default if has_bias(item, following) == has_bias(default, following) else item)
        else:
            items.append(item)
    return tuple(items)


def _compress(chain: Chain) -> Chain:
    """From the left, replace the run of repeated items that saves the most characters, and go on behind it."""
    items = [Residual(_compress(i.body), _compress(i.shortcut)) if isinstance(i, Residual) else i for i in chain]
    numbers: dict[Item, int] = {}
    ids = [numbers.setdefault(item, len(numbers)) for item in items]
    widths = [len(write((item,))) + 1 for item in items]
    short: list[Item] = []
    at = 0
    while at < len(items):
        period, count = _best_run(ids, widths, at)
        if count > 1 and not _starts_later(items, ids, at, period, count):
            short.append(Repeat(count, _compress(tuple(items[at : at + period]))))
            at += period * count
        else:
            short.append(items[at])
            at += 1
    return tuple(short)


def _best_run(ids: Sequence[int], widths: Sequence[int], at: int) -> tuple[int, int]:
    """(items, times) of the repetition that starts at `at` and saves the most characters; (1, 1) where none saves."""
    best, best_saving = (1, 1), 0
    for period in range(1, min(LONGEST_BODY, (len(ids) - at) // 2) + 1):
        count = _times_repeated(ids, at, period)
        saving = (count - 1) * sum(widths[at : at + period]) - len(f"{count}x()")
        if count > 1 and saving > best_saving:
            best, best_saving = (period, count), saving
    return best


def _times_repeated(ids: Sequence[int], at: int, period: int) -> int:
    """How often the `period` items at `at` follow one another."""
    body = ids[at : at + period]
    count = 1
    while ids[at + count * period : at + (count + 1) * period] == body:
        count += 1
    return count


def _starts_later(items: Sequence[Item], ids: Sequence[int], at: int, period: int, count: int) -> bool:
    """Whether the same run, shifted, starts with a layer that holds a kernel, as people write it: 2x(64C3-BN-R)."""
    opens = Convolution | Depthwise | Dense | Residual
    return not isinstance(items[at], opens) and any(
        isinstance(items[start], opens) and _times_repeated(ids, start, period) >= count
        for start in range(at + 1, at + period)
    )


def _depth(chain: Chain) -> int:
    inner = [_depth(part) for i in chain if isinstance(i, Residual) for part in (i.body, i.shortcut)]
    inner += [_depth(i.body) for i in chain if isinstance(i, Repeat)]
    return 1 + max(inner) if inner else 0
