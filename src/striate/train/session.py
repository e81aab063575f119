"""One process's part in a run: the epochs, what is kept of them, and what happens when they diverge."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from striate.data.dataset import Dataset
from striate.errors import DivergedError, RunError
from striate.train.estimate import estimate_seconds
from striate.train.evaluation import calibration
from striate.train.evaluation.answers import Answers
from striate.train.evaluation.evaluate import answers
from striate.train.evaluation.metrics import Evaluation
from striate.train.machine import flags_kept, quiet_machine
from striate.train.norms import policy as norms
from striate.train.norms.shift import ShiftRecorder
from striate.train.observer import Observer, Plan, Step
from striate.train.progress import Progress
from striate.train.recipe import Recipe
from striate.train.result import Result
from striate.train.run.checkpoint import Checkpoint
from striate.train.run.state import Run
from striate.train.run.weights import plain, restore, snapshot
from striate.train.step import Batches, Stepper, not_finite

GAP_IMAGES = 512  # on which batch normalisation's two modes are compared


@dataclass(slots=True)
class Session:
    """Tensors, progress and whom to tell.

    kept: the weights of the epoch that the recipe keeps. epoch_start: where a diverging epoch begins anew.
    """

    stepper: Stepper
    dataset: Dataset
    observer: Observer
    run: Run | None
    shift: ShiftRecorder
    progress: Progress = field(default_factory=Progress)
    kept: dict[str, Tensor] = field(default_factory=dict)
    epoch_start: Checkpoint | None = None
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
        """How many the whole run has; the last one may be cut short."""
        return -(-self.stepper.total_steps // self.stepper.feed.steps)

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or too many have passed without a better one."""
        now, patience = self.progress, self.recipe.patience
        return now.epoch >= self.epochs or bool(patience and now.epoch - now.best_epoch >= patience)

    def begin(self, run: Run) -> None:
        """Write the run folder with a checkpoint of the initial weights."""
        run.begin(self.recipe, self.dataset, self.checkpoint())
        run.write_rows(self.progress)

    def go(self) -> Result:
        """Run what is left of the epochs, then evaluate the kept weights once."""
        with quiet_machine(int(self.recipe.threads), str(self.recipe.device)), flags_kept(self.module):
            self.observer.on_start(self.plan())
            self.saved_at = time.perf_counter()
            if self.progress.step == 0:
                self.epoch_start = self.checkpoint()
            while not self.is_over:
                try:
                    self.one_epoch()
                except DivergedError as fault:
                    self.recover(fault)
            if self.progress.epoch < self.epochs:
                self.observer.on_note(f"stopped early: {self.recipe.patience} epochs without a better validation")
            result = self.result()
            if self.run:
                self.run.finish(self.kept, result)
        self.observer.on_end(result)
        return result

    def plan(self) -> Plan:
        """What lies ahead, with a measured estimate of its time."""
        steps = self.stepper.feed.steps
        done_steps = self.progress.epoch * steps + self.progress.step
        norms.train_mode(self.module)
        return Plan(
            epochs=self.epochs,
            steps_per_epoch=steps,
            total_steps=self.stepper.total_steps,
            done_steps=done_steps,
            train_images=len(self.dataset.train),
            validation_images=len(self.dataset.validation),
            test_images=len(self.dataset.test) if self.dataset.test else 0,
            parameters=sum(p.numel() for p in self.module.parameters() if p.requires_grad),
            estimate_seconds=estimate_seconds(self.stepper, self.dataset, done_steps),
        )

    def one_epoch(self) -> None:
        """Do what is left of the epoch, then validate.  Raises: DivergedError if it left the finite numbers."""
        epoch, first = self.progress.epoch, self.progress.epoch * self.stepper.feed.steps
        rate_factor = self.recipe.recovery_factor ** len(self.progress.recoveries)
        norms.train_mode(self.module)
        steps = range(self.progress.step, min(self.stepper.feed.steps, self.stepper.total_steps - first))
        with closing(self.stepper.feed.batches(epoch, steps, int(self.recipe.loader_workers))) as batches:
            for step in steps:
                self.one_step(epoch, step, rate_factor, batches)
        if name := self.not_finite():
            raise DivergedError(f"{name} is no longer finite in epoch {epoch + 1}")
        start = time.perf_counter()
        with self.evaluated_weights():
            validation = self.evaluate("validation")
            self.close_epoch(validation, time.perf_counter() - start)
        self.stepper.feed.team.require_equal(self.module.state_dict(), "weights")
        self.epoch_start = self.save()
        self.observer.on_epoch(self.progress.history[-1])

    def one_step(self, epoch: int, step: int, rate_factor: float, batches: Batches) -> None:
        """Update the weights, tell it, and write a checkpoint when it is time."""
        done_steps = epoch * self.stepper.feed.steps + step
        seen = self.shift.before(self.module, done_steps)
        outcome = self.stepper(epoch, step, rate_factor, batches)
        self.progress.shift += self.shift.rows(self.module, done_steps + 1, seen)
        self.progress.add_step(outcome.loss, outcome.right, outcome.images, outcome.seconds)
        self.observer.on_step(
            Step(epoch + 1, done_steps + 1, outcome.loss, outcome.learning_rate, outcome.images, outcome.seconds)
        )
        if time.perf_counter() - self.saved_at >= self.recipe.checkpoint_seconds and not self.not_finite():
            self.save()

    def close_epoch(self, validation: Evaluation, validation_seconds: float) -> None:
        """Keep the weights that were evaluated if the recipe says so, and write the epoch's rows."""
        now = self.progress
        better = now.is_better(validation.right, validation.loss)
        if better:
            now.best_epoch, now.best_right, now.best_loss = now.epoch + 1, validation.right, validation.loss
        if better or self.recipe.keep == "last":
            self.kept = snapshot(self.module)
        now.history.append(
            {
                "epoch": now.epoch + 1,
                "steps": min((now.epoch + 1) * self.stepper.feed.steps, self.stepper.total_steps),
                "train_loss": now.loss_sum / now.seen,
                "train_accuracy": now.right / now.seen,
                "validation_loss": validation.loss,
                "validation_accuracy": validation.accuracy,
                "best": better,
            }
            | self.image_px()
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

    def image_px(self) -> dict[str, list[int]]:
        """The size of the epoch's images for its row, where it changes over the run."""
        size_of = self.stepper.feed.size_of
        return {} if size_of is None else {"image_px": list(size_of(self.progress.epoch))}

    @contextmanager
    def evaluated_weights(self) -> Iterator[None]:
        """The weights that are evaluated stand in the network, and afterwards again those that are trained.

        They are the averages where the recipe has any, and statistics are made precise where it says "always".
        """
        average, precise = self.stepper.average, self.recipe.bn_precise == "always"
        if average is None and not precise:
            yield
            return
        trained = snapshot(self.module)
        if average is not None:
            with torch.no_grad():
                for name, parameter in average.live.items():
                    parameter.copy_(average.tensors[name])
        if precise:
            self.make_precise()
        yield  # where it raises, the epoch begins anew
        restore(self.module, trained, "trained weights")

    def make_precise(self) -> None:
        """Give batch normalisation the statistics of training images, as they are without augmentation."""
        batches = self.stepper.feed.plain(self.recipe.bn_precise_images)
        norms.make_precise(self.module, (images for images, _ in batches))

    def recover(self, fault: DivergedError) -> None:
        """Go back to the start of the epoch and lower the rate.  Raises: RunError if that was done too often."""
        done = self.progress.recoveries
        if self.epoch_start is None or len(done) >= self.recipe.recoveries:
            tried = f" after {len(done)} recoveries" if done else ""
            if self.run is not None:
                self.run.diverge(f"diverged{tried}: {fault}")
            raise RunError(
                f"training diverged{tried}: {fault}; lower peak_lr (now {self.recipe.peak_lr}) "
                "and train into another --out"
            ) from None
        again = {"epoch": self.progress.epoch + 1, "reason": str(fault)}
        seconds, shown, serial = self.progress.train_seconds, self.progress.shown, self.serial
        self.restore(self.epoch_start)
        self.serial = serial
        self.progress.train_seconds, self.progress.shown = seconds, shown
        self.progress.recoveries = [*done, again]
        self.epoch_start = self.save()
        factor = self.recipe.recovery_factor ** len(self.progress.recoveries)
        self.observer.on_note(f"{fault}: epoch {again['epoch']} begins anew with {factor:g} times the rate")

    def evaluate(self, part: str) -> Evaluation:
        """Measure the present weights on one part."""
        return self.answers(part).evaluation()

    def answers(self, part: str) -> Answers:
        """What the present weights answer on one part."""
        data, preprocessing = self.dataset.parts[part], self.dataset.preprocessing
        channels_last, team = bool(self.recipe.channels_last), self.stepper.feed.team
        return answers(self.module, data, preprocessing, channels_last=channels_last, team=team)

    def result(self) -> Result:
        """Evaluate the kept weights, with precise statistics. The test part is looked at here and nowhere else."""
        restore(self.module, self.kept, "kept weights")
        if self.recipe.bn_precise == "end":
            self.make_precise()
            self.kept = snapshot(self.module)
        validation, test = self.answers("validation"), self.answers("test") if self.dataset.test else None
        now = self.progress
        batches = self.stepper.feed.plain(GAP_IMAGES, int(self.recipe.batch_images))
        return Result(
            validation=validation.evaluation(),
            test=test.evaluation() if test else None,
            calibration=calibration.report(validation, test, self.recipe.target_accuracy),
            kept_epoch=now.best_epoch if self.recipe.keep == "best" else now.epoch,
            epochs=now.epoch,
            train_seconds=now.train_seconds,
            images_per_s=now.shown / now.train_seconds,
            history=tuple(now.history),
            gap=norms.gap(self.module, batches),
            recoveries=tuple(now.recoveries),
        )

    def not_finite(self) -> str | None:
        """The name of a tensor that has left the finite numbers, if there is one."""
        return not_finite(self.module, self.stepper.optimizer.buffers())

    def save(self) -> Checkpoint:
        """Make a checkpoint of now, and write it into the run folder if there is one."""
        start = time.perf_counter()
        self.serial += 1
        checkpoint = self.checkpoint()
        if self.run is not None:
            began = self.epoch_start if self.progress.step else None
            self.run.checkpoint(checkpoint, began.serial if began else None)
        self.saved_at = time.perf_counter()
        self.progress.add_seconds(self.saved_at - start)
        return checkpoint

    def checkpoint(self) -> Checkpoint:
        """All that the rest of the run depends on, copied."""
        tensors = {f"weights/{name}": tensor for name, tensor in snapshot(self.module).items()}
        tensors |= {f"optimizer/{n}": plain(buffer) for n, buffer in self.stepper.optimizer.buffers().items()}
        if self.stepper.average is not None:
            tensors |= {f"average/{n}": plain(tensor) for n, tensor in self.stepper.average.tensors.items()}
        tensors |= {f"kept/{name}": tensor for name, tensor in self.kept.items()}
        return Checkpoint(self.serial, self.progress.copy(), tensors)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over weights, the optimizer's state, the average and progress of a checkpoint."""
        where = f"checkpoint {checkpoint.serial}"
        restore(self.module, _under("weights/", checkpoint.tensors), where)
        _refill(self.stepper.optimizer.buffers(), _under("optimizer/", checkpoint.tensors), f"{where}: the optimizer")
        if self.stepper.average is not None:
            _refill(self.stepper.average.tensors, _under("average/", checkpoint.tensors), f"{where}: the average")
        self.kept = _under("kept/", checkpoint.tensors)
        self.progress, self.serial = checkpoint.progress.copy(), checkpoint.serial


def _refill(own: Mapping[str, Tensor], saved: Mapping[str, Tensor], where: str) -> None:
    """Copy saved tensors into live ones.  Raises: RunError if they are for other parameters."""
    if own.keys() != saved.keys():
        raise RunError(f"{where} is for other parameters; the network must be the one trained")
    for name, tensor in own.items():
        tensor.copy_(saved[name])


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
