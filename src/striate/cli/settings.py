"""How commands take a recipe: a file, single keys, and options of their own that win over both."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.errors import UsageError

if TYPE_CHECKING:
    from striate.train.recipe import Recipe

RecipeFile = Annotated[Path | None, typer.Option(help="A .toml or .json recipe; options given here win.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other key of the recipe; may repeat.")
]


def read_recipe(file: Path | None, given: Mapping[str, object], settings: Sequence[str] | None) -> Recipe:
    """The recipe of a file, with the values in `given` that are not None, and with the settings KEY=VALUE.

    Raises: RecipeError; UsageError where a setting is not of that form.
    """
    from striate.train.recipe import Recipe, load_recipe

    base = {} if file is None else load_recipe(file).model_dump(exclude_unset=True)
    options = {key: value for key, value in given.items() if value is not None}
    return Recipe(**{"data": "sample", **base, **options, **dict(_setting(one) for one in settings or ())})


def seconds_of(text: str) -> float:
    """1200.0 from "20m": a number of s, m or h, of seconds without a letter.  Raises: UsageError."""
    factor = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    try:
        return float(text[:-1]) * factor if factor else float(text)
    except ValueError:
        raise UsageError(f"--time {text!r} is no time; write it as in 90s, 20m or 1.5h") from None


def _setting(text: str) -> tuple[str, object]:
    """("shift_px", 3) from "shift_px=3": a TOML value, or the text itself."""
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text!r} is not KEY=VALUE; write it as in --set weight_decay=0.0005")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
