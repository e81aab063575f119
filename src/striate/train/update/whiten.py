"""The whitening stem: a first convolution, computed from the images and frozen, whose outputs are uncorrelated.

Source: the trainers of Page 2019 (myrtle.ai, "How to train your ResNet") and Jordan 2024, arXiv:2404.00498, sec. 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.errors import RecipeError

EPS = 5e-4
"""Added to each eigenvalue, so that directions without width do not blow up: the value of Jordan's trainer."""
IMAGES = 5000  # whose patches are looked at


def whitening_filters(images: Iterable[Tensor], kernel: tuple[int, int]) -> Tensor:
    """Return filters e_i / sqrt(l_i + eps) for the eigenvectors e_i of patches' second moment, l_i falling.

    M = mean of p p^T over all patches p of the kernel's size;  M e_i = l_i e_i. In float64; of each e_i the largest
    entry is positive, so that the result does not depend on the solver's choice of sign.

    Shapes: images: batches (N, C, H, W) on the network's input; result (C Kh Kw, C, Kh, Kw) float64.
    """
    moment, patches = torch.zeros((), dtype=torch.float64), 0
    for batch in images:
        columns = F.unfold(batch.double(), kernel).transpose(0, 1).flatten(1)  # (C Kh Kw, N positions)
        moment = moment + columns @ columns.T
        patches += columns.shape[1]
        channels = batch.shape[1]
    values, vectors = torch.linalg.eigh(moment / patches)  # rising
    vectors = vectors.flip(1).T  # (filters, C Kh Kw), one a row
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    filters = vectors * largest.sign() / (values.flip(0)[:, None] + EPS).sqrt()
    result: Tensor = filters.view(-1, channels, *kernel)
    return result


def whiten(module: nn.Module, images: Iterable[Tensor]) -> None:
    """Give the first convolution whitening filters and their negatives, the strongest first, and freeze its weight.

    A bias stays trainable. images: batches (N, C, H, W) on the network's input.
    Raises: RecipeError if the network's first convolution cannot hold them.
    """
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    if first is None:
        raise RecipeError("recipe: whiten = true, and the network has no convolution; set it to false")
    most = 2 * first.weight[0].numel()
    if first.groups != 1 or first.dilation != (1, 1) or first.out_channels % 2 or first.out_channels > most:
        kernel = "x".join(str(size) for size in first.kernel_size)
        raise RecipeError(
            f"recipe: whiten = true needs a first convolution of an even number of filters, at most {most} of "
            f"{kernel} on {first.in_channels} channels, without groups and dilation; it has {first.out_channels}"
        )
    filters = whitening_filters(images, (first.kernel_size[0], first.kernel_size[1]))[: first.out_channels // 2]
    with torch.no_grad():
        first.weight.copy_(torch.cat([filters, -filters]))
    first.weight.requires_grad_(False)
