"""striate verify: whether a file is still the network that was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.output import AsJson, Say, print_json

if TYPE_CHECKING:
    from striate.jobs.shipping import Verified


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Check a shipped file, and prove it anew.")(verify)


def verify(
    model: Annotated[Path, typer.Argument(help="A shipped .onnx file.")],
    against: Annotated[
        Path | None, typer.Option(help="The run folder it was made from: makes the whole proof again.")
    ] = None,
    images: Annotated[str | None, typer.Option(help="Labelled images of yours to prove it on, with --against.")] = None,
    json: AsJson = False,
) -> None:
    """Check a shipped file: its hashes, its golden answers, and its engine against float64, layer by layer.

    With --against, algebra, rounding and decisions are proved anew against the network that was trained.
    Exit code 1 if a check fails.

    Example: striate verify model.onnx --against runs/first
    """
    from striate.cli.meter import meter
    from striate.jobs.shipping import verify_file

    with meter("proving", "inputs") as tell:
        found = verify_file(model, against, images, tell)
    if json:
        print_json(to_json(found))
    else:
        print_verified(model, found)
    if found.fault:
        raise typer.Exit(1)


def print_verified(model: Path, found: Verified, say: Say = print) -> None:
    """Each check on one line, and the proofs below."""
    manifest = found.artifact.manifest
    worst = max(found.recheck.of_bound.items(), key=lambda item: item[1].value)
    say(f"{model}: {manifest.network}, {len(manifest.classes)} classes, shipped {manifest.created}")
    say("  file       hashes agree, operators and sizes allowed, weights finite")
    say(f"  golden     {len(manifest.golden)} recorded answers, off by at most {found.golden_off:.1e} a logit")
    say(
        f"  engine     {found.recheck.inputs} inputs against float64: a layer makes at most {worst[1].value:.0%} "
        f"of its a-priori bound ({worst[0]})"
    )
    say(f"  verdict    {found.fault or 'holds'}")
    if found.proof is not None:
        say("proved again, against the network it was made from:")
    else:
        say("the proof on record (make it again with --against RUN):")
    for line in (found.proof or found.recorded).lines():
        say(f"  {line}")


def to_json(found: Verified) -> dict[str, object]:
    """The findings as plain data."""
    return {
        "verdict": "fails" if found.fault else "holds",
        "fault": found.fault,
        "golden": {"cases": len(found.artifact.manifest.golden), "largest_difference": found.golden_off},
        "recheck": found.recheck.model_dump(mode="json"),
        "proof": None if found.proof is None else found.proof.model_dump(mode="json"),
        "recorded": found.recorded.model_dump(mode="json"),
    }
