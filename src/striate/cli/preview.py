"""striate preview: a picture of exactly what a network will see."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from striate.cli.output import AsJson, print_choices, print_json
from striate.cli.settings import RecipeFile, Settings, read_recipe


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="A picture of exactly what the network will see.")(preview)


def preview(
    data: Annotated[str, typer.Argument(help="The images, as for striate train.")] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write.")] = Path("preview.png"),
    recipe: RecipeFile = None,
    size: Annotated[str | None, typer.Option("--input", "-i", metavar="CxHxW", help="What the network sees.")] = None,
    fit: Annotated[str | None, typer.Option(metavar="crop|pad|stretch", help="How another shape is fitted.")] = None,
    setting: Settings = None,
    samples: Annotated[int, typer.Option(min=1, max=64, help="How many images.")] = 8,
    epochs: Annotated[int, typer.Option(min=0, max=16, help="How many epochs of augmentation.")] = 4,
    json: AsJson = False,
) -> None:
    """Draw training images as stored, under crop, pad and stretch, and augmented as the first epochs show them.

    Nothing is simulated: the pixels come from the decoding, resizing and augmentation that training itself runs.

    Example: striate preview photos/ --set mixup=0.2 --set randaugment_ops=2 -o preview.png
    """
    from striate.jobs.previewing import preview as look
    from striate.report.preview import draw_previews

    wanted = read_recipe(recipe, {"data": data or None, "input": size, "fit": fit}, setting)
    seen, resolved, choices = look(wanted, samples, epochs)
    rows = [(one.preview, one.epochs) for one in seen]
    draw_previews(rows, resolved.fit, f"{resolved.data}: {len(seen)} training images", out)
    if json:
        images = [{"name": one.preview.image.name, "epochs": [list(said) for _, said in one.epochs]} for one in seen]
        print_json({"out": str(out), "input": resolved.input, "fit": resolved.fit, "images": images})
        return
    print_choices(choices)
    print(f"{len(seen)} images as {resolved.input}, fit {resolved.fit}: {out}")
