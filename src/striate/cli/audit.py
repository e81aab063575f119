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
    if found.faults:
        raise typer.Exit(1)
