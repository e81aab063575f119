"""striate evaluate: scores of a run or a shipped model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.output import AsJson, Say, note, percent, print_json

if TYPE_CHECKING:
    from striate.train.metrics import Evaluation


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Scores of a run or a shipped model.")(evaluate)


def evaluate(
    target: Annotated[Path, typer.Argument(help="A run folder or a shipped .onnx file.")],
    data: Annotated[str, typer.Argument(help="Labelled images: a folder of class folders, .npz, 'sample', ...")],
    on_bad: Annotated[str, typer.Option(help="An unreadable image: fail, or skip and list it.")] = "fail",
    json: AsJson = False,
) -> None:
    """Measure a trained run or a shipped model on labelled images: accuracy, interval, and each class.

    Example: striate evaluate model.onnx photos/test
    """
    from striate.jobs.evaluating import evaluate as measure

    found, part, classes = measure(target, data, on_bad)
    if json:
        skipped = [{"name": one.name, "reason": one.reason} for one in part.skipped]
        described = {"target": str(target), "data": data, "classes": list(classes), "skipped": skipped}
        print_json({**described, **found.to_json()})
    else:
        print_scores(found, classes)
    for one in part.skipped:
        note(f"striate: skipped {one.name}: {one.reason}")


def print_scores(found: Evaluation, classes: tuple[str, ...], say: Say = print) -> None:
    """The headline and one line a class."""
    low, high = found.interval_95
    interval = f"95 % interval {percent(low)} to {percent(high)}, balanced {percent(found.balanced_accuracy)}"
    say(f"{found.right:,} of {found.images:,} right: {percent(found.accuracy)} ({interval})")
    width = max(len("class"), *map(len, classes))
    say(f"  {'class':<{width}}  images  recall  precision")
    scores = found.to_json()
    for i, name in enumerate(classes):
        recall, precision = (_share(scores[what][i]) for what in ("recall", "precision"))
        say(f"  {name:<{width}}  {int(found.confusion[i].sum()):>6}  {recall:>6}  {precision:>9}")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
