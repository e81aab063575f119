"""Network, data and recipe bound into the steps of a run, or the reason why they do not fit together."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from striate.data.dataset import Dataset
from striate.errors import RecipeError, ShapeError
from striate.train.balance import class_weights
from striate.train.feed import Feed, Normaliser, Pixels, augmentation_of, steps_per_epoch
from striate.train.machine import device_of, flags_kept, quiet_machine, require
from striate.train.norms import policy as norms
from striate.train.recipe import Recipe
from striate.train.step import Stepper
from striate.train.team.distributed import ALONE, Team
from striate.train.update.schedule import size_at
from striate.train.update.whiten import IMAGES as WHITENING_IMAGES
from striate.train.update.whiten import whiten


def prepare(module: nn.Module, recipe: Recipe) -> nn.Module:
    """Give a network the recipe's policy of normalisation and memory order, in place. Weights are not touched."""
    require(recipe)
    norms.set_up(module, recipe)
    memory_format = torch.channels_last if recipe.channels_last else torch.contiguous_format
    module.to(recipe.device, memory_format=memory_format)  # type: ignore[call-overload]  # torch's stubs lack this form
    return module


def stepper_for(module: nn.Module, dataset: Dataset, recipe: Recipe, team: Team = ALONE) -> Stepper:
    """The steps of a run on a prepared network, which ranks must begin with equal weights.

    Raises: ShapeError, RecipeError if network, data and recipe do not fit together.
    """
    steps = steps_per_epoch(len(dataset.train), int(recipe.batch_images))
    total_steps = max(1, round(float(recipe.epochs) * steps))
    _check_team(recipe, len(dataset.train) // steps, team)
    feed = Feed(
        Pixels.of(dataset.train).to(recipe.device, is_whole=recipe.pixels == "memory"),
        Normaliser.of(dataset.preprocessing, bool(recipe.channels_last)).to(recipe.device),
        augmentation_of(recipe, dataset.preprocessing.channels),
        recipe.seed,
        steps,
        recipe.sampling == "balanced",
        _sizes(dataset, recipe, -(-total_steps // steps)) if recipe.resize_from < 1 else None,
        team,
    )
    with quiet_machine(int(recipe.threads)):
        _check_output(module, dataset, feed)
        if recipe.whiten:
            whiten(module, (images for images, _ in feed.plain(WHITENING_IMAGES)))
    norms.spread(module, recipe, team)
    weights = None
    if recipe.class_weights == "balanced":
        weights = torch.from_numpy(class_weights(dataset.train.labels, len(dataset.classes))).float().to(recipe.device)
    return Stepper.of(module, feed, recipe, total_steps, weights)


def _check_team(recipe: Recipe, least_images: int, team: Team) -> None:
    """Raises: RecipeError unless every rank has something to do in the smallest step."""
    if team.size == 1:
        return
    if recipe.compile:
        raise RecipeError(f"recipe: compile = true works in one process, and these are {team.size}; use false")
    each = 1 if recipe.sync_batch_norm and not recipe.ghost_batch_images else 2  # one image has no statistics
    if least_images < each * team.size:
        raise RecipeError(
            f"recipe: batch_images = {recipe.batch_images} makes steps of {least_images} images, and {team.size} "
            f"processes need {each * team.size}; raise batch_images or start fewer processes"
        )


def dirac(module: nn.Module) -> None:
    """Let convolutions start by passing their input on, in place: filter i is 1 at the centre of channel i.

    Filters beyond the number of input channels keep their weights; so do grouped convolutions.
    Source: Jordan 2024, arXiv:2404.00498, sec. 3.3, after Zagoruyko & Komodakis 2017, arXiv:1706.00388.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d) and part.groups == 1:
            with torch.no_grad():
                nn.init.dirac_(part.weight[: part.in_channels])


def _sizes(dataset: Dataset, recipe: Recipe, epochs: int) -> Callable[[int], tuple[int, int]]:
    full = (dataset.preprocessing.height, dataset.preprocessing.width)
    return lambda epoch: size_at(epoch, epochs, recipe, full)


def _check_output(module: nn.Module, dataset: Dataset, feed: Feed) -> None:
    """Raises: ShapeError unless the network gives one number for each class, at the first epoch's size too."""
    classes, shape = len(dataset.classes), (2, *dataset.preprocessing.shape)
    with flags_kept(module), torch.inference_mode():
        got = tuple(module.eval()(torch.zeros(shape, device=device_of(module))).shape)
        if feed.size_of is not None:
            _check_size(module, (*shape[:2], *feed.size_of(0)))
    if got != (2, classes):
        raise ShapeError(
            f"network: output {got} for input {shape}; the data has {classes} classes, "
            f"so the network must end in {classes} numbers an image"
        )


def _check_size(module: nn.Module, shape: tuple[int, ...]) -> None:
    """Raises: ShapeError unless the network takes images of this shape too."""
    try:
        module(torch.zeros(shape, device=device_of(module)))
    except RuntimeError:
        raise ShapeError(
            f"network: takes no images of {shape[2]}x{shape[3]} px, where resize_from starts; end its maps in GAP, "
            "or set resize_from to 1"
        ) from None
