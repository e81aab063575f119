"""striate predict: classes of image files, by a shipped model, without torch."""

from __future__ import annotations

import json as jsonlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.output import AsJson, note

if TYPE_CHECKING:
    from striate.runtime import Prediction, Unreadable

PROGRESS_SECONDS = 2.0


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Classes of image files, without torch.")(predict)


def predict(
    model: Annotated[Path, typer.Argument(help="A shipped .onnx file.")],
    paths: Annotated[list[Path], typer.Argument(help="Image files, and folders of them.")],
    top: Annotated[int, typer.Option(min=1, help="How many classes to print for an image.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Images a batch.")] = 32,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads (all cores by default).")] = None,
    json: AsJson = False,
) -> None:
    """Print the class of each image and its probability; an image that cannot be read is named, never replaced.

    --json prints one JSON object a line. Exit code 1 if an image could not be read.

    Example: striate predict model.onnx photo.jpg more/
    """
    from striate.runtime import Engine, Prediction, self_test
    from striate.runtime import predict as run

    engine = Engine(model, threads)
    self_test(engine, engine.manifest)  # no answer before it computes what the original network did
    classes = engine.manifest.classes
    unreadable = 0
    for one in _progress(run(engine, paths, batch)):
        if isinstance(one, Prediction):
            print(_json_line(one, classes) if json else _line(one, classes, top))
        else:
            unreadable += 1
            if json:
                print(jsonlib.dumps({"path": str(one.path), "error": one.reason}, ensure_ascii=False))
            note(f"striate: {one.reason}")
    if unreadable:
        raise typer.Exit(1)


def _line(one: Prediction, classes: tuple[str, ...], top: int) -> str:
    ranked = sorted(zip(one.probabilities, classes, strict=True), key=lambda pair: -pair[0])[:top]
    return f"{one.path}\t" + "\t".join(f"{name}\t{probability:.4f}" for probability, name in ranked)


def _json_line(one: Prediction, classes: tuple[str, ...]) -> str:
    probabilities = dict(zip(classes, one.probabilities, strict=True))
    found = {"path": str(one.path), "label": one.label, "probability": one.probability}
    return jsonlib.dumps({**found, "probabilities": probabilities}, ensure_ascii=False)


def _progress(results: Iterator[Prediction | Unreadable]) -> Iterator[Prediction | Unreadable]:
    """Pass results on, and say now and then how far it is, where the results themselves are not on the screen."""
    start = said = time.monotonic()
    for count, one in enumerate(results, start=1):
        yield one
        if not sys.stdout.isatty() and time.monotonic() - said > PROGRESS_SECONDS:
            said = time.monotonic()
            note(f"  {count:,} images, {count / (said - start):,.0f} a second")
