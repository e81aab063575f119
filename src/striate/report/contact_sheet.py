"""Pictures side by side on one PNG, and an audit's findings and classes on such a sheet. Values drawn, no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from striate.data.audit.pictures import Sheet
from striate.data.audit.report import Audit, Case
from striate.data.audit.report import Image as Named
from striate.data.resize import to_image
from striate.report.files import writing

INK, GRAY, RED, GROUND, EMPTY = "#222222", "#777777", "#b3261e", "#ffffff", "#eeeeee"
SIDE_PX, GAP_PX, MARGIN_PX, COLUMNS = 144, 12, 24, 8
TEXT_PX, HEADING_PX, LINE_PX = 12, 18, 16


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One picture (C, H, W) uint8, or None where it cannot be read, over lines of text."""

    pixels: NDArray[np.uint8] | None
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """A heading, a line below it, and strips of pictures that stay together."""

    heading: str
    note: str
    strips: tuple[tuple[Cell, ...], ...]


def draw_audit(audit: Audit, sheet: Sheet, path: Path) -> Path:
    """A contact sheet: the pictures of each finding beside each other, then examples of each class."""
    sections = []
    for finding in audit.findings:
        strips = [
            _strip(case, sheet) for case in finding.cases if any(image in sheet.pictures for image in case.images)
        ]
        if strips:
            sections.append(Section(f"{finding.level}: {finding.sentence}", finding.remedy, tuple(strips)))
    rows = (
        tuple(Cell(sheet.pictures.get(image), (image.name, name)) for image in images)
        for name, images in sheet.samples.items()
    )
    sections.append(Section("classes", "some images of each, drawn at random", tuple(rows)))
    return draw(f"{audit.source}: {audit.images:,} images, {len(audit.classes)} classes", sections, path)


def draw(title: str, sections: Sequence[Section], path: Path, columns: int = COLUMNS) -> Path:
    """Lay the strips out, several in a line while they fit into ``columns`` pictures, and write a PNG."""
    width = 2 * MARGIN_PX + columns * (SIDE_PX + GAP_PX) - GAP_PX
    page = _Page(width, _height(sections, columns))
    page.text(MARGIN_PX, title, HEADING_PX, INK, width - 2 * MARGIN_PX)
    page.y += HEADING_PX + GAP_PX
    for section in sections:
        colour = RED if section.heading.startswith("fault") else INK
        page.y += GAP_PX
        page.text(MARGIN_PX, section.heading, HEADING_PX - 3, colour, width - 2 * MARGIN_PX)
        page.y += HEADING_PX + 4
        page.text(MARGIN_PX, section.note, TEXT_PX, GRAY, width - 2 * MARGIN_PX)
        page.y += LINE_PX + GAP_PX // 2
        for line in _lines(section.strips, columns):
            page.strips(line)
    with writing(path):
        page.image.save(path, "PNG")
    return path


class _Page:
    """A white page that is filled from above."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width, height), GROUND)
        self.pen = ImageDraw.Draw(self.image)
        self.fonts = {size: ImageFont.load_default(size) for size in (TEXT_PX, HEADING_PX, HEADING_PX - 3)}
        self.y = MARGIN_PX

    def text(self, x: int, words: str, size: int, colour: str, width: int, y: int | None = None) -> None:
        """One line; what is too long loses its beginning, for names differ at their end."""
        font = self.fonts[size]
        shown = words
        while shown and font.getlength(shown if shown == words else "..." + shown) > width:
            shown = shown[1:]
        self.pen.text((x, self.y if y is None else y), shown if shown == words else "..." + shown, colour, font)

    def strips(self, line: Sequence[Sequence[Cell]]) -> None:
        """Strips side by side; a thin rule under each shows what belongs together."""
        x, deepest = MARGIN_PX, max(len(cell.lines) for strip in line for cell in strip)
        for strip in line:
            start = x
            for cell in strip:
                self.cell(x, cell)
                x += SIDE_PX + GAP_PX // 3 if cell is not strip[-1] else SIDE_PX
            if len(strip) > 1:
                self.pen.line((start, self.y + SIDE_PX + 2, x - 1, self.y + SIDE_PX + 2), GRAY)
            x = start + len(strip) * (SIDE_PX + GAP_PX)
        self.y += SIDE_PX + 4 + deepest * LINE_PX + GAP_PX

    def cell(self, x: int, cell: Cell) -> None:
        """One picture in the middle of its square, its lines below."""
        if cell.pixels is None:
            self.pen.rectangle((x, self.y, x + SIDE_PX - 1, self.y + SIDE_PX - 1), EMPTY)
            self.text(x + GAP_PX, "unreadable", TEXT_PX, GRAY, SIDE_PX, self.y + SIDE_PX // 2)
        else:
            picture = to_image(_enlarged(cell.pixels))
            picture.thumbnail((SIDE_PX, SIDE_PX))
            self.image.paste(picture, (x + (SIDE_PX - picture.width) // 2, self.y + (SIDE_PX - picture.height) // 2))
        for i, words in enumerate(cell.lines):
            self.text(x, words, TEXT_PX, INK if i == 0 else GRAY, SIDE_PX, self.y + SIDE_PX + 5 + i * LINE_PX)


def _strip(case: Case, sheet: Sheet) -> tuple[Cell, ...]:
    def cell(image: Named) -> Cell:
        return Cell(sheet.pictures.get(image), (image.name, f"{image.class_name}, {image.part}"))

    return tuple(cell(image) for image in case.images[:4])


def _lines(strips: Sequence[Sequence[Cell]], columns: int) -> Iterator[list[Sequence[Cell]]]:
    line: list[Sequence[Cell]] = []
    for strip in strips:
        if line and sum(map(len, line)) + len(strip) > columns:
            yield line
            line = []
        line.append(strip)
    if line:
        yield line


def _height(sections: Sequence[Section], columns: int) -> int:
    height = 2 * MARGIN_PX + HEADING_PX + GAP_PX
    for section in sections:
        height += GAP_PX + HEADING_PX + 4 + LINE_PX + GAP_PX // 2
        for line in _lines(section.strips, columns):
            deepest = max(len(cell.lines) for strip in line for cell in strip)
            height += SIDE_PX + 4 + deepest * LINE_PX + GAP_PX
    return height


def _enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each pixel repeated as often as the square holds, so that none is invented."""
    times = max(1, SIDE_PX // max(pixels.shape[1:]))
    return pixels.repeat(times, axis=1).repeat(times, axis=2)
