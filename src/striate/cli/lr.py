"""striate lr: find a learning rate before training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from striate.cli.output import AsJson, note, print_choices, print_json
from striate.cli.settings import RecipeFile, Settings, read_recipe


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Find a learning rate before training.")(lr)


def lr(
    data: Annotated[str, typer.Argument(help="The images, as for striate train.")] = "",
    net: Annotated[str | None, typer.Option(help="Notation, family or package.module:callable.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to draw.")] = Path("rates.png"),
    recipe: RecipeFile = None,
    size: Annotated[str | None, typer.Option("--input", "-i", metavar="CxHxW", help="What the network sees.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd or muon.")] = None,
    setting: Settings = None,
    steps: Annotated[int, typer.Option(min=20, max=10_000, help="How many rates to try.")] = 100,
    json: AsJson = False,
) -> None:
    """Train a copy at rates from 1e-5 to 10, a step each; suggest a tenth of the rate of the least loss.

    Nothing is kept: the run that follows starts from the same weights.

    Example: striate lr photos/ --net resnet18 --input 3x64x64 -o rates.png
    """
    from striate.jobs.training import find_rates
    from striate.report.rate_figure import draw_rates

    given = {"data": data or None, "net": net, "input": size, "batch_images": batch, "optimizer": optimizer}
    asked = read_recipe(recipe, given, setting)

    def tell(done: int, loss: float) -> None:
        if done % 20 == 0:
            note(f"  step {done} of {steps}  loss {loss:.3f}")

    prepared, found = find_rates(asked, steps, tell)
    draw_rates(found.rates, found.losses, found.smoothed, found.suggested, out)
    if json:
        print_json({"out": str(out), **found.to_json()})
        return
    print_choices(prepared.choices)
    print(f"suggested: {found.suggested:.2g}, a tenth of {found.lowest:.2g}, where the loss is least")
    print(f"steepest fall: {found.steepest:.2g}")
    print(f"now automatic: {prepared.recipe.peak_lr:.2g}; picture: {out}")
    others = ""
    if prepared.recipe.optimizer == "muon":  # its filters were tried at the same multiple of the rate
        others = f" --set muon_lr={found.suggested * prepared.recipe.muon_lr / float(prepared.recipe.peak_lr):.2g}"
    print(f"next: striate train {prepared.recipe.data} --lr {found.suggested:.2g}{others}")
