"""Batched augmentation of uint8 tensors in memory: what happens to an image is f(seed, epoch, image), no more."""

from striate.data.augment.mix import Mixed as Mixed
from striate.data.augment.mix import mix as mix
from striate.data.augment.pipeline import augment as augment
