"""How far a long piece of work is: a bar on a terminal, a line now and then without one, nothing if it is short.

Where nobody knows how much there is, as in a stream, the total is told as 0, and the rate is shown instead.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from striate.cli.output import note
from striate.verify import Tell

PATIENCE_SECONDS = 2.0  # shorter work shows nothing
LINE_SECONDS = 10.0
BAR_CELLS = 30


@contextmanager
def meter(what: str, unit: str) -> Iterator[Tell]:
    """A function to tell how many of how many `unit` are done; the bar is taken away at the end."""
    on_terminal = sys.stderr.isatty()
    said = start = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - start < PATIENCE_SECONDS or (not on_terminal and now - said < LINE_SECONDS):
            return
        said = now
        text = f"{what}: {_amount(done, total, unit, now - start)}"
        if on_terminal:
            bar = f"{'=' * (BAR_CELLS * done // total):<{BAR_CELLS}} " if total else ""
            print(f"\r{bar}{text} ", end="", file=sys.stderr, flush=True)
        else:
            note(f"  {text}")

    try:
        yield tell
    finally:
        if on_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _amount(done: int, total: int, unit: str, seconds: float) -> str:
    if not total:
        return f"{done:,} {unit}, {done / max(seconds, 1e-9):,.0f} a second"
    return f"{done:,} of {total:,} {unit}, about {seconds / done * (total - done):.0f} s left"
