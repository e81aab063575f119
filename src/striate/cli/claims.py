"""striate claims: the theory of convolutional networks as experiments that can fail."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.output import AsJson, note, print_json, seconds_text

if TYPE_CHECKING:
    from striate.claims import Outcome

Numbers = Annotated[
    list[int] | None, typer.Argument(help="Statements to test; all 27 by default, 0 is the instrument.")
]
Full = Annotated[bool, typer.Option("--full", help="All seeds and settings, for those that train (under 25 min).")]
Figures = Annotated[Path | None, typer.Option(metavar="DIR", help="Write the figures into this folder.")]
Page = Annotated[
    Path | None, typer.Option(metavar="FILE.md", help="Write a page of all results, with figures beside it.")
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="The theory of CNNs, as experiments that can fail.")(claims)


def claims(
    numbers: Numbers = None, full: Full = False, figures: Figures = None, page: Page = None, json: AsJson = False
) -> None:
    """Test the theory of convolutional networks, statement by statement, on real images with fixed seeds.

    Exit code 1 if a statement fails. Example: striate claims 12 21
    """
    from striate.claims import INSTRUMENT, chosen, examine
    from striate.report.claims_page import draw_claims, write_page
    from striate.report.figures import figure_of

    wanted = chosen(numbers or [])
    if page and not numbers:
        wanted = (INSTRUMENT, *wanted)
    if figures or page:
        figure_of(1, 1)  # without matplotlib it ends here, not after the training
    outcomes = []
    for claim in wanted:
        if json:
            note(f"{claim.number:2}  {claim.title} ...")
        outcomes.append(examine(claim, full=full))
        if not json:
            _print(outcomes[-1])
    if figures:
        draw_claims(outcomes, figures)
    if page:
        typed = ["striate claims", *map(str, numbers or []), *(["--full"] if full else []), f"--page {page}"]
        note(f"page: {write_page(outcomes, page, ' '.join(typed))}")
    failing = [outcome.claim.number for outcome in outcomes if outcome.verdict == "fails"]
    if json:
        print_json([outcome.to_json() for outcome in outcomes])
    else:
        seconds = seconds_text(sum(outcome.seconds for outcome in outcomes))
        print(f"{len(outcomes) - len(failing)} of {len(outcomes)} statements hold ({seconds})")
    if failing:
        raise typer.Exit(1)


def _print(outcome: Outcome) -> None:
    claim, seconds = outcome.claim, f"{outcome.seconds:.1f} s"
    print(f"{claim.number:2}  {outcome.verdict:5}  {seconds:>7}  {claim.statement}")
    print(f"    expected  {claim.expected}")
    print(f"    measured  {outcome.finding.measured}\n", flush=True)
