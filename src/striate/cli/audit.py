"""striate audit: what is wrong with a set of images, before anything is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from striate.cli.output import AsJson, note, print_json


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="What is wrong with the images and labels.")(audit)


def audit(
    data: Annotated[
        str, typer.Argument(help="A folder of class folders, a .csv, .npz, .parquet, .tar or .zip file, or 'sample'.")
    ],
    sheet: Annotated[Path | None, typer.Option(help="Write a PNG of the findings' pictures and of each class.")] = None,
    preview: Annotated[
        Path | None, typer.Option(help="Write a PNG of what a network sees: crop, pad, stretch.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, max=64, help="Images in the preview.")] = 8,
    size: Annotated[
        str, typer.Option("--input", "-i", metavar="CxHxW", help="What the network sees, for the preview.")
    ] = "3x128x128",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads that decode.")] = None,
    json: AsJson = False,
) -> None:
    """Look at every image: bad files, copies, leaks between parts, conflicting labels, class counts, unusual files.

    Exit code 0: nothing that needs you (notes may be); 1: faults; 2: the data could not be read at all.

    Example: striate audit photos/ --sheet sheet.png
    """
    from striate.data.audit import audit as look

    found = look(data, threads)
    if json:
        print_json(found.to_json())
    else:
        print(found)
    if sheet is not None:
        from striate.data.audit.pictures import sheet as read_sheet
        from striate.report.contact_sheet import draw_audit

        note(f"contact sheet: {draw_audit(found, read_sheet(data, found), sheet)}")
    if preview is not None:
        note(f"preview: {_preview(data, size, samples, preview)}")
    if found.faults:
        raise typer.Exit(1)


def _preview(data: str, size: str, samples: int, path: Path) -> Path:
    from striate.data.audit.pictures import previews
    from striate.data.preprocess import Preprocessing
    from striate.errors import UsageError
    from striate.jobs.spelled import parse_shape
    from striate.report.contact_sheet import draw_previews

    shape = parse_shape(size)
    if len(shape) != 3:
        raise UsageError(f"input {size!r} has {len(shape)} axes; a preview needs channels x height x width")
    channels, height, width = shape
    target = Preprocessing(channels, height, width, "crop", (0.0,) * channels, (1.0,) * channels)
    return draw_previews(previews(data, target, samples), path)
