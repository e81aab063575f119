"""striate design: networks that meet a receptive field and a budget."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from striate.cli.output import AsJson, print_json
from striate.errors import UsageError

AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kMG]?)(B?)")
POWERS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Networks that reach a field within a budget.")(design)


def design(
    size: Annotated[str, typer.Option("--input", "-i", metavar="CxHxW", help="Size of the image.")],
    receptive_field: Annotated[int, typer.Option(min=1, metavar="PX", help="What the last maps must see.")],
    classes: Annotated[int, typer.Option(min=1, help="Outputs.")] = 10,
    macs: Annotated[str, typer.Option(metavar="N", help="Multiply-accumulates an image at most, as 20M.")] = "",
    parameters: Annotated[str, typer.Option(metavar="N", help="Parameters at most, as 500k.")] = "",
    memory: Annotated[str, typer.Option(metavar="BYTES", help="Activations alive at once at most, as 2MB.")] = "",
    json: AsJson = False,
) -> None:
    """Propose networks in notation that reach a receptive field within a budget, best first, each measured.

    Example: striate design --input 3x64x64 --classes 10 --receptive-field 48 --macs 20M
    """
    from striate.design import Budget
    from striate.design import design as designed
    from striate.jobs.spelled import parse_shape
    from striate.measure.text import aligned, bytes_text

    given = (("--macs", macs), ("--parameters", parameters), ("--memory", memory))
    limits = [_amount(option, text) if text else None for option, text in given]
    if not any(limits):
        raise UsageError("design: without a limit there is no best network; give --macs, --parameters or --memory")
    found = designed(parse_shape(size), classes, receptive_field, Budget(*limits))
    if json:
        print_json({"designs": [d.to_json() for d in found.designs], "impossible": found.impossible or None})
    elif found.designs:
        rows = [
            (f"{d.score:.2f}", str(d.field), str(d.jump), f"{d.found.macs:,}", f"{d.found.parameters:,}",
             bytes_text(d.found.peak_activation_bytes))
            for d in found.designs
        ]  # fmt: skip
        head, *lines = aligned(("score", "field", "jump", "MACs", "parameters", "activations"), rows, [True] * 6)
        print(head)
        for line, one in zip(lines, found.designs, strict=True):
            print(f"{line}\n{one.notation}\n")  # on its own, to be copied, however wide the terminal is
        print(
            "score = budget used x MACs on real pixels x field asked / field reached\n"
            "        x image that is read; it does not forecast accuracy"
        )
    else:
        print(found.impossible)
    if found.impossible:
        raise typer.Exit(1)


def _amount(option: str, text: str) -> int:
    match = AMOUNT.fullmatch(text.strip())
    amount = round(float(match[1]) * POWERS[match[2]]) if match and (not match[3] or option == "--memory") else 0
    if amount < 1:
        example = "2MB" if option == "--memory" else "20M"
        raise UsageError(f"{option} {text!r} is no amount; write a number with k, M or G, as in {option} {example}")
    return amount
