"""striate quantize: a shipped model computed with 8-bit integers, its loss measured first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.output import AsJson, percent, print_json

if TYPE_CHECKING:
    from striate.jobs.quantizing import Quantized


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="8-bit integers instead of float32, if little accuracy is lost.")(quantize)


def quantize(
    model: Annotated[Path, typer.Argument(help="A shipped .onnx file.")],
    images: Annotated[str, typer.Option(help="Labelled images: train part to set ranges, test part to measure.")],
    budget: Annotated[float, typer.Option(min=0, help="Percentage points of accuracy that may be lost.")] = 0.5,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="MODEL.int8.onnx, if left out.")] = None,
    json: AsJson = False,
) -> None:
    """Round weights and activations to 8-bit integers, measure the accuracy before and after, and write the model.

    Nothing is written where more than the budget is lost. The result is not exact and carries no proof; its manifest
    says what was measured. Whether it is faster depends on the processor: striate bench tells.

    Example: striate quantize model.onnx --images photos/ --budget 0.5
    """
    from striate.cli.meter import meter
    from striate.jobs.quantizing import quantize as run

    with meter("calibrating", "images") as tell:
        found = run(model, images, budget, out, tell)
    if json:
        print_json(to_json(found))
        return
    print_quantized(found)
    print(f"next: striate bench {found.path}")


def print_quantized(found: Quantized) -> None:
    """What was written, and what it cost."""
    int8 = found.int8
    print(f"{found.path}: 8-bit integers, not exact; {found.bytes_after:,} bytes, float32 has {found.bytes_before:,}")
    print(
        f"accuracy {percent(int8.accuracy_before)} before, {percent(int8.accuracy_after)} after "
        f"({found.lost_points:+.2f} points lost) on {int8.images:,} images; {int8.changed:,} answers are others; "
        f"ranges set by {int8.calibration_images} other images"
    )
    if found.vnni is False:
        print("this processor has no VNNI, which multiplies 8-bit integers four at a time: integers gain less here")


def to_json(found: Quantized) -> dict[str, object]:
    """What was written, as plain data."""
    return {
        "path": str(found.path),
        **found.int8.model_dump(),
        "lost_points": found.lost_points,
        "bytes_before": found.bytes_before,
        "bytes_after": found.bytes_after,
        "vnni": found.vnni,
    }
