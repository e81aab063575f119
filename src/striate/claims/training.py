"""A plain training run for experiments: small, seeded, able to diverge and to take one image a step.

The product's own loop refuses both, rightly: it stops at a loss that is not finite, and a batch of one image is no
batch for batch normalisation. Here these are what is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from striate.claims.instruments import SHAPE, labelled
from striate.data.fashion import CLASSES, FOLDER, read_fashion_mnist
from striate.data.names import encode
from striate.data.raw import Raw
from striate.graph import Network, initialise
from striate.notation import read
from striate.ops import Array

if TYPE_CHECKING:
    from torch import Tensor, nn

    from striate.graph.to_torch import NetworkModule

GROUPS = 4
EVALUATION_BATCH = 250
MOMENTUM = 0.9
Norm = Literal["batch", "group"]


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Normalised images (N, 1, 28, 28) float32 with labels (N,) int64, to train on and to test on."""

    train: Array
    train_labels: NDArray[np.int64]
    test: Array
    test_labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train: SGD with momentum 0.9, the rate falling linearly from `rate` to 0."""

    rate: float
    batch: int = 64
    epochs: int = 1
    norm: Norm = "batch"


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A network after training, its losses step by step, and its shares of right answers in eval mode."""

    network: Network
    losses: list[float]
    train_accuracy: float
    test_accuracy: float


EachStep = Callable[[int, Network], None]


def material(images: int, *, full: bool = False) -> Material:
    """`images` sample images to train on. The test part is the sample's 1,000; with `full` all 10,000 if installed."""
    train, train_labels = labelled(images, "train")
    test, test_labels = labelled(1000)
    if full and FOLDER.is_dir():
        whole = read_fashion_mnist().parts["test"]
        test, test_labels = _pixels(whole), encode(whole.class_names, CLASSES, "fashion-mnist")
    mean, deviation = train.mean(), train.std()
    first, second = (((x - mean) / deviation).astype(np.float32) for x in (train, test))
    return Material(first, train_labels, second, test_labels)


def seeds_text(count: int) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count} seed" if count == 1 else f"{count} seeds"


def fresh(notation: str, seed: int) -> Network:
    """The network of a notation with float32 starting weights."""
    return initialise(read(notation, SHAPE), seed)


def train(net: Network, data: Material, plan: Plan, seed: int, each_step: EachStep | None = None) -> Trained:
    """Train from the weights that `net` has; the order of images is a function of `seed`.

    each_step: called after every update with its number and the network of now.
    A run whose loss is not finite stops there and is tested as it is.
    """
    import torch

    from striate.graph.to_torch import to_module
    from striate.train.machine import quiet_machine

    module = to_module(net)
    _normalise_by(module, plan.norm)
    images, labels = torch.from_numpy(data.train), torch.from_numpy(data.train_labels)
    test, test_labels = torch.from_numpy(data.test), torch.from_numpy(data.test_labels)
    with quiet_machine(threads=1):  # networks as small as these lose time to a second thread
        losses = _descend(module, images, labels, plan, np.random.default_rng(seed), each_step)
        module.eval()
        train_accuracy, test_accuracy = _accuracy(module, images, labels), _accuracy(module, test, test_labels)
    return Trained(module.trained(), losses, train_accuracy, test_accuracy)


def _descend(
    module: NetworkModule,
    images: Tensor,
    labels: Tensor,
    plan: Plan,
    orders: np.random.Generator,
    each_step: EachStep | None,
) -> list[float]:
    """SGD until the plan is done or the loss is not finite; the losses."""
    from torch import from_numpy
    from torch.nn.functional import cross_entropy
    from torch.optim import SGD

    optimizer = SGD(module.parameters(), lr=plan.rate, momentum=MOMENTUM)
    steps = len(images) // plan.batch
    losses: list[float] = []
    for _ in range(plan.epochs):
        order = from_numpy(orders.permutation(len(images))[: steps * plan.batch])
        for rows in order.split(plan.batch):  # type: ignore[no-untyped-call]
            for group in optimizer.param_groups:
                group["lr"] = plan.rate * (1 - len(losses) / (steps * plan.epochs))
            loss = cross_entropy(module(images[rows]), labels[rows])
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                return losses
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if each_step:
                each_step(len(losses), module.trained())
    return losses


def _normalise_by(module: nn.Module, norm: Norm) -> None:
    """Leave batch normalisation as it is, or answer in its place with group normalisation of its gamma and beta."""
    from torch import nn
    from torch.nn.functional import group_norm

    def instead(layer: nn.BatchNorm2d, inputs: tuple[Tensor, ...], _: Tensor) -> Tensor:
        return group_norm(inputs[0], GROUPS, layer.weight, layer.bias, layer.eps)

    for part in module.modules():
        if norm == "group" and isinstance(part, nn.BatchNorm2d):
            part.register_forward_hook(instead)


def _accuracy(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    from torch import inference_mode

    right = 0
    with inference_mode():
        for start in range(0, len(labels), EVALUATION_BATCH):
            rows = slice(start, start + EVALUATION_BATCH)
            right += int((module(images[rows]).argmax(dim=1) == labels[rows]).sum())
    return right / len(labels)


def _pixels(raw: Raw) -> Array:
    pixels: Array = np.asarray(raw.pixels).astype(np.float64) / 255
    return pixels
