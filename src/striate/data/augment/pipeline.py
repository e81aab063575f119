"""The changes of one image in their order, batched."""

from __future__ import annotations

import torch
from torch import Tensor

from striate.data.augment.colour import jitter
from striate.data.augment.cover import cutout, erase
from striate.data.augment.place import crop, flip_and_shift
from striate.data.augment.randaugment import randaugment
from striate.data.augmentation import Augmentation
from striate.errors import DataError

RGB = 3


def augment(images: Tensor, index: Tensor, epoch: int, seed: int, spec: Augmentation) -> Tensor:
    """Return the images changed as ``spec`` says, all but mixing; the input stays as it is.

    What happens to an image is a function of (seed, epoch, its index) and nothing else: not of the batch, the
    order, the device or the number of workers.

    Shapes: images (N, C, H, W) uint8; index (N,) int64, each image's position in the training part; result
    (N, C, H, W) uint8 on the images' device.
    Raises: DataError if the tensors are of another type or do not fit each other, or gray is to change its colour.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or index.shape != images.shape[:1]:
        raise DataError(
            f"augment: images {images.dtype} {tuple(images.shape)}, index {tuple(index.shape)}; "
            "expected torch.uint8 (N, C, H, W) and (N,)"
        )
    if spec.needs_colour and images.shape[1] != RGB:
        raise DataError(f"augment: {spec.needs_colour[0]} changes colours, the images are gray; set it to 0")
    positions = index.cpu().numpy()
    if spec.crop_area < 1:
        images = crop(images, positions, epoch, seed, spec)
    if spec.flip or spec.shift_px:
        images = flip_and_shift(images, positions, epoch, seed, spec)
    if spec.brightness or spec.contrast or spec.saturation or spec.hue:
        images = jitter(images, positions, epoch, seed, spec)
    if spec.randaugment_ops:
        images = randaugment(images, positions, epoch, seed, spec)
    if spec.cutout_px:
        images = cutout(images, positions, epoch, seed, spec.cutout_px)
    if spec.erase_share:
        images = erase(images, positions, epoch, seed, spec.erase_share)
    return images
