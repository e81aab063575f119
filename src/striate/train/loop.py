"""The only training loop. Killed at any moment and resumed, it ends in the same bits on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from striate.data import dataset as datasets
from striate.data.dataset import Dataset
from striate.errors import RecipeError, RunError
from striate.train.binding import dirac, prepare, stepper_for
from striate.train.machine import device_of, seeded
from striate.train.observer import Observer
from striate.train.recipe import Recipe
from striate.train.result import Result
from striate.train.session import Session
from striate.train.shift import ShiftRecorder
from striate.train.state import Run
from striate.train.weights import restore

ModuleBuilder = Callable[[Recipe, tuple[str, ...]], nn.Module]  # recipe, class names -> network
DatasetLoader = Callable[[Recipe], Dataset]


def train(
    module: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    run: Run | None = None,
    observer: Observer | None = None,
) -> Result:
    """Train a network in place; it ends with the weights that were best on validation.

    module: maps (N, C, H, W) float32 to logits (N, classes); starts from the weights it has.
    recipe: resolved (`resolve.resolve`). run: where to write; without one nothing is written.
    The caller's random state, thread count, training flags and the network's device are as before afterwards.
    Raises: RunError if the folder holds a run already or the loss leaves the finite; RecipeError, DataError,
    ShapeError if recipe, data and network do not fit together.
    """
    found_on = device_of(module)
    session = _session(module, dataset, recipe, run, observer or Observer())
    try:
        if run is None:
            return session.go()
        with run.locked():
            run.require_new()
            session.begin(run)
            return session.go()
    finally:
        module.to(found_on)


def resume(
    run_folder: Path,
    module_builder: ModuleBuilder,
    dataset_loader: DatasetLoader,
    observer: Observer | None = None,
) -> Result:
    """Continue an unfinished run from its newest intact checkpoint to the weights it would have had.

    Bit for bit on a CPU with the torch, the threads and the kind of processor it began with.
    Raises: RunError if there is nothing to resume, or network or data are not those of the run.
    """
    run, watcher = Run(run_folder), observer or Observer()
    run.require_unfinished()
    recipe = run.recipe()
    dataset = dataset_loader(recipe)
    if dataset.fingerprint != run.read("dataset.json")["fingerprint"]:
        raise RunError(f"{run.path}: the data are not those it began with; restore them or train again")
    session = _session(build(module_builder, recipe, dataset.classes), dataset, recipe, run, watcher)
    with run.locked():
        run.require_unfinished()
        checkpoint, faults = run.newest_checkpoint()
        for fault in faults:
            watcher.on_note(f"{fault}; continuing from the checkpoint before it")
        began_with = run.read("environment.json")["torch"]
        if began_with != torch.__version__:
            watcher.on_note(f"torch is {torch.__version__}, was {began_with}: the last bits may differ")
        session.restore(checkpoint)
        session.epoch_start = run.epoch_start(checkpoint.progress.epoch)
        run.write_rows(session.progress)  # rows of an epoch whose checkpoint was never written go
        return session.go()


def build(module_builder: ModuleBuilder, recipe: Recipe, classes: tuple[str, ...]) -> nn.Module:
    """Build the network with initial weights that depend on the recipe's seed alone."""
    with seeded(recipe.seed):
        module = module_builder(recipe, classes)
    if recipe.init == "dirac":
        dirac(module)
    return module


def trained(run_folder: Path, module_builder: ModuleBuilder) -> nn.Module:
    """The network of a finished run with its best weights, in eval mode.

    Raises: RunError if the run is absent, unfinished or damaged, or the builder makes another network.
    """
    run = Run(run_folder)
    tensors, recipe = run.weights(), run.recipe()
    anywhere = recipe.changed(device="cpu", precision="float32", compile=False)
    module = prepare(build(module_builder, anywhere, run.classes()), anywhere)
    restore(module, tensors, str(run.weights_path))
    return module.eval()


def _session(module: nn.Module, dataset: Dataset, recipe: Recipe, run: Run | None, observer: Observer) -> Session:
    """Check that network, data and recipe fit together, and bind them."""
    if recipe.unresolved():
        raise RecipeError(f"recipe: {recipe.unresolved()[0]} is still 'auto'; call resolve first")
    datasets.check(dataset)
    prepare(module, recipe)
    stepper = stepper_for(module, dataset, recipe)
    shift = ShiftRecorder.of(
        dataset.validation, stepper.feed.normaliser, stepper.feed.steps, wanted=recipe.record_shift
    )
    return Session(stepper, dataset, observer, run, shift)
