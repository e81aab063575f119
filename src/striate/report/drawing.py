"""A network as one SVG picture: its layers from top to bottom with shapes and receptive fields.

Normalisations and activations stand on the card of the layer before them. Blocks that repeat are drawn once, with
their count. The file needs no font, script or network beyond what every browser has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from striate.graph import Network
from striate.measure import Inspection, Layer, inspect_network
from striate.measure.layer import known_fields
from striate.measure.text import pair, times
from striate.ops import Shape
from striate.report.cards import MOST_CARDS, Card, Run, Segment, cards, runs, segments
from striate.report.layout import ENTRY, Layout, lay_out

CARD_W, CARD_H, GAP, LANE = 336, 50, 26, 22
MARGIN, TITLE_H, FRAME = 24, 62, 12
LINE, SOFT, INK = "#8a94a3", "#5d6673", "#1b2027"

COLOURS: Mapping[str, str] = {
    "conv": "#2f6fb7",
    "conv_transpose": "#2f6fb7",
    "linear": "#3b8f5a",
    "max_pool": "#c9762b",
    "avg_pool": "#c9762b",
    "blur_pool": "#c9762b",
    "global_avg_pool": "#c9762b",
    "adaptive_avg_pool": "#c9762b",
    "adaptive_max_pool": "#c9762b",
    "global_reduce": "#c9762b",
    "add": "#7d5bb0",
    "mul": "#7d5bb0",
    "sub": "#7d5bb0",
    "div": "#7d5bb0",
    "concat": "#7d5bb0",
}
"""The edge of a card by the kind of its first layer; every other kind is grey."""

STYLE = (
    "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:12px}"
    f".op{{font-weight:600;fill:{INK}}}.soft{{fill:{SOFT};font-size:11px}}.right{{text-anchor:end}}"
    f".title{{font-size:16px;font-weight:600;fill:{INK}}}.times{{font-size:14px;font-weight:700;fill:{SOFT}}}"
)


@dataclass(slots=True)
class _Page:
    """SVG elements collected from top to bottom; y is where the next row starts, width what the rows took so far."""

    layers: Mapping[str, Layer]
    y: float = TITLE_H
    width: float = 0.0
    frames: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)


def draw(network: Network, input_shape: Shape | None = None) -> str:
    """The SVG text of `network` on one image of `input_shape`.  Raises: ShapeError."""
    found = inspect_network(network, input_shape)
    page = _Page({layer.name: layer for layer in found.layers})
    _image_card(page, found)
    for run in runs(segments(cards(network))):
        _run(page, run)
    return _svg(page, found)


def _svg(page: _Page, found: Inspection) -> str:
    title = found.network if len(found.network) < 60 else f"{found.network[:57]}..."
    least = ">= " if found.unknown else ""
    facts = f"{least}{found.parameters:,} parameters, {least}{found.macs:,} MACs an image"
    width = max(page.width, 10 * len(title), 7 * len(facts)) + 2 * MARGIN
    height = page.y - GAP + MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img"><title>{escape(found.network)}</title>'
        f"<style>{STYLE}</style>"
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker></defs>'
        f'<rect width="100%" height="100%" fill="#fff"/>'
    )
    words = _text(MARGIN, 30, title, "title") + _text(MARGIN, 48, facts, "soft")
    return "\n".join([head, words, *page.frames, *page.lines, *page.boxes, "</svg>", ""])


def _image_card(page: _Page, found: Inspection) -> None:
    page.boxes.append(_box(MARGIN + FRAME, page.y, "#888", [("op", "image", times(found.input))], 30))
    page.y += 30 + GAP
    page.width = CARD_W + 2 * FRAME


def _run(page: _Page, run: Run) -> None:
    """The segments of one run, framed if they repeat."""
    top = page.y
    if run.count > 1:
        page.y += GAP
        page.lines.append(_line(MARGIN + FRAME + CARD_W / 2, top - GAP, top, arrow=False))
    right = 0.0
    for segment, last in zip(run.segments, run.last, strict=True):
        right = max(right, _segment(page, segment, last))
    page.width = max(page.width, right - MARGIN + FRAME)
    if run.count > 1:
        bottom = page.y - GAP + FRAME
        page.frames.append(
            f'<rect x="{MARGIN}" y="{top:.0f}" width="{right - MARGIN + FRAME:.0f}" height="{bottom - top:.0f}" rx="8" '
            f'fill="#f3f5f8" stroke="#c6ccd5" stroke-dasharray="5 4"/>'
        )
        page.frames.append(_text(right + FRAME + 8, (top + bottom) / 2 + 5, f"× {run.count}", "times"))
        page.width = max(page.width, right - MARGIN + FRAME + 44)
        page.y = bottom + GAP


def _segment(page: _Page, segment: Segment, last: Segment) -> float:
    """Draw one segment at `page.y` and return the x where it ends."""
    if len(segment.cards) > MOST_CARDS:
        segment, last = _summary(segment), _summary(last)
    layout = lay_out(segment)
    x_of = _columns(layout)
    top = page.y
    for card, repeated in zip(segment.cards, last.cards, strict=True):
        y = top + layout.row[card.index] * (CARD_H + GAP)
        page.boxes.append(_card(page, card, repeated, x_of[layout.column[card.index]], y))
    for c in layout.connections:
        start = top - GAP if c.source == ENTRY else top + layout.row[c.source] * (CARD_H + GAP) + CARD_H
        x0 = x_of[0] if c.source == ENTRY else x_of[layout.column[c.source]]
        x1, end = x_of[layout.column[c.target]], top + layout.row[c.target] * (CARD_H + GAP)
        half = CARD_W / 2
        run = x_of[c.column] + (half if c.column in layout.card_columns else 0)
        page.lines.append(_route(x0 + half, start, run, x1 + half, end))
    page.y = top + layout.rows * (CARD_H + GAP)
    ends = [x + (CARD_W if c in layout.card_columns else 0) for c, x in x_of.items()]
    return max(ends)


def _columns(layout: Layout) -> dict[int, float]:
    """The left edge of every column that holds cards, and the x of every column that holds lines."""
    last = max([c.column for c in layout.connections] + list(layout.card_columns))
    x, x_of = float(MARGIN + FRAME), {}
    for column in range(last + 1):
        if column in layout.card_columns:
            x_of[column] = x
            x += CARD_W + LANE
        else:
            x_of[column] = x
            x += LANE
    return x_of


def _summary(segment: Segment) -> Segment:
    """A segment with too many cards as one card that counts its layers."""
    nodes = tuple(node for card in segment.cards for node in card.nodes)
    return Segment((Card(segment.cards[0].index, nodes, (ENTRY,)),))


def _card(page: _Page, card: Card, repeated: Card, x: float, y: float) -> str:
    first, end, later = (page.layers[n.name] for n in (card.nodes[0], card.nodes[-1], repeated.nodes[-1]))
    if len(card.nodes) > MOST_CARDS:
        kinds = Counter(node.op.kind for node in card.nodes)
        op, colour = f"{len(card.nodes)} layers, {kinds['conv']} conv", "#888"
        behind = f"{first.name} to {end.name}"
    else:
        op = f"{WORDS.get(first.kind, first.kind)} {first.settings}".strip()
        behind = ", ".join([card.nodes[0].name, *(_short(page.layers[n.name]) for n in card.nodes[1:])])
        colour = COLOURS.get(first.kind, "#888")
    rows = [("op", op, times(end.output) if end.has_shape else "?"), ("soft", behind, _field(end, later))]
    return _box(x, y, colour, rows, CARD_H)


WORDS = {"global_avg_pool": "global average", "max_pool": "max pool", "avg_pool": "average pool", "linear": "dense"}


def _short(layer: Layer) -> str:
    return {"batch_norm": "BN", "activation": layer.settings}.get(layer.kind, layer.kind)


def _field(layer: Layer, later: Layer) -> str:
    """`field 19, jump 4`, or from the first to the last repetition: `field 19 … 35, jump 4`."""
    known, known_later = known_fields(layer.local_fields), known_fields(later.local_fields)
    if known is None or known_later is None:
        return "field ?"
    sizes = list(dict.fromkeys(pair([f.size for f in k]) for k in (known, known_later)))
    return f"field {' … '.join(sizes)}, jump {pair([f.jump for f in known])}"


def _box(x: float, y: float, colour: str, rows: list[tuple[str, str, str]], height: int) -> str:
    parts = [
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{CARD_W}" height="{height}" rx="5" fill="#fff" stroke="#c6ccd5"/>',
        f'<rect x="{x:.0f}" y="{y:.0f}" width="5" height="{height}" rx="2" fill="{colour}"/>',
    ]
    for i, (style, left, right) in enumerate(rows):
        base = y + 20 + 18 * i
        room = int((CARD_W - 30 - 6.3 * len(right)) / (6.6 if style == "op" else 5.9))
        shown = left if len(left) <= room else f"{left[: room - 1]}…"
        parts.append(_text(x + 14, base, shown, style) + _text(x + CARD_W - 10, base, right, f"{style} right"))
    return "".join(parts)


def _text(x: float, y: float, words: str, style: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{style}">{escape(words)}</text>'


def _line(x: float, top: float, bottom: float, *, arrow: bool) -> str:
    tip = ' marker-end="url(#tip)"' if arrow else ""
    return f'<path d="M{x:.0f} {top:.0f}V{bottom:.0f}" fill="none" stroke="{LINE}" stroke-width="1.3"{tip}/>'


def _route(x0: float, top: float, run: float, x1: float, bottom: float) -> str:
    """Down from (x0, top), across to the column `run`, down, across to x1, down to (x1, bottom)."""
    if x0 == run == x1:
        return _line(x0, top, bottom, arrow=True)
    leave, arrive = top + 0.35 * GAP, bottom - 0.55 * GAP
    path = f"M{x0:.0f} {top:.0f}V{leave:.1f}H{run:.0f}V{arrive:.1f}H{x1:.0f}V{bottom:.0f}"
    return (
        f'<path d="{path}" fill="none" stroke="{LINE}" stroke-width="1.3" stroke-linejoin="round" '
        f'marker-end="url(#tip)"/>'
    )
