"""Images to batches on the network's input: a function of epoch and step, so that workers need no state."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from striate.data.ahead import map_ahead
from striate.data.augment import augment, mix
from striate.data.augmentation import Augmentation
from striate.data.dataset import Part
from striate.data.preprocess import Preprocessing
from striate.data.random import epoch_order
from striate.errors import RecipeError
from striate.train.balance import balanced_order
from striate.train.recipe import Recipe
from striate.train.team.distributed import ALONE, Team

PLAIN = 2**63 - 1  # an epoch that no run reaches: its order chooses images for statistics


def steps_per_epoch(images: int, batch_images: int) -> int:
    """Number of batches in which an epoch shows each image exactly once; none is dropped.

    Batches of nearly equal size: with n images and at most b a batch, ceil(n / b) batches of n // k or
    n // k + 1. A short last batch, and with it BatchNorm over one image, cannot occur. (At b = 2 and odd n
    one batch holds 3.)
    """
    return max(1, min(-(-images // batch_images), images // 2))


def batch_bounds(step: int, steps: int, images: int) -> slice:
    """Where batch `step` lies in the epoch's order."""
    return slice(step * images // steps, (step + 1) * images // steps)


@dataclass(frozen=True, slots=True)
class Pixels:
    """A part as tensors: images (N, C, H, W) uint8 and labels (N,) int64, sharing the arrays' memory."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, part: Part) -> Pixels:
        """The part's arrays as tensors."""
        return cls(_shared(part.images), _shared(part.labels))

    def to(self, device: str | torch.device, *, is_whole: bool = True) -> Pixels:
        """The same on a device, or only the labels, where the images are mapped from a file."""
        return Pixels(self.images.to(device) if is_whole else self.images, self.labels.to(device))


@dataclass(frozen=True, slots=True)
class Normaliser:
    """Pixels to the network's input, with the two roundings of `data.preprocess.normalise`."""

    scale: Tensor  # (C, 1, 1)
    shift: Tensor  # (C, 1, 1)
    memory_format: torch.memory_format

    @classmethod
    def of(cls, preprocessing: Preprocessing, channels_last: bool) -> Normaliser:
        """The preprocessing's scale and shift, and the memory order of the result."""
        return cls(
            torch.from_numpy(preprocessing.scale)[:, None, None],
            torch.from_numpy(preprocessing.shift)[:, None, None],
            torch.channels_last if channels_last else torch.contiguous_format,
        )

    def to(self, device: str | torch.device) -> Normaliser:
        """The same on a device."""
        return Normaliser(self.scale.to(device), self.shift.to(device), self.memory_format)

    def __call__(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) uint8 to float32 of the same shape."""
        # Ordered as bytes, then widened: of one channel both orders are the same, and torch keeps its strides.
        pixels = images.contiguous(memory_format=self.memory_format).to(torch.float32)
        return pixels.mul_(self.scale).add_(self.shift)


def augmentation_of(recipe: Recipe, channels: int) -> Augmentation:
    """The resolved recipe's augmentation: its keys of the same names.

    Raises: RecipeError if it changes the colours of gray images.
    """
    wanted = Augmentation(**{field.name: getattr(recipe, field.name) for field in fields(Augmentation)})
    if wanted.needs_colour and channels == 1:
        name = wanted.needs_colour[0]
        raise RecipeError(f"recipe: {name} = {getattr(wanted, name)}, and the images are gray; set it to 0")
    return wanted


@dataclass(slots=True)
class Feed:
    """The training part as a function (epoch, step) -> batch."""

    pixels: Pixels
    normaliser: Normaliser
    augmentation: Augmentation
    seed: int
    steps: int  # an epoch
    is_balanced: bool = False
    size_of: Callable[[int], tuple[int, int]] | None = None  # epoch -> size of its images; None: as they are
    team: Team = ALONE
    _order: tuple[int, tuple[Tensor, Tensor]] | None = None  # of one epoch, kept, for it costs a sort

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Return images (B, C, H, W) float32 and targets: labels (B,), or of mixed images shares (B, K) float32.

        Of several ranks each gets its contiguous share of the same batch.

        The order depends on (seed, epoch) and each image's augmentation on (seed, epoch, image) alone, so a
        batch is the same whoever asks for it and whenever. A partner to mix with comes from the whole part and is
        augmented as it is in its own place.
        """
        rows, draws = self._epoch_order(epoch)
        within = self.team.share(batch_bounds(step, self.steps, len(rows)))
        return self.shown(rows[within], draws[within], epoch)

    def batches(self, epoch: int, steps: Sequence[int], workers: int) -> Generator[tuple[Tensor, Tensor]]:
        """`batch` of each step in turn; with workers, the coming ones are made ahead in so many threads.

        At most 2 batches a worker wait. A fault is raised at its step. Closed early, it ends its threads.
        """
        if not workers:
            return (self.batch(epoch, step) for step in steps)
        return map_ahead(lambda step: self.batch(epoch, step), steps, workers)

    def shown(self, rows: Tensor, draws: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Images and targets, as `batch` gives them, of any rows (B,); draws: as `_epoch_order` has them."""
        own, labels = self._input(rows, draws, epoch), self.pixels.labels[rows]
        if not self.augmentation.mixes:
            return self._sized(own, epoch), labels
        size = (own.shape[2], own.shape[3])
        mixed = mix(draws, epoch, self.seed, self.augmentation, len(self.pixels.labels), size)
        other = self._input(mixed.partner, mixed.partner, epoch)
        classes = int(self.pixels.labels.max()) + 1  # every class is in the training part
        targets = mixed.targets(labels, self.pixels.labels[mixed.partner], classes)
        return self._sized(mixed.inputs(own, other), epoch), targets

    def plain(self, most_images: int, batch_images: int = 256) -> Generator[tuple[Tensor, Tensor]]:
        """Some of the images with their labels, the same ones at every time, without augmentation, in batches."""
        n = len(self.pixels.labels)
        rows = torch.from_numpy(np.sort(epoch_order(self.seed, PLAIN, n)[:most_images]))
        steps = steps_per_epoch(len(rows), batch_images)
        for step in range(steps):
            some = rows[batch_bounds(step, steps, len(rows))]
            yield self.normaliser(self._taken(some)), self.pixels.labels[some]

    def _input(self, rows: Tensor, draws: Tensor, epoch: int) -> Tensor:
        return self.normaliser(augment(self._taken(rows), draws, epoch, self.seed, self.augmentation))

    def _taken(self, rows: Tensor) -> Tensor:
        """Copies of images (B, C, H, W) uint8, on the device: mapped ones are taken on the CPU, and then moved."""
        return self.pixels.images[rows].to(self.pixels.labels.device)

    def _sized(self, images: Tensor, epoch: int) -> Tensor:
        """Images (B, C, H, W) at the size of the epoch."""
        size = tuple(images.shape[2:]) if self.size_of is None else self.size_of(epoch)
        if size == tuple(images.shape[2:]):
            return images
        small = F.interpolate(images, size, mode="bilinear", antialias=True)
        return small.contiguous(memory_format=self.normaliser.memory_format)

    def _epoch_order(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Which images an epoch shows, and the number each draws chance by: its own, but another when it repeats."""
        kept = self._order  # read once: another thread may set it
        if kept is None or kept[0] != epoch:
            self._order = kept = (epoch, self._ordered(epoch))
        return kept[1]

    def _ordered(self, epoch: int) -> tuple[Tensor, Tensor]:
        n = len(self.pixels.labels)
        if not self.is_balanced:
            rows = torch.from_numpy(epoch_order(self.seed, epoch, n))
            return rows, rows
        images, repeats = balanced_order(self.seed, epoch, self.pixels.labels.cpu().numpy())
        return torch.from_numpy(images), torch.from_numpy(images + n * repeats)


def _shared(array: NDArray[np.uint8] | NDArray[np.int64]) -> Tensor:
    """A tensor over an array's memory, read-only ones and mapped files included: nothing here writes to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)
