"""striate inspect: what every layer sees and costs."""

from __future__ import annotations

from typing import Annotated

import typer

from striate.cli.output import AsJson, print_json


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(inspect)


def inspect(
    net: Annotated[str, typer.Argument(help="Notation, family, package.module:callable, .onnx file or run folder.")],
    size: Annotated[
        str, typer.Option("--input", "-i", metavar="CxHxW", help="Size of the image; a file or run has its own.")
    ] = "",
    classes: Annotated[int | None, typer.Option(help="Outputs of a family (1000 by default).")] = None,
    json: AsJson = False,
) -> None:
    """Print each layer's output, receptive field (size, jump, start), parameters and MACs.

    Example: striate inspect 32C3-BN-R-MP2-64C3-BN-R-GAP-10 --input 1x28x28
    """
    from striate.jobs.networks import parse_shape, read_network
    from striate.measure import inspect_network

    shape = parse_shape(size) if size else None
    inspection = inspect_network(read_network(net, shape, classes), shape)
    if json:
        print_json(inspection.to_json())
    else:
        print(inspection)
