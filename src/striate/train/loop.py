"""The only training loop. Killed at any moment and resumed, it ends in the same bits on a CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from striate.data import dataset as datasets
from striate.data.dataset import Dataset
from striate.errors import RecipeError, RunError, ShapeError
from striate.train import calibration
from striate.train.answers import Answers
from striate.train.checkpoint import Checkpoint
from striate.train.estimate import estimate_seconds
from striate.train.evaluate import answers
from striate.train.feed import Feed, Normaliser, Pixels, augmentation_of, steps_per_epoch
from striate.train.machine import flags_kept, quiet_machine, seeded
from striate.train.metrics import Evaluation
from striate.train.observer import Observer, Plan, Step
from striate.train.optimizer import optimizer_for
from striate.train.progress import Progress
from striate.train.recipe import Recipe
from striate.train.result import Result
from striate.train.state import Run
from striate.train.step import Stepper, not_finite, prepare, train_mode
from striate.train.weights import plain, restore, snapshot

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
    The caller's random state, thread count and training flags are as before afterwards.
    Raises: RunError if the folder holds a run already or the loss leaves the finite; RecipeError, DataError,
    ShapeError if recipe, data and network do not fit together.
    """
    session = _session(module, dataset, recipe, run, observer or Observer())
    if run is None:
        return session.go()
    with run.locked():
        run.require_new()
        session.begin(run)
        return session.go()


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
        run.write_rows(session.progress)  # rows of an epoch whose checkpoint was never written go
        return session.go()


def build(module_builder: ModuleBuilder, recipe: Recipe, classes: tuple[str, ...]) -> nn.Module:
    """Build the network with initial weights that depend on the recipe's seed alone."""
    with seeded(recipe.seed):
        return module_builder(recipe, classes)


def trained(run_folder: Path, module_builder: ModuleBuilder) -> nn.Module:
    """The network of a finished run with its best weights, in eval mode.

    Raises: RunError if the run is absent, unfinished or damaged, or the builder makes another network.
    """
    run = Run(run_folder)
    tensors, recipe = run.weights(), run.recipe()
    module = prepare(build(module_builder, recipe, run.classes()), recipe)
    restore(module, tensors, str(run.weights_path))
    return module.eval()


@dataclass(slots=True)
class Session:
    """One process's part in a run: tensors, progress and whom to tell."""

    stepper: Stepper
    dataset: Dataset
    observer: Observer
    run: Run | None
    progress: Progress = field(default_factory=Progress)
    best: dict[str, Tensor] = field(default_factory=dict)
    serial: int = 0
    saved_at: float = 0.0

    @property
    def module(self) -> nn.Module:
        """The network that is trained."""
        return self.stepper.module

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return self.stepper.recipe

    @property
    def epochs(self) -> int:
        """How many the whole run has."""
        return int(self.recipe.epochs)

    def begin(self, run: Run) -> None:
        """Write the run folder with a checkpoint of the initial weights."""
        run.begin(self.recipe, self.dataset, self.checkpoint())
        run.write_rows(self.progress)

    def go(self) -> Result:
        """Run what is left of the epochs, then evaluate the best weights once."""
        with quiet_machine(int(self.recipe.threads)), flags_kept(self.module):
            self.observer.on_start(self.plan())
            self.saved_at = time.perf_counter()
            while self.progress.epoch < self.epochs:
                self.one_epoch()
            restore(self.module, self.best, "best weights")
            result = self.result()
            if self.run:
                self.run.finish(self.best, result)
        self.observer.on_end(result)
        return result

    def plan(self) -> Plan:
        """What lies ahead, with a measured estimate of its time."""
        steps = self.stepper.feed.steps
        done_steps = self.progress.epoch * steps + self.progress.step
        train_mode(self.module)
        return Plan(
            epochs=self.epochs,
            steps_per_epoch=steps,
            done_steps=done_steps,
            train_images=len(self.dataset.train),
            validation_images=len(self.dataset.validation),
            test_images=len(self.dataset.test) if self.dataset.test else 0,
            parameters=sum(p.numel() for p in self.module.parameters() if p.requires_grad),
            estimate_seconds=estimate_seconds(self.stepper, self.dataset, done_steps),
        )

    def one_epoch(self) -> None:
        """Do what is left of the epoch, then validate."""
        epoch, steps = self.progress.epoch, self.stepper.feed.steps
        train_mode(self.module)
        for step in range(self.progress.step, steps):
            outcome = self.stepper(epoch, step)
            self.progress.add_step(outcome.loss, outcome.right, outcome.images, outcome.seconds)
            done = epoch * steps + step + 1
            self.observer.on_step(
                Step(epoch + 1, done, outcome.loss, outcome.learning_rate, outcome.images, outcome.seconds)
            )
            if time.perf_counter() - self.saved_at >= self.recipe.checkpoint_seconds:
                self.save()
        start = time.perf_counter()
        validation = self.evaluate("validation")
        self.close_epoch(validation, time.perf_counter() - start)

    def close_epoch(self, validation: Evaluation, validation_seconds: float) -> None:
        """Keep the weights if they are the best, write the epoch's rows and a checkpoint."""
        now, steps = self.progress, self.stepper.feed.steps
        better = now.is_better(validation.right, validation.loss)
        if better:
            now.best_epoch, now.best_right, now.best_loss = now.epoch + 1, validation.right, validation.loss
            self.best = snapshot(self.module)
        now.history.append(
            {
                "epoch": now.epoch + 1,
                "steps": (now.epoch + 1) * steps,
                "train_loss": now.loss_sum / now.seen,
                "train_accuracy": now.right / now.seen,
                "validation_loss": validation.loss,
                "validation_accuracy": validation.accuracy,
                "best": better,
            }
        )
        now.timing.append(
            {
                "epoch": now.epoch + 1,
                "train_seconds": now.epoch_seconds,
                "validation_seconds": validation_seconds,
                "images_per_s": now.seen / now.epoch_seconds,
            }
        )
        now.close_epoch()
        if self.run:
            self.run.write_rows(now)
        self.save()
        self.observer.on_epoch(now.history[-1])

    def evaluate(self, part: str) -> Evaluation:
        """Measure the present weights on one part."""
        return self.answers(part).evaluation()

    def answers(self, part: str) -> Answers:
        """What the present weights answer on one part."""
        data, preprocessing = self.dataset.parts[part], self.dataset.preprocessing
        return answers(self.module, data, preprocessing, channels_last=self.recipe.channels_last)

    def result(self) -> Result:
        """Evaluate the best weights. The test part is looked at here and nowhere else."""
        validation, test = self.answers("validation"), self.answers("test") if self.dataset.test else None
        seconds = self.progress.train_seconds
        return Result(
            validation=validation.evaluation(),
            test=test.evaluation() if test else None,
            calibration=calibration.report(validation, test, self.recipe.target_accuracy),
            best_epoch=self.progress.best_epoch,
            epochs=self.epochs,
            train_seconds=seconds,
            images_per_s=self.epochs * len(self.dataset.train) / seconds,
            history=tuple(self.progress.history),
        )

    def save(self) -> None:
        """Write a checkpoint, unless the weights have left the finite: the one before is then the last."""
        if self.run is None:
            return
        start = time.perf_counter()
        if name := not_finite(self.module, self.stepper.optimizer.buffers()):
            raise RunError(
                f"training diverged: {name} is no longer finite in epoch {self.progress.epoch + 1}; "
                f"lower peak_lr (now {self.recipe.peak_lr}) and train into another --out"
            )
        self.serial += 1
        self.run.checkpoint(self.checkpoint())
        self.saved_at = time.perf_counter()
        self.progress.add_seconds(self.saved_at - start)

    def checkpoint(self) -> Checkpoint:
        """All that the rest of the run depends on, copied."""
        tensors = {f"weights/{name}": tensor for name, tensor in snapshot(self.module).items()}
        buffers = self.stepper.optimizer.buffers()
        tensors |= {f"optimizer/{name}": plain(buffer) for name, buffer in buffers.items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        return Checkpoint(self.serial, self.progress, tensors)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over weights, the optimizer's state and progress of a checkpoint."""
        where = f"checkpoint {checkpoint.serial}"
        restore(self.module, _under("weights/", checkpoint.tensors), where)
        buffers, saved = self.stepper.optimizer.buffers(), _under("optimizer/", checkpoint.tensors)
        if buffers.keys() != saved.keys():
            raise RunError(f"{where}: the optimizer is for other parameters; the network must be the one trained")
        for name, buffer in buffers.items():
            buffer.copy_(saved[name])
        self.best = _under("best/", checkpoint.tensors)
        self.progress, self.serial = checkpoint.progress, checkpoint.serial


def _session(module: nn.Module, dataset: Dataset, recipe: Recipe, run: Run | None, observer: Observer) -> Session:
    """Check that network, data and recipe fit together, and bind them."""
    if recipe.unresolved():
        raise RecipeError(f"recipe: {recipe.unresolved()[0]} is still 'auto'; call resolve first")
    datasets.check(dataset)
    prepare(module, recipe)
    with quiet_machine(int(recipe.threads)):
        _check_output(module, dataset)
    steps = steps_per_epoch(len(dataset.train), int(recipe.batch_images))
    feed = Feed(
        Pixels.of(dataset.train),
        Normaliser.of(dataset.preprocessing, recipe.channels_last),
        augmentation_of(recipe, dataset.preprocessing.channels),
        recipe.seed,
        steps,
    )
    stepper = Stepper(module, optimizer_for(module, recipe), feed, recipe, steps * int(recipe.epochs))
    return Session(stepper, dataset, observer, run)


def _check_output(module: nn.Module, dataset: Dataset) -> None:
    """Raises: ShapeError unless the network gives one number for each class."""
    classes, shape = len(dataset.classes), (2, *dataset.preprocessing.shape)
    with flags_kept(module), torch.inference_mode():
        got = tuple(module.eval()(torch.zeros(shape)).shape)
    if got != (2, classes):
        raise ShapeError(
            f"network: output {got} for input {shape}; the data has {classes} classes, "
            f"so the network must end in {classes} numbers an image"
        )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
