"""Run a network over a part once; every score comes from what it answered."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from striate.data.dataset import Part
from striate.data.preprocess import Preprocessing
from striate.errors import ShapeError
from striate.train.evaluation.answers import Answers
from striate.train.evaluation.metrics import Evaluation
from striate.train.feed import Normaliser, Pixels
from striate.train.machine import device_of, flags_kept
from striate.train.team.distributed import ALONE, Team


def evaluate(
    module: nn.Module,
    part: Part,
    preprocessing: Preprocessing,
    batch_images: int = 256,
    *,
    channels_last: bool = True,
) -> Evaluation:
    """The scores of `answers`.  Raises: as it does; DivergedError if the loss is not finite."""
    return answers(module, part, preprocessing, batch_images, channels_last=channels_last).evaluation()


def answers(
    module: nn.Module,
    part: Part,
    preprocessing: Preprocessing,
    batch_images: int = 256,
    *,
    channels_last: bool = True,
    team: Team = ALONE,
) -> Answers:
    """Run the network in eval mode over a part; its training flags are as before afterwards.

    Of several ranks each runs some of the batches, which are the same for any number of ranks, and has all answers.
    Shapes: the module maps (N, C, H, W) float32 to logits (N, K), K at least the number of labels.
    Raises: ShapeError if it does not.
    """
    device = device_of(module)
    pixels, normaliser = Pixels.of(part), Normaliser.of(preprocessing, channels_last).to(device)
    batches = []
    taken = team.share(slice(0, -(-len(part) // batch_images)))
    with flags_kept(module), torch.inference_mode():
        module.eval()
        for batch in range(taken.start, taken.stop):
            rows = slice(batch * batch_images, (batch + 1) * batch_images)
            logits = module(normaliser(pixels.images[rows].to(device)))  # (B, K)
            labels = pixels.labels[rows]
            _check_shape(tuple(logits.shape), len(labels), int(labels.max()) + 1)
            batches.append(logits.to(torch.float64).cpu())
    return Answers(_of_all(batches, taken.start * batch_images, len(part), team), part.labels)


def _of_all(own: list[Tensor], first: int, images: int, team: Team) -> NDArray[np.float64]:
    """The ranks' logits together (N, K): each row is one rank's, and 0 in all others. first: this rank's first row."""
    logits = torch.cat(own) if own else torch.empty(0, 0, dtype=torch.float64)
    if team.size > 1:
        classes = int(team.gather(torch.tensor([logits.shape[1]])).max())
        whole = torch.zeros(images, classes, dtype=torch.float64)
        whole[first : first + len(logits), : logits.shape[1]] = logits
        logits = team.sum(whole)
    together: NDArray[np.float64] = logits.numpy()
    return together


def _check_shape(shape: tuple[int, ...], images: int, least: int) -> None:
    if len(shape) != 2 or shape[0] != images or shape[1] < least:
        raise ShapeError(
            f"network: output {shape} for {images} images; expected ({images}, K) with K at least {least} "
            "(the labels go that far); end the network in one number for each class"
        )
