"""An inspection as HTML for notebooks: one table, its own style, no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from striate.measure.layer import Layer
from striate.measure.table import Column

STYLE = (
    ".striate{font:12px/1.4 system-ui,sans-serif;border-collapse:collapse}"
    ".striate td,.striate th{padding:1px 8px;border:0;white-space:nowrap;text-align:left}"
    ".striate .n{text-align:right;font-variant-numeric:tabular-nums}"
    ".striate thead th{border-bottom:1px solid currentColor}"
    ".striate tbody.classifier tr:first-child td{border-top:1px solid currentColor}"
    "p.striate{padding:0 8px}"
    ".striate caption{text-align:left;font-weight:600;padding:4px 8px}"
)


def page(
    title: str, columns: Sequence[Column], cells: Sequence[tuple[Layer, Sequence[str]]], notes: Sequence[str]
) -> str:
    """The table with its caption, a body for each part, and the totals below it."""
    head = "".join(_cell("th", column.head, column) for column in columns)
    bodies, part = [], ""
    for layer, texts in cells:
        if layer.part != part:
            bodies.append(f"{'</tbody>' if part else ''}<tbody class='{layer.part}'>")
            part = layer.part
        bodies.append(f"<tr>{''.join(_cell('td', t, c) for t, c in zip(texts, columns, strict=True))}</tr>")
    end = "</tbody>" if bodies else ""
    below = "<br>".join(escape(line.replace("   ", " · ")) for line in notes)
    return (
        f"<style>{STYLE}</style><table class='striate'><caption>{escape(title)}</caption>"
        f"<thead><tr>{head}</tr></thead>{''.join(bodies)}{end}</table><p class='striate'>{below}</p>"
    )


def _cell(tag: str, text: str, column: Column) -> str:
    kind = " class='n'" if column.is_number else ""
    return f"<{tag}{kind}>{escape(text)}</{tag}>"
