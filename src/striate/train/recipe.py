"""The recipe: every number that decides a training run, in one frozen value that files and commands share."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from striate.data.augmentation import Fill
from striate.errors import RecipeError

Auto = Literal["auto"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Between:
    """The range of one number, both ends included; it checks, and it words the error."""

    low: float
    high: float

    def __call__(self, value: T) -> T:
        """Return the value. Raises: ValueError if it is a number out of range, or a list with one."""
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, int | float) and not self.low <= number <= self.high for number in numbers):
            raise ValueError(str(self))
        return value

    def __str__(self) -> str:
        return f"{self.low:,} to {self.high:,}"


def between(low: float, high: float) -> AfterValidator:
    """A pydantic check that a number lies in low..high."""
    return AfterValidator(Between(low, high))


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Numbers = Annotated[tuple[float, ...], BeforeValidator(_as_tuple)]  # files have lists; a frozen value has tuples


class Recipe(BaseModel):
    """All that decides a run. "auto" is replaced by `resolve.resolve`; a value given here always wins.

    Raises: RecipeError for an unknown key or a value out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    net: str = Field("", description="the network: notation, family name or package.module:callable")
    data: str = Field("", description="the data: a folder, a file or the name of a built-in set")
    input: str = Field("auto", description="image shape CxHxW the network sees, such as 3x64x96")
    fit: Literal["crop", "pad", "stretch"] = Field("crop", description="how another aspect ratio is fitted")
    on_bad: Literal["fail", "skip"] = Field("fail", description="an unreadable image stops the run, or is listed")
    pixels: Literal["auto", "memory", "disk"] = Field(
        "auto", description="decoded images in memory, or mapped from files, for more of them than memory holds"
    )
    pixels_folder: str = Field("runs/pixels", description="where those files are, for later runs too")
    validation_share: Annotated[float, between(0.01, 0.5)] = Field(
        0.1, description="share of the training images set aside to choose the best epoch"
    )
    target_accuracy: Annotated[float, between(0.5, 1)] = Field(
        0.95, description="share of the answers given that shall be right; less probable ones are abstentions"
    )
    seed: Annotated[int, between(0, 2**32 - 1)] = Field(0, description="decides order, augmentation, weights")
    epochs: Annotated[float | Auto, between(0.01, 100_000)] = Field(
        "auto", description="passes over the training part; the last may be a share of one"
    )
    keep: Literal["best", "last"] = Field(
        "best", description="weights of the epoch that is best on validation; or the last, where the rate falls to 0"
    )
    patience: Annotated[int, between(0, 100_000)] = Field(
        0, description="epochs without a better validation after which the run stops; 0 is never"
    )
    batch_images: Annotated[int | Auto, between(2, 65_536)] = Field("auto", description="most images a step")
    peak_lr: Annotated[float | Auto, between(1e-8, 100)] = Field("auto", description="learning rate after warm-up")
    optimizer: Literal["sgd", "muon"] = Field("sgd", description="muon moves convolution filters, sgd all else")
    momentum: Annotated[float, between(0, 0.9999)] = Field(0.9, description="Nesterov momentum; 0 is plain SGD")
    muon_lr: Annotated[float, between(1e-8, 100)] = Field(0.24, description="muon's learning rate after warm-up")
    muon_momentum: Annotated[float, between(0, 0.9999)] = Field(0.6, description="muon's Nesterov momentum")
    muon_norm: Literal["fixed", "free"] = Field(
        "fixed", description="filters keep the norm sqrt(out), for networks that normalise; or are free and decay"
    )
    norm_lr_factor: Annotated[float, between(1e-3, 1000)] = Field(
        1.0, description="rate of normalisation's scales and shifts, in multiples of the schedule's"
    )
    dense_lr_factor: Annotated[float, between(1e-3, 1000)] = Field(
        1.0, description="rate of dense layers' weights, in multiples of the schedule's"
    )
    weight_decay: Annotated[float, between(0, 1)] = Field(
        5e-4, description="L2 pull on weights; never on biases and normalisation"
    )
    label_smoothing: Annotated[float, between(0, 0.9)] = Field(
        0.1, description="share of the target spread evenly over the classes"
    )
    warmup_share: Annotated[float, between(0, 0.9)] = Field(
        0.2, description="share of the steps in which the rate rises"
    )
    decay: Literal["linear", "cosine", "polynomial", "step", "constant"] = Field(
        "linear", description="how the rate falls after its peak"
    )
    lr_start: Annotated[float, between(0, 1)] = Field(0.0, description="where warm-up starts, as a share of the peak")
    lr_floor: Annotated[float, between(0, 1)] = Field(0.0, description="where the fall ends, as a share of the peak")
    decay_power: Annotated[float, between(0.1, 10)] = Field(2.0, description="exponent of the polynomial decay")
    decay_at: Annotated[Numbers, between(0, 1)] = Field(
        (0.5, 0.75), description="shares of the run after which the step decay lowers the rate"
    )
    decay_factor: Annotated[float, between(1e-4, 1)] = Field(0.1, description="by how much the step decay lowers it")
    clip_norm: Annotated[float, between(0, 1e6)] = Field(
        0.0, description="largest norm of all gradients together, above which they are scaled down; 0 is none"
    )
    recoveries: Annotated[int, between(0, 100)] = Field(
        2, description="how often a diverging epoch may begin anew at a lower rate"
    )
    recovery_factor: Annotated[float, between(1e-6, 0.99)] = Field(0.5, description="the lower rate, as a share")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="weigh losses so that each class counts alike, whatever its size"
    )
    sampling: Literal["all", "balanced"] = Field(
        "all", description="an epoch shows each image once, or each class equally often"
    )
    resize_from: Annotated[float, between(0.1, 1)] = Field(
        1.0, description="share of the image's sides at which training starts, growing to all of it"
    )
    resize_until: Annotated[float, between(0, 1)] = Field(0.75, description="share of the run after which it is all")
    init: Literal["network", "dirac"] = Field(
        "network", description="starting weights: the network's, or filters that pass their input on"
    )
    whiten: bool = Field(False, description="first convolution from the images' patches, frozen")
    averaging: Literal["none", "ema", "lookahead"] = Field(
        "none", description="evaluate averaged weights: ema beside the run, lookahead fed back into it"
    )
    average_decay: Annotated[float | Auto, between(0, 0.99999)] = Field(
        "auto", description="share of the average kept at a step"
    )
    average_every: Annotated[int, between(1, 1000)] = Field(5, description="steps between updates of the average")
    crop_area: Annotated[float, between(0.01, 1)] = Field(
        1.0, description="least share of the image's area in a random crop, scaled back; 1 is none"
    )
    crop_ratio: Annotated[float, between(1, 10)] = Field(
        4 / 3, description="largest factor on width / height of a random crop"
    )
    flip: bool | Auto = Field("auto", description="mirror each image left to right in every second epoch")
    shift_px: Annotated[int | Auto, between(0, 1024)] = Field(
        "auto", description="largest random shift along each axis"
    )
    shift_fill: Fill = Field("zeros", description="what a shift brings in: black, or a mirror image")
    brightness: Annotated[float, between(0, 1)] = Field(0.0, description="reach of a random factor on brightness")
    contrast: Annotated[float, between(0, 1)] = Field(0.0, description="reach of a random factor on contrast")
    saturation: Annotated[float, between(0, 1)] = Field(0.0, description="reach of a random factor on saturation")
    hue: Annotated[float, between(0, 0.5)] = Field(0.0, description="reach of a random turn of hue, in whole turns")
    randaugment_ops: Annotated[int, between(0, 16)] = Field(0, description="RandAugment: operations an image")
    randaugment_level: Annotated[int, between(0, 30)] = Field(9, description="RandAugment: magnitude, 30 is full")
    cutout_px: Annotated[int, between(0, 1024)] = Field(0, description="side of a random blank square; 0 is none")
    erase_share: Annotated[float, between(0, 1)] = Field(
        0.0, description="share of the images with a rectangle of random pixels"
    )
    mixup: Annotated[float, between(0, 2)] = Field(0.0, description="alpha of the share of a blended image; 0 is none")
    cutmix: Annotated[float, between(0, 2)] = Field(0.0, description="alpha of the share of a pasted image; 0 is none")
    bn_momentum: Annotated[float | Literal["network"], between(0, 1)] = Field(
        "network", description="share of the new batch in BatchNorm's running statistics"
    )
    bn_eps: Annotated[float | Literal["network"], between(1e-12, 1)] = Field(
        "network", description="added to BatchNorm's variance"
    )
    norm: Literal["network", "group"] = Field(
        "network", description="the network's normalisation, or group norm in the place of each BatchNorm"
    )
    bn_frozen: bool = Field(False, description="BatchNorm's scale, shift and statistics stay as they are")
    bn_scale: Literal["learnt", "fixed"] = Field("learnt", description="whether BatchNorm's scale is trained")
    ghost_batch_images: Annotated[int, between(0, 65_536)] = Field(
        0, description="BatchNorm in training sees parts of the batch of at most this size; 0 is the whole"
    )
    sync_batch_norm: bool = Field(
        True, description="in several processes BatchNorm sees the whole batch, or each process's share of it"
    )
    bn_precise: Literal["auto", "always", "end", "off"] = Field(
        "auto", description="BatchNorm's statistics from training images before each evaluation, or once at the end"
    )
    bn_precise_images: Annotated[int, between(2, 1_000_000)] = Field(1024, description="how many images they rest on")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the network is trained")
    loader_workers: Annotated[int | Auto, between(0, 64)] = Field(
        "auto", description="threads that prepare the coming batches while a step computes; 0 is none"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of products in training; bfloat16 only where the hardware has it"
    )
    channels_last: bool | Auto = Field("auto", description="memory order N, H, W, C for the convolutions")
    compile: bool | Auto = Field("auto", description="let torch.compile write the network's steps; needs a compiler")
    time_seconds: Annotated[float, between(0, 1e7)] = Field(
        0.0, description="plan epochs for this much time, measured once before the run; 0 is no plan"
    )
    memory_share: Annotated[float, between(0.01, 1)] = Field(
        0.5, description="share of the free memory that an automatic batch may need"
    )
    record_shift: bool = Field(
        False, description="record how far updates move what each layer reads (shift.jsonl; see striate probe)"
    )
    threads: Annotated[int | Auto, between(1, 1024)] = Field("auto", description="CPU threads torch may use")
    checkpoint_seconds: Annotated[float, between(0, 86_400)] = Field(
        30.0, description="time between checkpoints within an epoch; 0 is after every step"
    )

    def __init__(self, **values: object) -> None:
        try:
            super().__init__(**values)
        except ValidationError as fault:
            raise RecipeError(_one_line(fault)) from None

    def to_json(self) -> str:
        """Return the recipe as indented JSON; `load_recipe` reads it back to an equal value."""
        return self.model_dump_json(indent=2) + "\n"

    def to_toml(self) -> str:
        """Return the recipe as TOML, above each key what it decides and may hold; `load_recipe` reads it back."""
        lines = (
            f"# {key.description} ({key.allowed})\n{key.name} = {_toml(getattr(self, key.name))}\n" for key in keys()
        )
        return "\n".join(lines)

    def unresolved(self) -> tuple[str, ...]:
        """Names of the fields that still say "auto"."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) == "auto")

    def changed(self, **values: object) -> Recipe:
        """Return a copy with some values replaced, checked as a new recipe is."""
        return Recipe(**{**self.model_dump(), **values})


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a recipe: its default, and in words what it may hold and what it decides."""

    name: str
    default: object
    allowed: str
    description: str


def keys() -> tuple[Key, ...]:
    """Every key of a recipe, in its order."""
    fields = Recipe.model_fields.items()
    return tuple(Key(name, field.default, _allowed(name), str(field.description)) for name, field in fields)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from a .json or .toml file.

    Raises: RecipeError if the file is absent, is neither format, or holds an unknown key or a bad value.
    """
    readers: dict[str, Callable[[str], Any]] = {".json": json.loads, ".toml": tomllib.loads}
    read = readers.get(path.suffix.lower())
    if read is None:
        raise RecipeError(f"{path}: a recipe is a .json or a .toml file, got {path.suffix or 'no suffix'!r}")
    try:
        values = read(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise RecipeError(f"{path}: cannot be read ({fault.strerror}); give the path of a recipe") from None
    except ValueError as fault:
        raise RecipeError(f"{path}: is not {path.suffix[1:].upper()} ({fault}); mend the file") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: holds a {type(values).__name__}; a recipe is a table of names and values")
    try:
        return Recipe(**values)
    except RecipeError as fault:
        raise RecipeError(f"{path}: {fault}") from None


def _toml(value: object) -> str:
    """A value of a recipe as TOML writes it: as JSON does, for there is no null among them; only DEL is escaped too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _one_line(fault: ValidationError) -> str:
    """The first fault of a recipe in our words: field, value, what is allowed."""
    first = fault.errors()[0]
    name, got = str(first["loc"][0]), first["input"]
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, Recipe.model_fields, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(Recipe.model_fields)}"
        return f"recipe: unknown key {name!r}; {hint}"
    return f"recipe: {name} = {got!r}; allowed: {_allowed(name)}"


def _allowed(name: str) -> str:
    """What a field may hold, read from its own annotation so that no range is written twice."""
    field = Recipe.model_fields[name]
    ranges = [m.func for m in field.metadata if isinstance(m, AfterValidator) and isinstance(m.func, Between)]
    suffix = f", {ranges[0]}" if ranges else ""
    return " or ".join(
        kind + suffix if kind.endswith(("number", "numbers")) else kind for kind in _kinds(field.annotation)
    )


def _kinds(annotation: object) -> list[str]:
    """The kinds of value an annotation accepts, in words."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    if isinstance(annotation, str):  # a value of a Literal
        return [repr(annotation)]
    if annotation in words:
        return [words[annotation]]
    if get_origin(annotation) is tuple:
        return ["a list of numbers"]
    return [kind for part in get_args(annotation) for kind in _kinds(part)]
