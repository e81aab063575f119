"""striate train: from images to a run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.output import AsJson, note, percent, print_choices, print_json, seconds_text
from striate.cli.settings import RecipeFile, Settings, read_recipe, seconds_of

if TYPE_CHECKING:
    from striate.train.evaluation.calibration import CalibrationReport
    from striate.train.observer import Observer
    from striate.train.result import Result
    from striate.train.team.distributed import Team


EventFolder = Annotated[
    Path | None, typer.Option("--tensorboard", help="Write event files into a folder of the run's name in here.")
]

GRACE_SECONDS = 1.0  # torchrun ends all processes once one has ended: the one with the fault must say it first


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="From images to a run folder.")(train)


def train(
    data: Annotated[
        str, typer.Argument(help="A folder of class folders, an .npz file, 'sample' or 'fashion-mnist'.")
    ] = "",
    net: Annotated[str | None, typer.Option(help="Notation, family or package.module:callable.")] = None,
    out: Annotated[Path | None, typer.Option(help="New folder for the run (runs/N by default).")] = None,
    recipe: RecipeFile = None,
    size: Annotated[str | None, typer.Option("--input", "-i", metavar="CxHxW", help="What the network sees.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training images.")] = None,
    duration: Annotated[
        str | None,
        typer.Option("--time", metavar="TIME", help="As many epochs as fit: 90s, 20m, 1.5h."),
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides order, augmentation and starting weights.")] = None,
    flip: Annotated[bool | None, typer.Option(help="Mirror half of the images left to right.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd or muon.")] = None,
    norm: Annotated[str | None, typer.Option(help="group: group norm in the place of batch norm.")] = None,
    setting: Settings = None,
    tensorboard: EventFolder = None,
    json: AsJson = False,
) -> None:
    """Train a network on images and write a run folder: recipe, metrics, weights, curves, confusion matrix.

    The best epoch is chosen on the validation part; the headline number comes from the test part, looked at once.

    On many cores, GPUs or machines: torchrun --nproc-per-node 2 -m striate train ...

    Example: striate train photos/ --net 32C3-BN-R-MP2-64C3-BN-R-GAP-6 --input 3x64x64 --out runs/first
    """
    given = {
        "data": data or None, "net": net, "input": size, "epochs": epochs, "batch_images": batch, "peak_lr": lr,
        "seed": seed, "flip": flip, "threads": threads, "device": device, "optimizer": optimizer, "norm": norm,
        "time_seconds": None if duration is None else seconds_of(duration),
    }  # fmt: skip
    from striate.jobs import training

    with together() as team:
        prepared = training.prepare_together(read_recipe(recipe, given, setting), team)
        folder = out or _next_run()
        note(f"data {prepared.dataset.source}: {len(prepared.dataset.classes)} classes; run folder {folder}")
        if team.size > 1:
            note(f"{team.size} processes share each step")
        print_choices(prepared.choices)
        report(folder, lambda observer: training.run(prepared, folder, observer, team), json, tensorboard, team)


@contextmanager
def together() -> Iterator[Team]:
    """The processes that torchrun started with this one; all but the first print nothing but a fault of their own."""
    import os
    import time
    from contextlib import redirect_stderr, redirect_stdout

    from striate.errors import ElsewhereError
    from striate.train.team.distributed import joined

    with joined() as team:
        if team.leads:
            yield team
            return
        try:
            with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
                yield team
        except ElsewhereError:
            time.sleep(GRACE_SECONDS)
            raise typer.Exit(2) from None


def report(out: Path, run: Callable[[Observer], Result], json: bool, tensorboard: Path | None, team: Team) -> None:
    """Run a training job under a progress bar, with event files where a folder is named, and print its result."""
    from contextlib import ExitStack, closing

    from striate.cli.progress import TrainingProgress
    from striate.train.observer import Observers

    with ExitStack() as stack:
        watchers: list[Observer] = []
        if tensorboard is not None and team.leads:
            from striate.train.run.tensorboard import TensorBoard

            watchers.append(stack.enter_context(closing(TensorBoard(tensorboard / out.name))))
        if team.leads:
            watchers.append(stack.enter_context(closing(TrainingProgress())))
        result = run(Observers(watchers))
    if json:
        print_json({"run": str(out), **result.to_json()})
        return
    best = result.headline
    low, high = best.interval_95
    part = "test" if result.test else "validation (there is no test part)"
    interval = f"95 % interval {percent(low)} to {percent(high)}"
    speed = f"{seconds_text(result.train_seconds)}, {result.images_per_s:,.0f} images/s"
    print(f"{part}: {percent(best.accuracy)} of {best.images:,} images right ({interval})")
    if result.calibration:
        print_calibration(result.calibration)
    print(f"kept epoch {result.kept_epoch} of {result.epochs}; {speed}")
    if result.gap:
        print(f"batch normalisation: {result.gap}")
    print(f"run folder: {out} (curves.png, confusion.png, weights.safetensors, metrics.jsonl)")
    print(f"next: striate ship {out} -o model.onnx")


def print_calibration(found: CalibrationReport) -> None:
    """What the probabilities are worth, and the threshold below which to abstain."""
    fitted, checked = found.fitted, found.headline
    if not fitted.is_fitted:
        few = f"{fitted.images} validation images are too few to fit a temperature"
        print(f"calibration error: {percent(checked.as_trained.ece)}; {few}")
        return
    errors = f"{percent(checked.as_trained.ece)} as trained, {percent(checked.at_temperature.ece)}"
    print(f"calibration error: {errors} at temperature {fitted.temperature:.3f}, fitted on validation")
    target, left = percent(fitted.target_accuracy), checked.answered
    if fitted.abstain_below is not None and left.accuracy is not None:
        answers = f"{percent(left.share)} answered, {percent(left.accuracy)} of those right"
        print(f"for {target} of the answers right: abstain below probability {fitted.abstain_below:.3f} ({answers})")
    elif not fitted.is_reached:
        print(f"for {target} of the answers right: no threshold does, on validation")


def _next_run() -> Path:
    taken = [int(p.name) for p in Path("runs").glob("*") if p.name.isdecimal()]
    return Path("runs") / str(max(taken, default=0) + 1)
