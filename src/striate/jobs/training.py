"""Training jobs: from a recipe to a finished run folder, and from a run folder back to its network."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from striate.choice import Choice
from striate.data import Dataset, load
from striate.data.memory import free_bytes
from striate.errors import CaptureError, RecipeError, RunError, StriateError, UsageError
from striate.graph import Network, initialise
from striate.jobs.fitting import fitting_batch
from striate.jobs.spelled import CALLABLE, call, parse_shape, spelled_network
from striate.report import draw_confusion, draw_curves
from striate.train.binding import prepare as prepare_module
from striate.train.binding import stepper_for
from striate.train.find_rate import RateCurve, find_rate
from striate.train.loop import build
from striate.train.loop import resume as resume_loop
from striate.train.loop import train as train_loop
from striate.train.loop import trained as trained_module
from striate.train.machine import seeded
from striate.train.norms.regroup import micro_batch_hint, regroup, with_group_norm
from striate.train.observer import Observer
from striate.train.recipe import Recipe
from striate.train.resolve import resolve
from striate.train.result import Result
from striate.train.run.state import Run
from striate.train.team.distributed import ALONE, Team, cores_of_one
from striate.train.tune import PROBED, tune

if TYPE_CHECKING:
    from torch import nn

SMALL_PX = 40  # up to this side a network without a strided stem is both better and affordable
SMALL_NET = "32C3-BN-R-32C3-MP2-BN-R-64C3-BN-R-64C3-MP2-BN-R-128C3-BN-R-GAP"
LARGE_NET = "resnet18"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that could start: nothing in it is "auto" any more, and `choices` says what was decided and why.

    asked: the recipe as it was given.
    """

    recipe: Recipe
    dataset: Dataset
    choices: tuple[Choice, ...]
    asked: Recipe


def prepare(recipe: Recipe) -> Prepared:
    """Read the data that `recipe` names and decide everything that it leaves open.

    Raises: DataError, RecipeError; UsageError where the input's shape is none of an image.
    """
    shape = None if recipe.input == "auto" else parse_shape(recipe.input)
    if shape is not None and len(shape) != 3:
        raise UsageError(f"input {recipe.input!r} has {len(shape)} axes; images have three, as in 3x64x64")
    dataset, choices = load(
        recipe.data,
        image_size=None if shape is None else (shape[1], shape[2]),
        channels=None if shape is None else shape[0],
        fit=recipe.fit,
        validation_share=recipe.validation_share,
        seed=recipe.seed,
        on_bad=recipe.on_bad,
        pixels=recipe.pixels,
        pixels_folder=recipe.pixels_folder,
    )
    chosen = {choice.name: choice.value for choice in choices if choice.name == "pixels"}
    return prepare_for(dataset, recipe.changed(**chosen), choices)


def prepare_for(dataset: Dataset, recipe: Recipe, choices: tuple[Choice, ...] = ()) -> Prepared:
    """As `prepare`, for data that are in memory already."""
    size = dataset.preprocessing.height, dataset.preprocessing.width
    if recipe.pixels == "disk" and not isinstance(dataset.train.images, np.memmap):
        raise RecipeError("recipe: pixels = 'disk', and these images are arrays in memory already; use 'auto'")
    if not recipe.net:
        net = _default_net(min(size), len(dataset.classes))
        recipe, choices = recipe.changed(net=net.value), (*choices, net)
    resolved, more = _resolved(recipe, dataset)
    network = _network_of(resolved, dataset)
    if network and recipe.batch_images == "auto" and (smaller := _fitting(network, resolved)):
        resolved, more = _resolved(recipe.changed(batch_images=smaller.value), dataset)
        more = (*more, smaller)
    if network and recipe.norm == "network" and (hint := micro_batch_hint(network, int(resolved.batch_images))):
        more = (*more, hint)
    return Prepared(resolved, dataset, (*choices, *more), recipe)


def tuned(prepared: Prepared) -> Prepared:
    """The same run with what only measuring can tell: threads, memory order, compiling, the epochs of a time.

    Takes a step or two of a short run, and a few seconds of a long one.  Raises: RecipeError.
    """
    recipe, asked = prepared.recipe, prepared.asked
    if not recipe.time_seconds and not set(PROBED) & set(asked.unresolved()):
        return prepared
    found = tune(build(build_module, recipe, prepared.dataset.classes), prepared.dataset, recipe, asked)
    values = {choice.name: choice.value for choice in found}
    if "epochs" in values and asked.average_decay == "auto":  # it depends on them
        values["average_decay"] = "auto"
    resolved, more = _resolved(recipe.changed(**values), prepared.dataset)
    kept = [choice for choice in prepared.choices if choice.name not in values]
    return Prepared(resolved, prepared.dataset, (*kept, *more, *found), asked)


def prepare_together(recipe: Recipe, team: Team) -> Prepared:
    """As `prepare` and `tuned` alone; of several ranks each reads the data, and rank 0 decides what is open.

    What only measuring can tell is left at its usual value then.
    Raises: as `prepare`; RunError where ranks read different data.
    """
    if team.size == 1:
        return tuned(prepare(recipe))
    if recipe.time_seconds:
        raise RecipeError(f"recipe: time_seconds is planned by one process, and these are {team.size}; give epochs")
    prepared = team.together(lambda: prepare(recipe))
    decided = Recipe(**json.loads(team.from_first(prepared.recipe.to_json().encode)))
    first = team.from_first(prepared.dataset.fingerprint.encode).decode()
    team.together(lambda: _require_same(prepared.dataset, first))
    return replace(prepared, recipe=decided)


def find_rates(recipe: Recipe, steps: int, tell: Callable[[int, float], None]) -> tuple[Prepared, RateCurve]:
    """Test learning rates on a copy of the network that `recipe` would train; nothing is written.

    Raises: as `prepare`; RunError if the loss fell at no rate.
    """
    prepared = prepare(recipe)
    quiet = prepared.recipe.changed(averaging="none")
    module = prepare_module(build(build_module, quiet, prepared.dataset.classes), quiet)
    return prepared, find_rate(stepper_for(module, prepared.dataset, quiet), steps, tell)


def run(prepared: Prepared, out: Path, observer: Observer, team: Team = ALONE) -> Result:
    """Train into the new folder `out` and draw its pictures; of several ranks, rank 0 writes and draws.

    Raises: RunError where `out` holds a run already; NotationError, ShapeError where the network does not fit.
    """
    module = build(build_module, prepared.recipe, prepared.dataset.classes)
    folder = Run(out, prepared.choices, team.size)
    result = train_loop(module, prepared.dataset, prepared.recipe, folder, observer, team)
    if team.leads:
        draw(result, prepared.dataset.classes, out)
    return result


def resume(out: Path, observer: Observer, team: Team = ALONE) -> Result:
    """Continue the unfinished run in `out` to the weights it would have had.  Raises: RunError."""
    result = resume_loop(out, build_module, lambda recipe: prepare(recipe).dataset, observer, team)
    if team.leads:
        draw(result, Run(out).classes(), out)
    return result


def build_module(recipe: Recipe, classes: tuple[str, ...]) -> nn.Module:
    """The network of a resolved recipe as a torch module with starting weights from the recipe's seed."""
    grouped = recipe.norm == "group"
    if CALLABLE.fullmatch(recipe.net):
        module = _torch_module(recipe)
        return regroup(module) if grouped else module
    from striate.graph.to_torch import to_module

    network = spelled_network(recipe.net, parse_shape(recipe.input), len(classes))
    network = with_group_norm(network) if grouped else network
    return to_module(network if network.weights else initialise(network, recipe.seed))


def trained(folder: Path) -> nn.Module:
    """The module of a finished run with the weights it kept, in eval mode.  Raises: RunError."""
    return trained_module(folder, build_module)


def trained_network(folder: Path) -> Network:
    """The network of a finished run with the weights it kept.  Raises: RunError."""
    from striate.graph.from_torch import capture
    from striate.graph.to_torch import NetworkModule

    recipe = Run(folder).recipe()
    module = trained(folder)
    if isinstance(module, NetworkModule):  # our own module knows the network it was made from
        return module.trained()
    return capture(module, parse_shape(recipe.input), name=recipe.net)


def draw(result: Result, classes: tuple[str, ...], out: Path) -> None:
    """Write curves.png and confusion.png into a run folder."""
    best = result.headline
    title = f"{'test' if result.test else 'validation'}: {best.right:,} of {best.images:,} right"
    draw_curves(result.history, result.kept_epoch, out / "curves.png")
    draw_confusion(best.confusion, classes, title, out / "confusion.png")


def _require_same(dataset: Dataset, fingerprint: str) -> None:
    """Raises: RunError unless the dataset is the one that rank 0 reads."""
    if dataset.fingerprint != fingerprint:
        raise RunError(f"{dataset.source}: holds other images here than for rank 0; give all processes the same data")


def _resolved(recipe: Recipe, dataset: Dataset) -> tuple[Recipe, tuple[Choice, ...]]:
    return resolve(
        recipe,
        images=len(dataset.train),
        channels=dataset.preprocessing.channels,
        size=(dataset.preprocessing.height, dataset.preprocessing.width),
        classes=dataset.classes,
        cores=cores_of_one(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    )


def _network_of(recipe: Recipe, dataset: Dataset) -> Network | None:
    """The network to be trained; None where it cannot be read, which training itself will say if it matters."""
    try:
        with seeded(recipe.seed):  # a torch module draws its starting weights
            return spelled_network(recipe.net, dataset.preprocessing.shape, len(dataset.classes))
    except StriateError:
        return None


def _fitting(network: Network, recipe: Recipe) -> Choice | None:
    """A smaller batch where memory demands it."""
    free = torch.cuda.mem_get_info()[0] if recipe.device == "cuda" else free_bytes()
    return None if free is None else fitting_batch(network, int(recipe.batch_images), free, recipe.memory_share)


def _torch_module(recipe: Recipe) -> nn.Module:
    """What the callable makes, once it is clear that it can be shipped.  Raises: CaptureError."""
    from torch import nn

    from striate.graph.from_torch import capture

    module = call(recipe.net)
    if not isinstance(module, nn.Module):
        raise CaptureError(f"{recipe.net}: returned a {type(module).__name__}; it must return a torch.nn.Module")
    capture(module, parse_shape(recipe.input), name=recipe.net, with_weights=False)
    return module


def _default_net(side_px: int, classes: int) -> Choice:
    if side_px <= SMALL_PX:
        return Choice("net", f"{SMALL_NET}-{classes}", f"a small plain network for images of up to {SMALL_PX} px")
    return Choice("net", LARGE_NET, f"for images above {SMALL_PX} px; name another with --net")
