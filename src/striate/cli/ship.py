"""striate ship: from a trained network to one proved .onnx file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.output import AsJson, Say, print_choices, print_json

if TYPE_CHECKING:
    from striate.jobs.shipping import Shipped

TOLD = "A network not trained here"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Fold, prove, and write one .onnx file.")(ship)


def ship(
    net: Annotated[
        str, typer.Argument(help="A run folder, an .onnx file of anyone's, or package.module:callable for torch.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .onnx file to write.")] = Path("model.onnx"),
    images: Annotated[
        str | None, typer.Option(help="Images to prove it on: folder, pattern, archive; a run has its own.")
    ] = None,
    takes: Annotated[
        str, typer.Option(help="What the file's input takes: uint8 pixels, or normalised float32.")
    ] = "uint8",
    constant_channel: Annotated[
        bool, typer.Option("--constant-channel", help="Fold norms through zero padding: exact, and slower.")
    ] = False,
    proof_images: Annotated[
        int | None, typer.Option(min=1, help="Images in the proof (by the network's cost).")
    ] = None,
    classes: Annotated[
        str, typer.Option(help="Names with commas, or a .txt file with a name a line.", rich_help_panel=TOLD)
    ] = "",
    input_shape: Annotated[
        str, typer.Option("--input", help="3x224x224, where the file leaves it open.", rich_help_panel=TOLD)
    ] = "",
    mean: Annotated[str, typer.Option(help="Mean of each channel, as 0.485,0.456,0.406.", rich_help_panel=TOLD)] = "",
    std: Annotated[str, typer.Option(help="Standard deviation of each channel.", rich_help_panel=TOLD)] = "",
    full_scale: Annotated[
        float, typer.Option(help="The largest pixel that mean and std are meant for: 1 or 255.", rich_help_panel=TOLD)
    ] = 1.0,
    fit: Annotated[
        str, typer.Option(help="How an image of another shape fits: crop, pad or stretch.", rich_help_panel=TOLD)
    ] = "",
    order: Annotated[
        str,
        typer.Option(help="Colours as the network, its mean and its std take them: rgb or bgr.", rich_help_panel=TOLD),
    ] = "",
    explain: Annotated[bool, typer.Option(help="Say what each rewrite did, and what it left alone and why.")] = False,
    json: AsJson = False,
) -> None:
    """Fold batch normalisation, prove the result equal to what was trained, and write ONE plain .onnx file.

    Nothing is written where the proof fails. The file holds classes, preprocessing, hashes and the proof, and takes
    pixels as they are: scaling and normalising are part of its first layers. What a network that was not trained
    here does not say about its images is asked for and never guessed.

    Example: striate ship runs/first -o model.onnx

    Example: striate ship theirs.onnx --mean 0.5 --std 0.5 --fit stretch --classes names.txt --images photos/
    """
    from striate.cli.meter import meter
    from striate.jobs.shipping import How, ship_named
    from striate.jobs.strangers import Described

    described = Described(
        classes=classes, input_shape=input_shape, mean=mean, std=std, full_scale=full_scale, fit=fit, order=order
    )
    how = How(dtype=takes, constant_channel=constant_channel, proof_images=proof_images)  # type: ignore[arg-type]
    with meter("proving", "inputs") as tell:
        shipped = ship_named(net, out, described, images, tell, how)
    if json:
        print_json(to_json(shipped))
        return
    print_choices(shipped.choices)
    print_shipped(shipped, explain=explain)
    print(f"next: striate predict {out} IMAGES ...")


def print_shipped(shipped: Shipped, *, explain: bool, say: Say = print) -> None:
    """What was written, and the proof as a short table."""
    before, after = shipped.batch_norms_before, shipped.batch_norms_after
    takes = "uint8 pixels" if shipped.dtype == "uint8" else "normalised float32"
    norms = f"batch normalisations {before} before, {after} left"
    say(f"{shipped.path}: {shipped.bytes:,} bytes, takes {takes}, {norms}")
    for line in shipped.proof.lines():
        say(line)
    if explain or after:
        for applied in shipped.rewritten.applied if explain else ():
            say(f"  {applied.by}: {applied.at}: {applied.what}")
        for refused in shipped.rewritten.refused:
            say(f"  {refused.by}: {refused.at} stays: {refused.reason}")
        if any("zero padding" in refused.reason for refused in shipped.rewritten.refused):
            say("  such a norm folds exactly with --constant-channel, which takes about 1.3 times as long to run")


def to_json(shipped: Shipped) -> dict[str, object]:
    """What was written, as plain data."""
    return {
        "path": str(shipped.path),
        "bytes": shipped.bytes,
        "takes": shipped.dtype,
        "batch_norms": {"before": shipped.batch_norms_before, "after": shipped.batch_norms_after},
        "verdict": shipped.proof.verdict,
        "choices": [{"name": c.name, "value": c.value, "reason": c.reason} for c in shipped.choices],
        "applied": [{"by": a.by, "at": a.at, "what": a.what} for a in shipped.rewritten.applied],
        "refused": [{"by": r.by, "at": r.at, "reason": r.reason} for r in shipped.rewritten.refused],
        "proof": shipped.proof.model_dump(mode="json"),
    }
