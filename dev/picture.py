"""Draw the README's picture: what `striate demo` really printed, as an SVG.

usage: striate demo --out FOLDER 2> demo.txt && dev/picture.py demo.txt docs/demo.svg
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

CHAR_PX, LINE_PX, MARGIN_PX = 7.25, 17, 18
PAPER, INK, QUIET, HEAD = "#fbfaf7", "#22262b", "#7d838a", "#1f5fa8"
STEPS = ("1.", "4.", "6.", "summary")  # the steps shown; training and scores are pictures of their own
WIDEST = 112


def main(printed: Path, picture: Path) -> None:
    """Write the picture of the steps that the demo printed."""
    lines = [line for step in steps(printed.read_text(encoding="utf-8")) for line in (*step, "")][:-1]
    height = MARGIN_PX * 2 + LINE_PX * len(lines)
    width = MARGIN_PX * 2 + CHAR_PX * WIDEST
    rows = [row(line, MARGIN_PX + LINE_PX * (i + 0.75)) for i, line in enumerate(lines)]
    picture.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
        f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="12">\n'
        f'<rect width="100%" height="100%" rx="8" fill="{PAPER}" stroke="#d8d5cc"/>\n' + "\n".join(rows) + "\n</svg>\n",
        encoding="utf-8",
    )


def steps(text: str) -> list[list[str]]:
    """The paragraphs that start as `STEPS` says, without lines that are too long to show whole."""
    found = []
    for block in text.split("\n\n"):
        lines = block.strip("\n").splitlines()
        if lines and lines[0].startswith(STEPS):
            found.append(lines)
        elif lines and found and not lines[0][:2].rstrip(".").isdigit() and found[-1][0].startswith("1."):
            found[-1] += ["", *lines]  # the table stands in a paragraph of its own
    return [[clipped(line) for line in block] for block in found]


def clipped(line: str) -> str:
    """A line of at most `WIDEST` characters, its cut marked."""
    return line if len(line) <= WIDEST else line[: WIDEST - 1] + "…"


def row(line: str, y: float) -> str:
    """One line of text, heads in blue and rules in gray."""
    is_head = line.startswith(STEPS)
    ink = HEAD if is_head else QUIET if line.startswith("-") else INK
    weight = ' font-weight="bold"' if is_head else ""
    return f'<text x="{MARGIN_PX}" y="{y:.1f}" fill="{ink}"{weight} xml:space="preserve">{escape(line)}</text>'


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
