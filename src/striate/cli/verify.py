"""striate verify: whether a file is still the network that was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.output import AsJson, Say, print_json

if TYPE_CHECKING:
    from striate.jobs.verifying import Verified

SHORT_LAYERS = 5


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Check a shipped file, and prove it anew.")(verify)


def verify(
    model: Annotated[Path, typer.Argument(help="A shipped .onnx file.")],
    against: Annotated[
        str | None, typer.Option(help="The run folder or .onnx file it was made from: makes the whole proof again.")
    ] = None,
    images: Annotated[
        str | None, typer.Option(help="Images of yours to check it on as well: folder, pattern, archive.")
    ] = None,
    proof_images: Annotated[int | None, typer.Option(min=1, help="How many of them (by the network's cost).")] = None,
    order: Annotated[str, typer.Option(help="Colours as the file of --against takes them: rgb or bgr.")] = "rgb",
    layers: Annotated[
        bool, typer.Option("--layers", help="Show every layer, not only those nearest to a limit.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Check a shipped file: its hashes, its golden answers, and its engine against float64, layer by layer.

    With --against, algebra, rounding and decisions are proved anew against the network that was trained.
    Exit code 1 if a check fails.

    Example: striate verify model.onnx --against runs/first --images photos/
    """
    from striate.cli.meter import meter
    from striate.jobs.verifying import verify_file

    with meter("proving", "inputs") as tell:
        found = verify_file(model, against, images, tell, proof_images, order)
    if json:
        print_json(to_json(found))
    else:
        print_verified(model, found, all_layers=layers)
    if found.fault:
        raise typer.Exit(1)


def print_verified(model: Path, found: Verified, say: Say = print, *, all_layers: bool = False) -> None:
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
    proof = found.proof or found.recorded
    for line in (*proof.lines(), *proof.table(None if all_layers else SHORT_LAYERS)):
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
