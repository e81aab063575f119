"""The pictures that a network gets wrong: its most frequent confusions, and where it was most sure and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from striate.data.dataset import Part
from striate.report.contact_sheet import COLUMNS, Cell, Section, draw
from striate.train.evaluation.mistakes import Confusion, Mistake

PAIRS = 6
WORST = 3 * COLUMNS


def draw_mistakes(
    part: Part,
    classes: Sequence[str],
    found: Sequence[Mistake],
    pairs: Sequence[Confusion],
    title: str,
    path: Path,
) -> Path:
    """Write a contact sheet (PNG) of the images as the network saw them, each with its class and the answer.

    found: wrong answers, the most confident first; pairs: confusions, the most frequent first.
    """

    def cell(one: Mistake) -> Cell:
        said = f"said {classes[one.predicted]}, {100 * one.confidence:.1f} %"
        return Cell(part.images[one.row], (classes[one.true], said, str(part.names[one.row])))

    sections = []
    for pair in pairs[:PAIRS]:
        members = [one for one in found if (one.true, one.predicted) == (pair.true, pair.predicted)]
        heading = f"{classes[pair.true]} taken for {classes[pair.predicted]}: {_times(pair.count)}"
        cells = tuple((cell(one),) for one in members[:COLUMNS])
        sections.append(Section(heading, "the most confident of them", cells))
    worst = tuple((cell(one),) for one in found[:WORST])
    if worst:
        note = "first line the class, second the answer with its probability; a wrong label looks like this too"
        sections.append(Section("most confident of all and wrong", note, worst))
    return draw(title, sections, path)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
