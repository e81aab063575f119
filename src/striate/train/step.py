"""One update of the weights, and what must hold so that it can be repeated to the bit."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.data.random import bits
from striate.errors import DivergedError
from striate.train.feed import Feed
from striate.train.norms.policy import BatchNorm
from striate.train.recipe import Recipe
from striate.train.team.reduction import Reduction
from striate.train.update.average import Average, average_for
from striate.train.update.optimizer import Optimizer, optimizer_for
from striate.train.update.schedule import learning_rate

Batches = Iterator[tuple[Tensor, Tensor]]


def not_finite(module: nn.Module, buffers: Mapping[str, Tensor]) -> str | None:
    """The name of a tensor that training has driven out of the finite numbers, if there is one.

    Looked at are parameters, the optimizer's buffers and BatchNorm's statistics; a network's own buffers may hold
    infinity.
    """
    statistics = {
        f"{place}.{name}": buffer
        for place, part in module.named_modules()
        if isinstance(part, BatchNorm)
        for name, buffer in part.named_buffers()
    }
    tensors = dict(module.named_parameters()) | statistics | {f"momentum of {n}": b for n, b in buffers.items()}
    return next((name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())), None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one step showed."""

    loss: float  # mean over the batch
    right: int
    images: int
    learning_rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Stepper:
    """The step as a function of (epoch, step), given the weights, the optimizer's state and the average it updates.

    class_weights: (K,) factors on the losses of the classes; None weighs all images alike.
    forward: the module, or its compiled form.
    """

    module: nn.Module
    optimizer: Optimizer
    average: Average | None
    feed: Feed
    recipe: Recipe
    total_steps: int
    class_weights: Tensor | None
    forward: Callable[[Tensor], Tensor]
    reduction: Reduction

    @classmethod
    def of(
        cls, module: nn.Module, feed: Feed, recipe: Recipe, total_steps: int, class_weights: Tensor | None = None
    ) -> Stepper:
        """A stepper from the present weights, with the optimizer and the average that the resolved recipe asks for."""
        optimizer, average = optimizer_for(module, recipe), average_for(module, recipe)
        forward = torch.compile(module) if recipe.compile else module
        reduction = Reduction.of(module, feed.team)
        return cls(module, optimizer, average, feed, recipe, total_steps, class_weights, forward, reduction)

    def rehearsal(self) -> Stepper:
        """The same on copies of weights and state, for steps that are to leave no trace."""
        return Stepper.of(copy.deepcopy(self.module), self.feed, self.recipe, self.total_steps, self.class_weights)

    def __call__(self, epoch: int, step: int, rate_factor: float = 1.0, batches: Batches | None = None) -> Outcome:
        """Update the weights once, at the schedule's rate times rate_factor.  batches, raises: as `update`."""
        rate = learning_rate(epoch * self.feed.steps + step, self.total_steps, self.recipe)
        return self.update(epoch, step, rate_factor * rate, batches)

    def update(self, epoch: int, step: int, rate: float, batches: Batches | None = None) -> Outcome:
        """Update the weights once, at this rate.

        batches: gives the step's batch next, as the feed's `batches` does; without it the batch is made here.
        Dropout and the like draw from f(seed, epoch, step), and of several ranks each from its own numbers.
        Raises: DivergedError, before the update, if the loss is not finite.
        """
        start = time.perf_counter()
        done_steps = epoch * self.feed.steps + step
        images, labels = self.feed.batch(epoch, step) if batches is None else next(batches)
        chance = int(bits(self.recipe.seed, "step", epoch, step, *self.feed.team.own_counter)[0] >> 1)
        torch.default_generator.manual_seed(chance)
        if self.recipe.device == "cuda":
            torch.cuda.manual_seed(chance)
        loss, logits = self.gradients(images, labels)
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss is {loss} at step {done_steps + 1} of {self.total_steps:,} "
                f"(epoch {epoch + 1}, learning rate {rate:.3g})"
            )
        self.optimizer.step(rate)
        if self.average is not None:
            self.average.update(done_steps + 1, self.total_steps)
        right, images_shown = self.reduction.counts(_right(logits, labels), len(labels))
        return Outcome(loss, right, images_shown, rate, time.perf_counter() - start)

    def rounding(self) -> AbstractContextManager[object]:
        """The precision of products in the forward pass."""
        if self.recipe.precision == "float32":
            return nullcontext()
        return torch.autocast(str(self.recipe.device), dtype=torch.bfloat16)

    def gradients(self, images: Tensor, labels: Tensor) -> tuple[float, Tensor]:
        """Set each trained parameter's gradient; the only place where gradients come from.

        Of several ranks each has a share of the batch; loss and gradients are those of the whole.

        Shapes: images (B, C, H, W) float32; labels (B,) classes, or (B, K) shares of them.
        Returns the mean loss and the logits (B, K), detached; where the loss is not finite, no gradients are made.
        """
        with self.rounding():
            logits = self.forward(images)  # (B, K)
        if self.recipe.precision == "bfloat16":
            logits = logits.float()
        loss = F.cross_entropy(logits, labels, weight=self.class_weights, label_smoothing=self.recipe.label_smoothing)
        loss, value = self.reduction.mean_loss(loss, labels, self.class_weights)
        if math.isfinite(value):
            self.module.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.reduction.sum_gradients()
            if self.recipe.clip_norm:
                torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.clip_norm)
        return value, logits.detach()


def _right(logits: Tensor, labels: Tensor) -> int:
    """How many answers are the label, or its larger share."""
    answers = labels if labels.ndim == 1 else labels.argmax(dim=1)
    return int((logits.argmax(dim=1) == answers).sum())
