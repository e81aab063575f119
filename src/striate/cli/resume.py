"""striate resume: continue a run that was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from striate.cli.output import AsJson
from striate.cli.train import EventFolder, report, together


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Continue a stopped run to the same bits.")(resume)


def resume(
    run: Annotated[Path, typer.Argument(help="The run folder of an unfinished training.")],
    tensorboard: EventFolder = None,
    json: AsJson = False,
) -> None:
    """Continue an unfinished run; on a CPU it ends in the same bits as if it had never stopped.

    Under torchrun with as many processes as there are now; with another number the last bits differ.

    Example: striate resume runs/first
    """
    from striate.jobs import training

    with together() as team:
        report(run, lambda observer: training.resume(run, observer, team), json, tensorboard, team)
