"""From a network to what a drawing shows: cards of fused layers, the segments of its trunk, and runs that repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from striate.graph import INPUT, Network, Node
from striate.ops import Activation, BatchNorm, Dropout, Identity, Op

LONGEST_RUN = 6  # segments of a repeated group that are looked for
MOST_CARDS = 30  # of one segment that are drawn singly


@dataclass(frozen=True, slots=True)
class Card:
    """Layers drawn as one box: the first, and the normalisation and activation behind it that only they read.

    index: its place among all cards; reads: indices of the cards it reads, -1 for the image
    """

    index: int
    nodes: tuple[Node, ...]
    reads: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """The cards between two points that every path passes, the second point included: one layer or one block."""

    cards: tuple[Card, ...]

    def signature(self) -> tuple[object, ...]:
        """What two segments have in common if one is the other repeated: layers and wiring, without names."""
        base = self.cards[0].index
        return tuple((_ops(card), tuple(max(-1, r - base) for r in card.reads)) for card in self.cards)


@dataclass(frozen=True, slots=True)
class Run:
    """Segments drawn once, of which the whole network has `count` in a row; `last` are those of the last repetition."""

    segments: tuple[Segment, ...]
    count: int
    last: tuple[Segment, ...]


def _ops(card: Card) -> tuple[Op, ...]:
    return tuple(node.op for node in card.nodes)


def cards(network: Network) -> tuple[Card, ...]:
    """The boxes of `network` in order, without layers that the result does not depend on."""
    needed = {network.output}
    for node in reversed(network.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    readers = network.consumers()
    groups: list[list[Node]] = []
    group_of: dict[str, int] = {INPUT: -1}
    for node in network:
        if node.name not in needed:
            continue
        before = node.inputs[0]
        at, alone = group_of[before], len(readers[before]) == 1 and before != network.output
        if at >= 0 and alone and isinstance(node.op, BatchNorm | Activation | Dropout | Identity):
            groups[at].append(node)
        else:
            groups.append([node])
            at = len(groups) - 1
        group_of[node.name] = at
    return tuple(
        Card(i, tuple(group), tuple(dict.fromkeys(group_of[name] for name in group[0].inputs)))
        for i, group in enumerate(groups)
    )


def segments(boxes: Sequence[Card]) -> tuple[Segment, ...]:
    """The cards cut at every card that no connection passes by."""
    found, start = [], 0
    last_reader = {r: card.index for card in boxes for r in card.reads}
    furthest = last_reader.get(-1, 0)
    for card in boxes:
        if card.index >= furthest:
            found.append(Segment(tuple(boxes[start : card.index + 1])))
            start = card.index + 1
        furthest = max(furthest, last_reader.get(card.index, 0))
    return tuple(found)


def runs(parts: Sequence[Segment]) -> tuple[Run, ...]:
    """The segments with every repetition folded, from the left, the run that saves most first."""
    numbers: dict[object, int] = {}
    ids = [numbers.setdefault(part.signature(), len(numbers)) for part in parts]
    found, at = [], 0
    while at < len(parts):
        period, count = _best(ids, at)
        end = at + period * count
        found.append(Run(tuple(parts[at : at + period]), count, tuple(parts[end - period : end])))
        at = end
    return tuple(found)


def _best(ids: Sequence[int], at: int) -> tuple[int, int]:
    best = (1, 1)
    for period in range(1, min(LONGEST_RUN, (len(ids) - at) // 2) + 1):
        count = 1
        while ids[at + count * period : at + (count + 1) * period] == ids[at : at + period]:
            count += 1
        if period * (count - 1) > best[0] * (best[1] - 1):
            best = (period, count)
    return best
