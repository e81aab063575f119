"""Where the cards of one segment stand, and along which columns its connections run.

Rows follow the longest path. The longest chain stands in column 0; every other chain, and every connection that skips
rows, has a column that is free from the row below its source to the row above its target. So horizontal parts lie
between rows only, and no line crosses a card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from striate.report.cards import Card, Segment

ENTRY = -1
"""The card before the segment, which all that reads from outside reads."""


@dataclass(frozen=True, slots=True)
class Connection:
    """From card `source` (ENTRY for the segment's input) to card `target`, running down in `column`."""

    source: int
    target: int
    column: int


@dataclass(slots=True)
class Layout:
    """Rows and columns of one segment; row 0 is its first. `card_columns`: the columns that hold cards."""

    row: dict[int, int]
    column: dict[int, int]
    connections: list[Connection] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows it takes."""
        return max(self.row.values()) + 1

    @property
    def card_columns(self) -> set[int]:
        """The columns that hold cards; the others hold lines only."""
        return set(self.column.values())


def lay_out(segment: Segment) -> Layout:
    """The layout of a segment; its last card stands in column 0."""
    first = segment.cards[0].index
    reads = {c.index: tuple(r if r >= first else ENTRY for r in c.reads) for c in segment.cards}
    row = {ENTRY: -1}
    for card in segment.cards:
        row[card.index] = 1 + max(row[r] for r in reads[card.index])
    layout = Layout({k: v for k, v in row.items() if k != ENTRY}, {})
    taken: dict[int, list[tuple[int, int]]] = {}
    drawn: set[tuple[int, int]] = set()
    for chain in _chains(segment.cards, reads, row):
        _place(chain, reads, row, layout, taken, drawn)
    for target, sources in reads.items():
        for source in dict.fromkeys(sources):
            if (source, target) not in drawn:
                adjacent = row[target] == row[source] + 1
                column = layout.column[target] if adjacent else _free(taken, row[source] + 1, row[target] - 1, least=1)
                layout.connections.append(Connection(source, target, column))
    return layout


def _chains(cards: Sequence[Card], reads: Mapping[int, Sequence[int]], row: Mapping[int, int]) -> list[list[int]]:
    """Every card once, in chains: the longest first, each going up from its last card."""
    left = {card.index for card in cards}
    found = []
    while left:
        at = max(left, key=lambda i: (row[i], i))
        chain = [at]
        while inner := [r for r in reads[chain[-1]] if r in left and r != ENTRY]:
            chain.append(max(inner, key=lambda i: (row[i], -i)))
        left -= set(chain)
        found.append(chain[::-1])
    return found


def _place(
    chain: Sequence[int],
    reads: Mapping[int, Sequence[int]],
    row: Mapping[int, int],
    layout: Layout,
    taken: dict[int, list[tuple[int, int]]],
    drawn: set[tuple[int, int]],
) -> None:
    """Give a chain the first column that is free from its source to its target, and draw its connections there."""
    source = max(reads[chain[0]], key=lambda r: row[r])
    targets = [t for t, sources in reads.items() if chain[-1] in sources]
    target = min(targets, key=lambda t: row[t]) if targets else None
    end = row[target] - 1 if target is not None else row[chain[-1]]
    column = _free(taken, row[source] + 1, max(end, row[chain[-1]]), least=0)
    for index in chain:
        layout.column[index] = column
    links = [(source, chain[0]), *pairwise(chain)]
    links += [(chain[-1], target)] if target is not None else []
    for a, b in links:
        drawn.add((a, b))
        layout.connections.append(Connection(a, b, column))


def _free(taken: dict[int, list[tuple[int, int]]], first: int, last: int, least: int) -> int:
    column = least
    while any(a <= last and first <= b for a, b in taken.get(column, [])):
        column += 1
    taken.setdefault(column, []).append((first, last))
    return column
