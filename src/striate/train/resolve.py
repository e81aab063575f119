"""Automatic choices: each "auto" of a recipe becomes a value with a reason, and can be overridden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from striate.choice import Choice
from striate.data.mirror import is_mirror_safe
from striate.errors import RecipeError
from striate.train.recipe import Recipe

IMAGES_SHOWN = 100_000  # of a whole run: a minute or two of small images on two CPU cores
EPOCHS_LEAST, EPOCHS_MOST = 10, 100
BATCH_MOST = 128  # a CPU is busy from here on, and more steps an epoch need fewer epochs
STEPS_AN_EPOCH = 50  # a small set takes smaller batches rather than fewer updates than this
LR_AT_128 = 0.1  # for SGD with momentum 0.9 and batches of 128; He et al. 2016, arXiv:1512.03385, sec. 4.2
AVERAGED_SHARE = 0.02  # of the run: how far an average of the weights reaches back
PRECISE_OFTEN = 10  # training images for each that statistics rest on, from which they are made anew each epoch
WORKERS_BESIDE_GPU = 2
SHIFT_SHARE = 14  # a fourteenth of the shorter side: 2 px of 28, 16 px of 224


@dataclass(frozen=True, slots=True)
class Facts:
    """What a choice may depend on: the recipe so far, the training part's size and shape, the classes, the machine."""

    recipe: Recipe
    images: int
    channels: int
    size: tuple[int, int]
    classes: tuple[str, ...]
    cores: int
    gpu: str


def resolve(
    recipe: Recipe,
    *,
    images: int,
    channels: int,
    size: tuple[int, int],
    classes: tuple[str, ...],
    cores: int,
    gpu: str = "",
) -> tuple[Recipe, tuple[Choice, ...]]:
    """Replace each "auto" of the recipe and say why.

    images: of the training part; size: (height, width); classes: their names; cores: CPU cores this process may use;
    gpu: name of the GPU it may use, "" without one.
    Returns the recipe without any "auto", and one Choice for each value that was not given and counts.
    Raises: RecipeError if the data cannot be trained on with this recipe.
    """
    if images < 2:
        raise RecipeError(f"data: {images} image(s) to train on; BatchNorm needs at least 2, add images")
    if len(classes) < 2:
        raise RecipeError(f"data: {len(classes)} class(es); a classifier needs at least 2, add a class")
    choices: list[Choice] = []
    for name in recipe.unresolved():  # in the recipe's order: the rate sees the batch chosen before it
        value, reason = CHOOSERS[name](Facts(recipe, images, channels, size, classes, cores, gpu))
        recipe = recipe.changed(**{name: value})
        if reason:  # what nobody reads is not worth a line
            choices.append(Choice(name, value, reason))
    return recipe, tuple(choices)


Chooser = Callable[[Facts], tuple[str | int | float | bool, str]]


def _input(facts: Facts) -> tuple[str, str]:
    return f"{facts.channels}x{facts.size[0]}x{facts.size[1]}", "the shape the data has"


def _epochs(facts: Facts) -> tuple[int, str]:
    epochs = min(max(-(-IMAGES_SHOWN // facts.images), EPOCHS_LEAST), EPOCHS_MOST)
    return epochs, f"about {IMAGES_SHOWN:,} images shown, but {EPOCHS_LEAST} to {EPOCHS_MOST} epochs"


def _batch_images(facts: Facts) -> tuple[int, str]:
    batch = BATCH_MOST
    while batch > 8 and facts.images < batch * STEPS_AN_EPOCH:
        batch //= 2
    if batch == BATCH_MOST:
        return batch, "keeps a CPU busy; larger batches only mean fewer updates"
    return batch, f"at least {STEPS_AN_EPOCH} updates an epoch from {facts.images:,} images, but 8 a batch"


def _peak_lr(facts: Facts) -> tuple[float, str]:
    batch = int(facts.recipe.batch_images)  # chosen before: it stands first in the recipe
    return LR_AT_128 * batch / BATCH_MOST, f"{LR_AT_128} a batch of {BATCH_MOST}, in proportion to the batch"


def _flip(facts: Facts) -> tuple[bool, str]:
    return is_mirror_safe(facts.classes)


def _shift_px(facts: Facts) -> tuple[int, str]:
    return max(1, min(facts.size) // SHIFT_SHARE), f"1/{SHIFT_SHARE} of the shorter side, at least 1"


def _device(facts: Facts) -> tuple[str, str]:
    return ("cuda", f"{facts.gpu} is there") if facts.gpu else ("cpu", "")


def _pixels(_: Facts) -> tuple[str, str]:
    return "memory", ""  # loading has not chosen the disk


def _loader_workers(facts: Facts) -> tuple[int, str]:
    if facts.recipe.device == "cuda":
        return WORKERS_BESIDE_GPU, "they prepare the coming batches while the GPU computes"
    return 0, "on a CPU they would take the cores that the step computes on"


def _channels_last(_: Facts) -> tuple[bool, str]:
    return True, "the order in which convolutions are usually faster"


def _compile(_: Facts) -> tuple[bool, str]:
    return False, ""


def _threads(facts: Facts) -> tuple[int, str]:
    return facts.cores, "one for each CPU core this process may use"


def _average_decay(facts: Facts) -> tuple[float, str]:
    if facts.recipe.averaging == "none":
        return 0.0, ""
    if facts.recipe.averaging == "lookahead":
        return 0.95, "as in airbench94"
    steps = float(facts.recipe.epochs) * facts.images / int(facts.recipe.batch_images)
    decay = round(1 - 1 / min(max(AVERAGED_SHARE * steps, 10), 10_000), 5)
    return decay, f"the average reaches over about 1/{round(1 / AVERAGED_SHARE)} of the run"


def _bn_precise(facts: Facts) -> tuple[str, str]:
    if facts.recipe.averaging != "none":
        return "always", "averaged weights have no statistics of their own"
    if facts.images >= PRECISE_OFTEN * facts.recipe.bn_precise_images:
        return "always", "what is chosen is what is shipped, for a few hundredths of an epoch's time"
    return "end", "the shipped statistics are those of training images, not of the last batches"


CHOOSERS: dict[str, Chooser] = {
    "input": _input,
    "pixels": _pixels,
    "epochs": _epochs,
    "batch_images": _batch_images,
    "peak_lr": _peak_lr,
    "average_decay": _average_decay,
    "flip": _flip,
    "shift_px": _shift_px,
    "bn_precise": _bn_precise,
    "device": _device,
    "loader_workers": _loader_workers,
    "channels_last": _channels_last,
    "compile": _compile,
    "threads": _threads,
}
