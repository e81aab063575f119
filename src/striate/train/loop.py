"""The only training loop. Killed at any moment and resumed, it ends in the same bits on a CPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn

from striate.data import dataset as datasets
from striate.data.dataset import Dataset
from striate.errors import RecipeError, RunError
from striate.train.binding import dirac, prepare, stepper_for
from striate.train.machine import device_of, seeded
from striate.train.norms.shift import ShiftRecorder
from striate.train.observer import Observer
from striate.train.recipe import Recipe
from striate.train.result import Result
from striate.train.run.checkpoint import Checkpoint, shared
from striate.train.run.state import Run
from striate.train.run.weights import restore
from striate.train.session import Session
from striate.train.step import Stepper
from striate.train.team.distributed import ALONE, Team

ModuleBuilder = Callable[[Recipe, tuple[str, ...]], nn.Module]  # recipe, class names -> network
DatasetLoader = Callable[[Recipe], Dataset]
LATER_KEYS = {"pixels": "memory", "loader_workers": 0}  # absent in older run folders; they change no bit


def train(
    module: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    run: Run | None = None,
    observer: Observer | None = None,
    team: Team = ALONE,
) -> Result:
    """Train a network in place; it ends with the weights the recipe keeps: by default those best on validation.

    module: maps (N, C, H, W) float32 to logits (N, classes); starts from the weights it has.
    recipe: resolved (`resolve.resolve`). run: where to write; without one nothing is written.
    team: the ranks that train together, each calling this; only rank 0 needs run and observer.
    The caller's random state, thread count, training flags and the network's device are as before afterwards.
    Raises: RunError if the folder holds a run already or the loss leaves the finite; RecipeError, DataError,
    ShapeError if recipe, data and network do not fit together.
    """
    found_on = device_of(module)
    session = _session(module, dataset, recipe, run if team.leads else None, observer or Observer(), team)
    try:
        with ExitStack() as held:
            team.together(lambda: _begin(session, held))
            return session.go()
    finally:
        module.to(found_on)


def resume(
    run_folder: Path,
    module_builder: ModuleBuilder,
    dataset_loader: DatasetLoader,
    observer: Observer | None = None,
    team: Team = ALONE,
) -> Result:
    """Continue an unfinished run from its newest intact checkpoint to the weights it would have had.

    Bit for bit on a CPU with the torch, the threads, the kind of processor and the number of processes it began with.
    team: the ranks that continue together; only rank 0 needs the folder.
    Raises: RunError if there is nothing to resume, or network or data are not those of the run.
    """
    run, watcher = Run(run_folder), observer or Observer()
    begun = json.loads(team.from_first(lambda: json.dumps(_begun(run)).encode()))
    recipe = Recipe(**begun["recipe"])
    recipe = recipe.changed(**{name: LATER_KEYS[name] for name in recipe.unresolved() if name in LATER_KEYS})
    if begun["processes"] != team.size:
        recipe = recipe.changed(threads=max(1, int(recipe.threads) * begun["processes"] // team.size))
        counts = f"{begun['processes']} at its start, {team.size} now, with threads each: {recipe.threads}"
        watcher.on_note(f"processes: {counts}; the last bits will differ")
    dataset = team.together(lambda: _same_data(dataset_loader(recipe), begun["fingerprint"], run.path))
    module = build(module_builder, recipe, dataset.classes)
    session = _session(module, dataset, recipe, run if team.leads else None, watcher, team)
    with ExitStack() as held:
        checkpoint = shared(team, lambda: _newest(run, watcher, held))
        assert checkpoint is not None  # noqa: S101  # or _newest has raised
        session.restore(checkpoint)
        session.epoch_start = shared(team, lambda: run.epoch_start(checkpoint.progress.epoch))
        if session.run:
            session.run.write_rows(session.progress)  # rows of an epoch whose checkpoint was never written go
        return session.go()


def build(module_builder: ModuleBuilder, recipe: Recipe, classes: tuple[str, ...]) -> nn.Module:
    """Build the network with initial weights that depend on the recipe's seed alone."""
    with seeded(recipe.seed):
        module = module_builder(recipe, classes)
    if recipe.init == "dirac":
        dirac(module)
    return module


def trained(run_folder: Path, module_builder: ModuleBuilder) -> nn.Module:
    """The network of a finished run with the weights it kept, in eval mode.

    Raises: RunError if the run is absent, unfinished or damaged, or the builder makes another network.
    """
    run = Run(run_folder)
    tensors, recipe = run.weights(), run.recipe()
    anywhere = recipe.changed(device="cpu", precision="float32", compile=False)
    module = prepare(build(module_builder, anywhere, run.classes()), anywhere)
    restore(module, tensors, str(run.weights_path))
    return module.eval()


def _begin(session: Session, held: ExitStack) -> None:
    """Take the run's folder, if there is one, and write what the run is."""
    if session.run is not None:
        held.enter_context(session.run.locked())
        session.run.require_new()
        session.begin(session.run)


def _begun(run: Run) -> dict[str, Any]:
    """What every rank must know of the run in a folder.  Raises: RunError if there is none to continue."""
    run.require_unfinished()
    return {
        "recipe": run.recipe().model_dump(),
        "fingerprint": run.read("dataset.json")["fingerprint"],
        "processes": run.read("environment.json").get("processes", 1),
    }


def _same_data(dataset: Dataset, fingerprint: str, path: Path) -> Dataset:
    """The dataset.  Raises: RunError if it is not the one of that fingerprint."""
    if dataset.fingerprint != fingerprint:
        raise RunError(f"{path}: the data are not those it began with; restore them or train again")
    return dataset


def _newest(run: Run, watcher: Observer, held: ExitStack) -> Checkpoint:
    """Take the run's folder and read the newest intact checkpoint in it."""
    held.enter_context(run.locked())
    run.require_unfinished()
    checkpoint, faults = run.newest_checkpoint()
    for fault in faults:
        watcher.on_note(f"{fault}; continuing from the checkpoint before it")
    began_with = run.read("environment.json")["torch"]
    if began_with != torch.__version__:
        watcher.on_note(f"torch is {torch.__version__}, was {began_with}: the last bits may differ")
    return checkpoint


def _session(
    module: nn.Module, dataset: Dataset, recipe: Recipe, run: Run | None, observer: Observer, team: Team
) -> Session:
    """Check that network, data and recipe fit together, and bind them."""
    if recipe.unresolved():
        raise RecipeError(f"recipe: {recipe.unresolved()[0]} is still 'auto'; call resolve first")
    stepper = team.together(lambda: _stepper(module, dataset, recipe, team))
    team.begin_equal(module.state_dict())
    team.begin_equal(stepper.average.tensors if stepper.average else {})
    shift = ShiftRecorder.of(
        dataset.validation, stepper.feed.normaliser, stepper.feed.steps, wanted=recipe.record_shift
    )
    return Session(stepper, dataset, observer, run, shift)


def _stepper(module: nn.Module, dataset: Dataset, recipe: Recipe, team: Team) -> Stepper:
    datasets.check(dataset)
    return stepper_for(prepare(module, recipe), dataset, recipe, team)
