"""striate recalibrate: precise statistics for batch normalisation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from striate.cli.output import AsJson, print_json


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Give batch normalisation the exact statistics of the training images.")(recalibrate)


def recalibrate(
    target: Annotated[Path, typer.Argument(help="A run folder or a shipped .onnx file; it is left as found.")],
    data: Annotated[str, typer.Argument(help="The training images; a run has its own.")] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="The .onnx file to write.")] = Path("recalibrated.onnx"),
    images: Annotated[int, typer.Option(min=1, help="How many images, the classes in turn.")] = 2048,
    json: AsJson = False,
) -> None:
    """Write the network with running statistics measured anew, layer after layer; all other weights are untouched.

    The file is plain ONNX, without the manifest of a shipped model.

    Example: striate recalibrate run -o better.onnx
    """
    from striate.errors import UsageError
    from striate.graph.to_onnx import to_bytes, to_onnx
    from striate.jobs.probing import recalibrated
    from striate.probe import batch_norm

    if out.exists():
        raise UsageError(f"{out}: exists; name another file with --out")
    before, after, x = recalibrated(target, data, images)
    health = batch_norm(before, x)
    try:
        out.write_bytes(to_bytes(to_onnx(after)))
    except OSError as fault:
        raise UsageError(f"{out}: cannot be written ({fault.strerror}); choose a folder you may write to") from None
    stale = [layer.layer for layer in health.layers if layer.stale]
    if json:
        print_json({"out": str(out), "images": len(x), "layers": len(health.layers), "stale_before": stale})
    else:
        print(f"{len(health.layers)} layers recalibrated on {len(x):,} images; {len(stale)} were stale: {out}")
