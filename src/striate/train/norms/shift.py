"""Internal covariate shift while training: how far one update moves what each layer reads.

Before and after one step in ten an epoch, the same validation images pass the network in training mode, and for the
input of every layer with a kernel the mean m and the deviation s of each channel are compared:

    d^2 = average over channels of [(m' - m)^2 + (s' - s)^2] / s^2

the 2-Wasserstein distance of two normal distributions, in deviations. Recording is without trace: weights, running
statistics and random state are untouched, and which steps are looked at follows from the step alone, so that a resumed
run records the same rows. Source of the notion: Ioffe & Szegedy 2015, arXiv:1502.03167, sec. 2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd

from striate.data.dataset import Part
from striate.errors import RunError
from striate.ops import Array
from striate.train.machine import flags_kept
from striate.train.run.files import read

NAME = "shift.jsonl"
IMAGES = 100
STEPS_AN_EPOCH = 10
Statistics = tuple[Array, Array]  # mean and deviation of each channel (C,)
Seen = Mapping[str, Statistics]


def distance(before: Statistics, after: Statistics) -> float:
    """d of one layer's input; a channel without width, such as one that is always 0, does not count."""
    (mean, deviation), (mean_after, deviation_after) = before, after
    alive = deviation > 1e-6
    squares = ((mean_after - mean)[alive] ** 2 + (deviation_after - deviation)[alive] ** 2) / deviation[alive] ** 2
    return float(np.sqrt(squares.mean())) if alive.any() else 0.0


@dataclass(frozen=True, slots=True)
class ShiftRecorder:
    """Looks at `images` (N, C, H, W), normalised, before and after every `every`-th step; never where that is 0."""

    images: Tensor
    every: int

    @classmethod
    def of(cls, part: Part, normalised: Callable[[Tensor], Tensor], steps: int, *, wanted: bool) -> ShiftRecorder:
        """A recorder on 100 images spread over a part, for epochs of so many steps."""
        rows = np.unique(np.linspace(0, len(part) - 1, IMAGES).round().astype(np.int64))
        images = normalised(torch.from_numpy(part.images[rows]))
        return cls(images, max(1, steps // STEPS_AN_EPOCH) if wanted else 0)

    def before(self, module: nn.Module, done_steps: int) -> Seen:
        """What the layers read now, if the step that comes is one to be looked at; else nothing."""
        return self._look(module) if self.every and done_steps % self.every == 0 else {}

    def rows(self, module: nn.Module, done_steps: int, before: Seen) -> list[dict[str, Any]]:
        """The row of a step that `before` was looked at; none where it was not."""
        if not before:
            return []
        after = self._look(module)
        shift = {layer: distance(seen, after[layer]) for layer, seen in before.items()}
        return [{"step": done_steps, "images": len(self.images), "shift": shift}]

    def _look(self, module: nn.Module) -> Seen:
        """Mean and deviation, channel by channel, of what each layer with a kernel reads in training mode."""
        seen: dict[str, Statistics] = {}
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}  # these take the running averages
        with _watched(module, seen), _only_norms_train(module), torch.no_grad():
            functional_call(module, buffers, (self.images,))
        return seen


def recorded(folder: Path) -> tuple[dict[str, Any], ...]:
    """The rows in a run folder; none where it recorded none.  Raises: RunError where they are damaged."""
    path = folder / NAME
    if not path.exists():
        return ()
    try:
        rows = [json.loads(line) for line in read(path).splitlines()]
        for row in rows:
            sum((row["step"], row["images"], *(row["shift"][layer] for layer in rows[0]["shift"])))  # all numbers
    except (ValueError, KeyError, TypeError, IndexError):
        raise RunError(f"{path}: is damaged; delete it, the run does not need it") from None
    return tuple(rows)


@contextmanager
def _watched(module: nn.Module, seen: dict[str, Statistics]) -> Iterator[None]:
    """Write into `seen` what each layer with a kernel reads; of a layer called twice, what it reads last."""

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            channels = inputs[0].transpose(0, 1).flatten(1).double()  # (C, N H W)
            seen[name] = channels.mean(dim=1).cpu().numpy(), channels.std(dim=1, correction=0).cpu().numpy()

        return look

    layers = ((name, part) for name, part in module.named_modules() if isinstance(part, _ConvNd | nn.Linear))
    hooks = [part.register_forward_pre_hook(watch(name)) for name, part in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _only_norms_train(module: nn.Module) -> Iterator[None]:
    """Batch statistics, and no dropout: nothing is left to chance."""
    with flags_kept(module):
        module.eval()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                part.train()
        yield
