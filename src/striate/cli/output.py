"""What commands print: text for people, one JSON value for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from striate.choice import Choice

Say = Callable[[str], None]
MOST_FINDINGS = 6  # lines of one command; what they are about is in its result
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value instead of text.")]


def print_json(value: Any) -> None:
    """Print `value` as JSON; a number that JSON has no word for is null."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def note(text: str) -> None:
    """A line beside the result: to standard error, so that it never mixes with data."""
    print(text, file=sys.stderr, flush=True)


def close(remarks: Iterable[str], findings: Iterable[str]) -> None:
    """End a command that has shown its result: what is to be said beside it, and what is missing in it (code 1)."""
    for remark in remarks:
        note(f"note: {remark}")
    found = list(findings)
    for one in found[:MOST_FINDINGS]:
        note(f"striate: {one}")
    if len(found) > MOST_FINDINGS:
        note(f"striate: and {len(found) - MOST_FINDINGS} more like these")
    if found:
        raise typer.Exit(1)


def print_choices(choices: Iterable[Choice]) -> None:
    """Each automatic decision with its reason, on one line."""
    for choice in choices:
        note(f"  auto: {choice}")


def percent(share: float) -> str:
    """`91.3 %`."""
    return f"{100 * share:.1f} %"


def seconds_text(seconds: float) -> str:
    """`8 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
