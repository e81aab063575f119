"""striate draw: a network as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from striate.cli.output import AsJson, close, note, print_json
from striate.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="A network as a picture.")(draw)


def draw(
    net: Annotated[str, typer.Argument(help="Notation, family, package.module:callable, .onnx file or run folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.svg", help="Where the picture goes.")],
    size: Annotated[
        str, typer.Option("--input", "-i", metavar="CxHxW", help="Size of the image; a file or run has its own.")
    ] = "",
    classes: Annotated[int | None, typer.Option(help="Outputs of a family (1000 by default).")] = None,
    json: AsJson = False,
) -> None:
    """Draw a network as SVG: every layer with its output and receptive field, repeated blocks once.

    Example: striate draw resnet18 --input 3x224x224 -o resnet18.svg
    """
    from striate.jobs.networks import look_at
    from striate.jobs.spelled import parse_shape
    from striate.report.drawing import draw as drawn

    if out.suffix != ".svg":
        raise UsageError(f"{out}: a drawing is SVG; name the file with .svg at its end")
    shape = parse_shape(size) if size else None
    network, remarks, unknown = look_at(net, shape, classes)
    text = drawn(network, shape)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise UsageError(f"{out}: cannot be written ({fault.strerror}); name a file in a folder that exists") from None
    if json:
        print_json({"drawing": str(out), "bytes": len(text.encode())})
    else:
        note(f"drawn to {out}")
    close(remarks, unknown)
