"""striate demo: the whole job on the built-in sample."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.output import AsJson, note, percent, print_choices, print_json, seconds_text

if TYPE_CHECKING:
    from striate.jobs.shipping import Shipped
    from striate.jobs.verifying import Verified
    from striate.train.evaluation.metrics import Evaluation

NET = "32C3-BN-R-MP2-64C3-BN-R-MP2-128C3-BN-R-MP2-F-10"
EPOCHS = 14  # about half a minute on two cores; 10 give 87.6 %, 14 give 88.4 % (docs/log.md)
IMAGES = 5


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="The whole job on the built-in sample.")(demo)


def demo(
    out: Annotated[Path | None, typer.Option(help="New folder for all that is made (demo, demo-2, ...).")] = None,
    json: AsJson = False,
) -> None:
    """Inspect, train, evaluate, ship, verify and predict, on 6,000 real images of clothes that come with striate.

    Example: striate demo
    """
    start = time.monotonic()
    out = out or _free("demo")
    run, model = out / "run", out / "model.onnx"
    _inspect()
    _train(run)
    trained = _evaluate(run)
    shipped = _ship(run, model)
    verified = _verify(model, run)
    answers = _predict(model, out / "images")
    seconds = time.monotonic() - start
    if json:
        print_json(_summary(out, trained, shipped, verified, answers, seconds))
        return
    right = sum(Path(path).parent.name == label for path, label in answers)
    before, after = shipped.batch_norms_before, shipped.batch_norms_after
    _say(f"summary, after {seconds_text(seconds)}")
    note(f"  accuracy  {percent(trained.accuracy)} on {trained.images:,} test images")
    folded = f"{before} batch normalisations folded to {after}"
    note(f"  shipped   {shipped.bytes:,} bytes, {folded}, {verified.recorded.verdict}")
    note(f"  predicted {right} of {len(answers)} image files right, without torch")
    note(f"  run       {run}/ (recipe.json, metrics.jsonl, weights.safetensors, curves.png, confusion.png)")
    note(f"  model     {model} (plain ONNX: any ONNX runtime opens it)")
    note(f"  images    {out / 'images'}/")
    note("  next      striate train YOUR_FOLDER_OF_CLASS_FOLDERS --out runs/mine")


def _inspect() -> None:
    from striate.jobs.networks import inspect

    _say("1. inspect: what every layer of the network sees and costs, exactly")
    note(str(inspect(NET, (1, 28, 28))))


def _train(run: Path) -> None:
    from striate.cli.progress import TrainingProgress
    from striate.jobs import training
    from striate.train.recipe import Recipe

    _say(f"2. train: {EPOCHS} epochs on 4,500 images, the best chosen on 500 others")
    prepared = training.prepare(Recipe(data="sample", net=NET, epochs=EPOCHS))
    print_choices(prepared.choices)
    progress = TrainingProgress()
    try:
        training.run(prepared, run, progress)
    finally:
        progress.close()


def _evaluate(run: Path) -> Evaluation:
    from striate.cli.evaluate import print_scores
    from striate.jobs.evaluating import evaluate

    _say("3. evaluate: 1,000 test images that neither training nor choosing has seen")
    found = evaluate(run)
    print_scores(found, say=note)
    return found.scores


def _ship(run: Path, model: Path) -> Shipped:
    from striate.cli.ship import print_shipped
    from striate.jobs.shipping import ship_run

    _say("4. ship: fold batch normalisation, prove the result equal, write one .onnx file")
    shipped = ship_run(run, model)
    print_shipped(shipped, explain=True, say=note)
    return shipped


def _verify(model: Path, run: Path) -> Verified:
    from striate.cli.verify import print_verified
    from striate.jobs.verifying import verify_file

    _say("5. verify: open the file again, distrust it, and prove it anew against the run")
    verified = verify_file(model, against=str(run))
    print_verified(model, verified, say=note)
    return verified


def _predict(model: Path, folder: Path) -> list[tuple[str, str]]:
    from striate.data import write_sample_images
    from striate.runtime import Engine, Prediction, predict

    _say("6. predict: image files from disk, by the shipped model on ONNX Runtime")
    answers = []
    for one in predict(Engine(model), write_sample_images(folder, IMAGES)):
        if isinstance(one, Prediction):
            answers.append((one.path, one.label))
            note(f"  {one.path}: {one.label} ({percent(one.probability)})")
    return answers


def _summary(
    out: Path,
    trained: Evaluation,
    shipped: Shipped,
    verified: Verified,
    answers: list[tuple[str, str]],
    seconds: float,
) -> dict[str, object]:
    return {
        "folder": str(out),
        "network": NET,
        "accuracy": trained.accuracy,
        "interval_95": list(trained.interval_95),
        "bytes": shipped.bytes,
        "batch_norms": {"before": shipped.batch_norms_before, "after": shipped.batch_norms_after},
        "verdict": verified.fault or "proved",
        "predictions": [{"path": path, "label": label} for path, label in answers],
        "seconds": round(seconds, 1),
    }


def _say(text: str) -> None:
    note(f"\n{text}")


def _free(name: str) -> Path:
    """`name`, or `name-2` and so on where that is taken."""
    path, count = Path(name), 1
    while path.exists():
        count += 1
        path = Path(f"{name}-{count}")
    return path
