"""striate ship: from a run to one proved .onnx file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.output import AsJson, Say, print_json

if TYPE_CHECKING:
    from striate.jobs.shipping import Shipped


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Fold, prove, and write one .onnx file.")(ship)


def ship(
    run: Annotated[Path, typer.Argument(help="The run folder of a finished training.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .onnx file to write.")] = Path("model.onnx"),
    images: Annotated[
        str | None, typer.Option(help="Labelled images to prove it on; the run's own data if left out.")
    ] = None,
    explain: Annotated[bool, typer.Option(help="Say what each rewrite did, and what it left alone and why.")] = False,
    json: AsJson = False,
) -> None:
    """Fold batch normalisation, prove the result equal to what was trained, and write ONE plain .onnx file.

    Nothing is written where the proof fails. The file holds classes, preprocessing, hashes and the proof.

    Example: striate ship runs/first -o model.onnx
    """
    from striate.cli.meter import meter
    from striate.jobs.shipping import ship_run

    with meter("proving", "inputs") as tell:
        shipped = ship_run(run, out, images, tell)
    if json:
        print_json(to_json(shipped))
        return
    print_shipped(shipped, explain=explain)
    print(f"next: striate predict {out} IMAGES ...")


def print_shipped(shipped: Shipped, *, explain: bool, say: Say = print) -> None:
    """What was written, and the proof as a short table."""
    before, after = shipped.batch_norms_before, shipped.batch_norms_after
    say(f"{shipped.path}: {shipped.bytes:,} bytes, batch normalisations {before} before, {after} left")
    for line in shipped.proof.lines():
        say(line)
    if explain or after:
        for applied in shipped.rewritten.applied if explain else ():
            say(f"  {applied.by}: {applied.at}: {applied.what}")
        for refused in shipped.rewritten.refused:
            say(f"  {refused.by}: {refused.at} stays: {refused.reason}")


def to_json(shipped: Shipped) -> dict[str, object]:
    """What was written, as plain data."""
    return {
        "path": str(shipped.path),
        "bytes": shipped.bytes,
        "batch_norms": {"before": shipped.batch_norms_before, "after": shipped.batch_norms_after},
        "verdict": shipped.proof.verdict,
        "applied": [{"by": a.by, "at": a.at, "what": a.what} for a in shipped.rewritten.applied],
        "refused": [{"by": r.by, "at": r.at, "reason": r.reason} for r in shipped.rewritten.refused],
        "proof": shipped.proof.model_dump(mode="json"),
    }
