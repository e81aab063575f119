"""striate probe: measuring instruments on a trained network and real images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.output import AsJson, note, print_choices, print_json
from striate.errors import UsageError

if TYPE_CHECKING:
    from striate.jobs.probing import Target


Size = Annotated[
    str | None, typer.Option("--input", "-i", metavar="CxHxW", help="What the network sees, if it does not say.")
]
Mean = Annotated[
    str, typer.Option(metavar="R,G,B", help="Subtracted from pixels of 0 to 1, if the network does not say.")
]
Std = Annotated[str, typer.Option(metavar="R,G,B", help="What they are divided by then.")]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Shifts, fields, statistics and activations of a trained network.")(probe)


def probe(
    target: Annotated[str, typer.Argument(help="A run folder, an .onnx file or package.module:callable.")],
    data: Annotated[str, typer.Argument(help="Labelled images; a run has its own.")] = "",
    names: Annotated[
        list[str] | None,
        typer.Option("--probe", metavar="NAME", help="Only this one; may be repeated."),
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="How many images, the classes in turn.")] = 64,
    size: Size = None,
    mean: Mean = "",
    std: Std = "",
    figures: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the figures into this folder.")] = None,
    json: AsJson = False,
) -> None:
    """Measure equivariance, consistency, receptive-field, batch-norm, activations, evidence and covariate-shift.

    Example: striate probe run sample --probe batch-norm
    """
    from striate.cli.meter import meter
    from striate.jobs.probing import probe as measure
    from striate.report.figures import figure_of

    if figures:
        figure_of(1, 1)  # without matplotlib it ends here, not after the measuring
    network = read(target, size, mean, std)
    print_choices(network.choices)
    with meter("probing", "probes") as tell:
        found = measure(network, data, names or (), images, tell)
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


def read(target: str, size: str | None, mean: str, std: str) -> Target:
    """The network that `target` names, with what is said of its images.  Raises: as `read_target`."""
    from striate.jobs.probing import read_target
    from striate.jobs.spelled import parse_shape

    return read_target(target, parse_shape(size) if size else None, numbers("mean", mean), numbers("std", std))


def numbers(name: str, text: str) -> tuple[float, ...]:
    """(0.5, 0.4) from "0.5,0.4"; nothing from nothing.  Raises: UsageError."""
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise UsageError(f"--{name} {text!r} is not numbers with commas; write it as in --{name} 0.5,0.5,0.5") from None
