"""Networks that were not trained here, and what they do not say about themselves: classes, preprocessing, images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

from striate.choice import Choice
from striate.data import Preprocessing
from striate.errors import DataError, UsageError
from striate.geometry import Window
from striate.graph import INPUT, Network, Node, fresh, infer_shapes
from striate.jobs.spelled import parse_shape, spelled_network
from striate.ops import Conv, Softmax

FULL_SCALES = (1.0, 255.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What the one who ships a stranger's network says of it; empty or None where nothing was said.

    classes: a text file with a name a line, or the names with commas; class0, class1, ... if empty
    input_shape: "3x224x224", where the network leaves it open
    mean, std: one number a channel with commas, of pixels whose largest value is `full_scale`, 1 or 255
    fit: crop, pad or stretch: how an image of another shape becomes the network's
    order: rgb or bgr, in which the network reads colours; mean and std stand in it too; rgb if empty
    """

    classes: str = ""
    input_shape: str = ""
    mean: str = ""
    std: str = ""
    full_scale: float = 1.0
    fit: str = ""
    order: str = ""


@dataclass(frozen=True, slots=True)
class Stranger:
    """A network with all that it takes to ship it."""

    network: Network
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    choices: tuple[Choice, ...]


def read_stranger(net: str, described: Described, *, has_images: bool) -> Stranger:
    """Read a network and what is said of it; nothing about its images is guessed.

    Raises: UsageError that lists all that is missing, or names what contradicts the network; CaptureError.
    """
    missing = [option for option, value in _demanded(described, has_images=has_images).items() if not value]
    if missing:
        raise UsageError(
            f"{net}: a network does not say how its images were prepared; give {', '.join(missing)} as in training"
        )
    shape = parse_shape(described.input_shape) if described.input_shape else None
    network = spelled_network(net, shape)
    if not network.weights:
        raise UsageError(f"{net}: has no weights to ship; train it, or name an .onnx file that holds some")
    if Path(net).suffix == ".onnx":
        network = replace(network, name=Path(net).stem)
    outputs = infer_shapes(network)[network.output]
    if len(network.input_shape) != 3:
        raise UsageError(f"{net}: reads {network.input_shape}, not images (channels, height, width)")
    classes, choices = _classes(described.classes, prod(outputs))
    preprocessing = _preprocessing(described, network)
    if preprocessing.channels == 3 and not described.order:
        choices = (*choices, Choice("order", "rgb", "what most networks read; --order bgr for OpenCV's and Caffe's"))
    if described.order == "bgr":
        network = reading_rgb(network)
        mean, std = preprocessing.mean[::-1], preprocessing.std[::-1]
        preprocessing = replace(preprocessing, mean=mean, std=std)
    return Stranger(network, classes, preprocessing, choices)


def logits_of(network: Network) -> tuple[Network, tuple[Choice, ...]]:
    """The network without a softmax as its last layer, and that it was left out, if it was.

    Whoever reads an artifact makes probabilities of its logits; a softmax of a softmax would be another answer.
    """
    last = network.node(network.output)
    vector = len(infer_shapes(network)[network.output]) == 1
    if not isinstance(last.op, Softmax) or last.op != Softmax() or not vector or len(network) == 1:
        return network, ()
    nodes = tuple(node for node in network if node is not last)
    reason = f"the last layer, softmax {last.name}, is applied by whoever reads the file"
    return replace(network, nodes=nodes, output=last.inputs[0]), (Choice("output", "logits", reason),)


def reading_rgb(network: Network) -> Network:
    """A network of BGR images behind a 1 x 1 convolution that turns red, green, blue into blue, green, red.

    The rewrites merge it with the stem, or with the preparation of pixels.
    """
    dtype = next(array.dtype for array in network.weights.values())
    name = fresh("bgr", {INPUT, *(node.name for node in network)})
    weight = fresh(f"{name}.weight", network.weights)
    turn = Node(name, Conv(3, 3, (Window(1), Window(1)), bias=False), (INPUT,), {"weight": weight})
    others = (replace(n, inputs=tuple(name if i == INPUT else i for i in n.inputs)) for n in network)
    turned = replace(network, nodes=(turn, *others))
    return turned.with_weights({**network.weights, weight: np.eye(3, dtype=dtype)[::-1, :, None, None]})


def _demanded(described: Described, *, has_images: bool) -> dict[str, object]:
    return {
        "--mean": described.mean,
        "--std": described.std,
        "--fit crop|pad|stretch": described.fit,
        "--images": has_images,
    }


def _classes(given: str, count: int) -> tuple[tuple[str, ...], tuple[Choice, ...]]:
    if not given:
        names = tuple(f"class{i}" for i in range(count))
        return names, (Choice("classes", f"{names[0]} to {names[-1]}", "no names were given; --classes does"),)
    names = tuple(name.strip() for name in _lines(given) if name.strip())
    if len(names) != count:
        raise UsageError(f"--classes: {len(names)} names for the network's {count} answers; name them all, in order")
    return names, ()


def _lines(given: str) -> list[str]:
    path = Path(given)
    if path.suffix != ".txt":
        return given.split(",")
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as fault:
        raise UsageError(f"{path}: cannot be read ({fault.strerror}); give a text file with a name a line") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not UTF-8 text; give a text file with a name a line") from None


def _preprocessing(described: Described, network: Network) -> Preprocessing:
    channels, height, width = network.input_shape
    if described.order not in ("", "rgb", "bgr") or (described.order == "bgr" and channels != 3):
        raise UsageError(f"--order is {described.order!r} for {channels} channels; use rgb or bgr, the latter for 3")
    if described.full_scale not in FULL_SCALES:
        raise UsageError(f"--full-scale is {described.full_scale:g}; the largest pixel value is 1 or 255")
    mean, std = (
        tuple(value / described.full_scale for value in _numbers(option, text, channels))
        for option, text in (("--mean", described.mean), ("--std", described.std))
    )
    if max(map(abs, mean)) > 1:
        raise UsageError(
            f"--mean {described.mean} lies beyond the full scale of {described.full_scale:g}; "
            "add --full-scale 255 if it is meant for pixels of 0 to 255"
        )
    try:
        return Preprocessing(channels, height, width, described.fit, mean, std)
    except DataError as fault:
        raise UsageError(str(fault)) from None


def _numbers(option: str, text: str, channels: int) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) == 1:
        numbers *= channels
    if len(numbers) != channels:
        raise UsageError(f"{option} is {text!r}; give 1 or {channels} numbers with commas, one a channel")
    return numbers
