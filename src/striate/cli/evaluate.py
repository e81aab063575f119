"""striate evaluate: scores of a run or a shipped model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from striate.cli.output import AsJson, Say, note, percent, print_choices, print_json

SHOWN_PAIRS = 3

if TYPE_CHECKING:
    from striate.jobs.evaluating import Evaluated
    from striate.train.evaluation.metrics import Evaluation


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Scores of a run or a shipped model.")(evaluate)


def evaluate(
    target: Annotated[Path, typer.Argument(help="A run folder or a shipped .onnx file.")],
    data: Annotated[
        str, typer.Argument(help="Labelled images: a folder of class folders, .npz, ...; a run has its own test part.")
    ] = "",
    tta: Annotated[str, typer.Option(metavar="none|flip", help="flip: ask the mirror image too; told apart.")] = "none",
    mistakes: Annotated[
        Path | None, typer.Option(help="Write a PNG of the confusions and of the most confident wrong answers.")
    ] = None,
    on_bad: Annotated[str, typer.Option(help="An unreadable image: fail, or skip and list it.")] = "fail",
    pixels: Annotated[
        str, typer.Option(metavar="auto|memory|disk", help="Decoded images in memory, or mapped from files.")
    ] = "auto",
    pixels_folder: Annotated[Path, typer.Option(help="Where those files are, for later too.")] = Path("runs/pixels"),
    json: AsJson = False,
) -> None:
    """Measure a trained run or a shipped model: accuracy with its interval, each class, and whether to believe it.

    The calibration error says how far stated probabilities are from the share that is right; the temperature and the
    threshold below which to abstain were fitted on the validation part when the run was trained.

    Example: striate evaluate model.onnx photos/test --mistakes mistakes.png
    """
    from striate.jobs.evaluating import evaluate as measure

    found = measure(target, data, on_bad=on_bad, tta=tta, pixels=pixels, pixels_folder=pixels_folder)
    print_choices(found.choices)
    if json:
        print_json({"target": str(target), "data": data, **to_json(found)})
    else:
        print_scores(found)
    if mistakes is not None:
        note(f"mistakes: {_draw_mistakes(found, mistakes)}")
    for one in found.part.skipped:
        note(f"striate: skipped {one.name}: {one.reason}")


def _draw_mistakes(found: Evaluated, path: Path) -> Path:
    from striate.report.mistakes import draw_mistakes
    from striate.train.evaluation.mistakes import confusions, mistakes

    scores = found.scores
    wrong = scores.images - scores.right
    title = f"{wrong:,} of {scores.images:,} wrong, on {found.measured_on}"
    worst, pairs = mistakes(found.answers, found.temperature), confusions(scores.confusion)
    return draw_mistakes(found.part, found.classes, worst, pairs, title, path)


def to_json(found: Evaluated) -> dict[str, Any]:
    """Everything measured, as plain JSON values."""
    from striate.train.evaluation.mistakes import confusions

    return {
        "measured_on": found.measured_on,
        "classes": list(found.classes),
        "skipped": [{"name": one.name, "reason": one.reason} for one in found.part.skipped],
        **found.scores.to_json(),
        "confusions": [
            {"true": found.classes[one.true], "answer": found.classes[one.predicted], "count": one.count}
            for one in confusions(found.scores.confusion)
        ],
        "temperature": found.temperature,
        "abstain_below": found.abstain_below,
        "calibration": found.calibration.to_json(),
        "tta_flip": found.mirrored.to_json() if found.mirrored else None,
    }


def print_scores(found: Evaluated, say: Say = print) -> None:
    """The headline, one line a class, and what the probabilities are worth."""
    from striate.train.evaluation.mistakes import confusions

    scores, classes = found.scores, found.classes
    say(f"{_headline(scores)}, on {found.measured_on}")
    if found.mirrored:
        say(f"apart from that, averaged with the mirror image (twice the work): {_headline(found.mirrored)}")
    width = max(len("class"), *map(len, classes))
    say(f"  {'class':<{width}}  images  recall  precision       F1")
    values = scores.to_json()
    for i, name in enumerate(classes):
        recall, precision, f1 = (_share(values[what][i]) for what in ("recall", "precision", "f1"))
        say(f"  {name:<{width}}  {int(scores.confusion[i].sum()):>6}  {recall:>6}  {precision:>9}  {f1:>7}")
    most = confusions(scores.confusion)[:SHOWN_PAIRS]
    pairs = [f"{classes[one.true]} for {classes[one.predicted]} ({one.count:,})" for one in most]
    say(f"  most often taken: {', '.join(pairs) or 'no class for another'}")
    _print_calibration(found, say)


def _print_calibration(found: Evaluated, say: Say) -> None:
    checked = found.calibration
    trained, fitted = checked.as_trained, checked.at_temperature
    say(f"  {'probabilities':<26}  as trained   at temperature {found.temperature:.3f}")
    rows = (
        ("calibration error, 15 bins", percent(trained.ece), percent(fitted.ece)),
        ("  bins of equal size", percent(trained.adaptive_ece), percent(fitted.adaptive_ece)),
        ("Brier score, 0 to 2", f"{trained.brier:.4f}", f"{fitted.brier:.4f}"),
        ("cross-entropy, nats", f"{trained.nll:.4f}", f"{fitted.nll:.4f}"),
    )
    for name, before, after in rows:
        say(f"  {name:<26}  {before:>10}   {after:>20}")
    if found.abstain_below is not None:
        left = checked.answered
        right = "none right" if left.accuracy is None else f"{percent(left.accuracy)} right"
        say(f"  abstaining below probability {found.abstain_below:.3f}: {percent(left.share)} answered, {right}")


def _headline(scores: Evaluation) -> str:
    low, high = scores.interval_95
    interval = f"95 % interval {percent(low)} to {percent(high)}, balanced {percent(scores.balanced_accuracy)}"
    return f"{scores.right:,} of {scores.images:,} right: {percent(scores.accuracy)} ({interval})"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
