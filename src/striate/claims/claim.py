"""A statement of the theory with the experiment that could refute it, and what the experiment found."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from striate.errors import UsageError

Verdict = Literal["holds", "fails"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one experiment saw.

    holds: whether the numbers are those that the statement expects
    measured: the numbers in words, with n and seeds where chance has a part
    series: the numbers that a figure draws, by name
    """

    holds: bool
    measured: str
    series: Mapping[str, Any] = field(default_factory=dict)


Experiment = Callable[..., Finding]
"""A measurement with fixed seeds. Its arguments are the things under test, by default the real ones, so that a test can
break them; and `full`, where chance has a part and more seeds and settings say more."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One row of the theory.

    statement, formula: what is claimed; method: how it is measured, in plain words; expected: what must be seen
    quick: nothing is left to chance, so that there is no longer form: `run` takes no `full`
    caption: what the figure shows; empty where there is nothing that a person would rather look at
    """

    number: int
    title: str
    statement: str
    formula: str
    method: str
    expected: str
    run: Experiment
    quick: bool = True
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A claim after its experiment."""

    claim: Claim
    finding: Finding
    seconds: float

    @property
    def verdict(self) -> Verdict:
        """Whether the statement survived."""
        return "holds" if self.finding.holds else "fails"

    def to_json(self) -> dict[str, Any]:
        """The outcome as plain data, without the figure's numbers."""
        return {
            "number": self.claim.number,
            "statement": self.claim.statement,
            "expected": self.claim.expected,
            "measured": self.finding.measured,
            "verdict": self.verdict,
            "seconds": round(self.seconds, 2),
        }


def examine(claim: Claim, *, full: bool = False) -> Outcome:
    """Run the experiment of `claim`, timed.

    Raises: UsageError where it needs torch and there is none.
    """
    start = time.perf_counter()
    try:
        finding = claim.run() if claim.quick else claim.run(full=full)
    except ModuleNotFoundError as missing:
        raise UsageError(
            f"claims: statement {claim.number} needs {missing.name}; install it with pip install 'striate[train]'"
        ) from None
    return Outcome(claim, finding, time.perf_counter() - start)
