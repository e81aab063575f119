"""Numbers and tables as plain text."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]], flush_right: Sequence[bool]) -> list[str]:
    """Lines of a table, heads first, each column as wide as its widest cell.

    flush_right: for each column, whether it is set flush right, as numbers are.
    """
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    return [_line(row, widths, flush_right) for row in (heads, *rows)]


def _line(cells: Sequence[str], widths: Sequence[int], flush_right: Sequence[bool]) -> str:
    placed = (c.rjust(w) if right else c.ljust(w) for c, w, right in zip(cells, widths, flush_right, strict=True))
    return "  ".join(placed).rstrip()


def times(shape: Sequence[int]) -> str:
    """`32x28x28`."""
    return "x".join(map(str, shape))


def pair(values: Sequence[int]) -> str:
    """`3` where both axes agree, `3x5` where they differ."""
    return str(values[0]) if len(set(values)) == 1 else times(values)


def bytes_text(count: int | None) -> str:
    """`1.2 MB`, in powers of 1000; `?` for what is not known."""
    if count is None:
        return "?"
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def listed(names: Sequence[str], most: int = 6) -> str:
    """`a, b, c`; of many the first, and how many more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def ranges(indices: Sequence[int]) -> str:
    """`0, 3..5` for (0, 3, 4, 5)."""
    runs: list[list[int]] = []
    for i in indices:
        if runs and i == runs[-1][1] + 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in runs)
