"""striate recipe: every key of a training run, to read and to start a file from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from striate.cli.output import AsJson, print_json


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Every key of a training recipe, as a file to start from.")(recipe)


def recipe(
    source: Annotated[Path | None, typer.Argument(help="A recipe or a run folder; without one, the defaults.")] = None,
    json: AsJson = False,
) -> None:
    """Print a recipe as TOML with all its keys, and above each what it decides and may hold.

    Example: striate recipe > mine.toml; striate train photos/ --recipe mine.toml
    """
    from striate.train.recipe import Recipe, keys, load_recipe

    found = Recipe()
    if source is not None:
        found = load_recipe(source / "recipe.json" if source.is_dir() else source)
    if json:
        print_json([{**asdict(key), "value": getattr(found, key.name)} for key in keys()])
        return
    print(found.to_toml(), end="")
