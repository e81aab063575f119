"""striate probe: measuring instruments on a trained network and real images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from striate.cli.output import AsJson, note, print_json


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Shifts, fields, statistics and activations of a trained network.")(probe)


def probe(
    target: Annotated[Path, typer.Argument(help="A run folder or a shipped .onnx file.")],
    data: Annotated[str, typer.Argument(help="Labelled images; a run has its own.")] = "",
    names: Annotated[
        list[str] | None,
        typer.Option("--probe", metavar="NAME", help="Only this one; may be repeated."),
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="How many images, the classes in turn.")] = 64,
    figures: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the figures into this folder.")] = None,
    json: AsJson = False,
) -> None:
    """Measure equivariance, consistency, receptive-field, batch-norm, activations and evidence.

    Example: striate probe run sample --probe batch-norm
    """
    from striate.jobs.probing import probe as measure

    found = measure(target, data, names or (), images)
    if json:
        print_json([one.to_json() for one in found.values()])
    else:
        for name, one in found.items():
            print(f"{name} (n = {one.images} image{'s' if one.images != 1 else ''})")
            print("\n".join(f"  {line}" for line in one.lines()), end="\n\n", flush=True)
    if figures:
        from striate.report.probe_figures import draw_probes

        for path in draw_probes(found, figures):
            note(f"drawn to {path}")
