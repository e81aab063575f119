"""Mixup and cutmix: an image with a share of another one, and the label shared likewise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from striate.data import random
from striate.data.augment.cover import rectangle
from striate.data.augment.place import Positions
from striate.data.augmentation import Augmentation


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """How the images of a batch are mixed: fixed by (seed, epoch, index) alone, whatever the batch.

    Shapes: partner (N,) int64, the other image's position in the training part; pasted (N, 1, H, W) uint8, 1 where
    the other image covers this one (cutmix); share (N,) float64, 0 to 1/2, of the other image.
    """

    partner: Tensor
    pasted: Tensor
    share: NDArray[np.float64]
    is_pasted: NDArray[np.bool_]

    def inputs(self, own: Tensor, other: Tensor) -> Tensor:
        """The network's input of both, mixed in float32.  Shapes: own, other and result (N, C, H, W) float32."""
        blended = np.where(self.is_pasted, 0.0, self.share).astype(np.float32)
        weight = torch.from_numpy(blended).to(own.device)[:, None, None, None] + self.pasted.to(own.device)
        return own + weight * (other - own)

    def targets(self, own: Tensor, other: Tensor, classes: int) -> Tensor:
        """Both labels by their shares.  Shapes: own, other (N,) int64; result (N, classes) float32, rows sum to 1."""
        share = torch.from_numpy(self.share.astype(np.float32)).to(own.device)[:, None]
        one_hot = torch.nn.functional.one_hot
        return one_hot(own, classes) * (1 - share) + one_hot(other, classes) * share


def mix(index: Tensor, epoch: int, seed: int, spec: Augmentation, images: int, size: tuple[int, int]) -> Mixed:
    """Draw a partner from the whole training part for each image, and how much of it is taken.

    The share is min(b, 1 - b), b of Beta(alpha, alpha): an image and its partner are drawn alike, so the pairs are
    as likely in either role, and the image's own label stays the larger. Cutmix pastes the rectangle of sides
    sqrt(share) H and sqrt(share) W around a random pixel, cut off at the border; its share is counted in pixels.

    index: (N,) int64, positions in the training part of ``images`` images; size: (height, width).
    """
    positions = index.cpu().numpy()
    partner = random.integers(images, seed, "mix partner", epoch, positions)
    is_pasted = np.full(len(positions), spec.cutmix > 0)
    if spec.mixup and spec.cutmix:
        is_pasted = random.integers(2, seed, "mix kind", epoch, positions) == 1
    blended = beta(spec.mixup, seed, "mixup", epoch, positions) if spec.mixup else np.zeros(len(positions))
    cut = beta(spec.cutmix, seed, "cutmix", epoch, positions) if spec.cutmix else np.zeros(len(positions))
    share = np.where(is_pasted, cut, blended)
    share = np.minimum(share, 1 - share)
    sides = np.array(size)
    count = np.rint(np.sqrt(np.where(is_pasted, share, 0.0))[:, None] * sides).astype(np.int64)  # (N, 2) px
    centre = random.integers(sides, seed, "cutmix place", epoch, positions[:, None], np.arange(2))
    pasted = rectangle(centre - count // 2, count, size)
    share = np.where(is_pasted, pasted.mean(axis=(1, 2, 3)), share)
    return Mixed(torch.from_numpy(partner), torch.from_numpy(pasted), share, is_pasted)


def beta(alpha: float, seed: int, stream: str, epoch: int, positions: Positions) -> NDArray[np.float64]:
    """Draws of Beta(alpha, alpha), a function of (seed, stream, epoch, position) each: Johnk's rejection.

    Of uniform u, v with u^(1/alpha) + v^(1/alpha) <= 1, the share u^(1/alpha) / (u^(1/alpha) + v^(1/alpha)) has this
    distribution; in logarithms, since the powers of a small alpha underflow. Accepted are 1 in 6 at alpha = 2.
    Source: Johnk 1964, Metrika 8, 5-15.
    """
    result = np.empty(len(positions))
    open_rows, attempt = np.arange(len(positions)), 0
    while len(open_rows):
        draws = 1 - random.uniform(seed, stream, epoch, positions[open_rows], attempt, np.arange(2)[:, None])  # (0, 1]
        u, v = np.log(draws) / alpha
        is_accepted = np.logaddexp(u, v) <= 0
        difference = np.clip(v - u, -700, 700)[is_accepted]  # exp stays finite
        result[open_rows[is_accepted]] = 1 / (1 + np.exp(difference))
        open_rows, attempt = open_rows[~is_accepted], attempt + 1
    return result
