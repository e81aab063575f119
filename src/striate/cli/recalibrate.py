"""striate recalibrate: precise statistics for batch normalisation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from striate.cli.output import AsJson, print_choices, print_json
from striate.cli.probe import Mean, Size, Std, read


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Give batch normalisation the exact statistics of the training images.")(recalibrate)


def recalibrate(
    target: Annotated[str, typer.Argument(help="A run folder or an .onnx file; it is left as found.")],
    data: Annotated[str, typer.Argument(help="The training images; a run has its own.")] = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The run folder to write (RUN-recalibrated by default), or the .onnx file."),
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="How many images, the classes in turn.")] = 2048,
    size: Size = None,
    mean: Mean = "",
    std: Std = "",
    json: AsJson = False,
) -> None:
    """Measure running statistics anew, layer after layer, and write the result; all other weights keep their bits.

    Of a run, a run folder with the scores that these statistics give: ship, evaluate and probe take it. Of an .onnx
    file, an .onnx file.

    Example: striate recalibrate runs/first -o runs/better
    """
    from striate.jobs.recalibrating import recalibrate_file, recalibrate_run

    found = read(target, size, mean, std)
    print_choices(found.choices)
    if Path(target).is_dir():
        done = recalibrate_run(Path(target), found, out or Path(f"{target.rstrip('/')}-recalibrated"), data, images)
    else:
        done = recalibrate_file(found, out or Path("recalibrated.onnx"), data, images)
    if json:
        print_json({
            "out": str(done.out), "images": done.images, "layers": done.layers, "stale_before": list(done.stale),
        })  # fmt: skip
        return
    print(f"{done.layers} layers recalibrated on {done.images:,} images; {len(done.stale)} were stale: {done.out}")
    print(f"next: striate {'evaluate' if done.out.is_dir() else 'probe'} {done.out} IMAGES")
