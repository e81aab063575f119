"""What a proof of a network is made with: the network as it reads its input, the inputs, and the engines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain, islice
from math import prod

import numpy as np
from numpy.typing import NDArray

from striate.artifact import Dtype
from striate.choice import Choice
from striate.data import Encoded, Preprocessing, batches, decode_all, find_units, load_part, normalise
from striate.data.unlabelled import Unit
from striate.errors import DataError
from striate.graph import INPUT, Network, infer_shapes
from striate.graph.to_onnx import LOGITS
from striate.ops import Array
from striate.rewrite import read_pixels
from striate.runtime import every_tensor, open_session
from striate.verify import BATCH_SIZES, Cases, Serve, input_cases

SEED = 0
MOST_IMAGES, FEWEST_IMAGES = 32, 8
IMAGE_MACS = 2**35  # what the images of a proof may cost in one pass; there are about eight
BATCH_BYTES = 2**30
BYTES_A_VALUE = 25  # held of each tensor of a batch: float64, twice float32, and what the walks still need


def as_read(network: Network, preprocessing: Preprocessing, dtype: Dtype) -> Network:
    """The original in float64, reading what the file is to read: normalised images, or pixels of 0 to 255."""
    exact = network.astype(np.float64)
    if dtype == "float32":
        return exact
    return read_pixels(exact, preprocessing.scale.astype(np.float64), preprocessing.shift.astype(np.float64))


def inputs_of(images: NDArray[np.uint8], preprocessing: Preprocessing, dtype: Dtype) -> NDArray[np.float32]:
    """Images (N, C, H, W) as the network reads them, float32 in any case."""
    return normalise(images, preprocessing) if dtype == "float32" else images.astype(np.float32)


def cases_of(preprocessing: Preprocessing, images: NDArray[np.uint8], dtype: Dtype) -> Cases:
    """The inputs of a proof: the adversarial ones, then the images."""
    real = inputs_of(images, preprocessing, dtype)
    if dtype == "uint8":
        none = np.zeros(preprocessing.channels)
        cases = input_cases(preprocessing.shape, none, none + 255, SEED, real)
        return Cases(cases.names, cases.kinds, np.rint(cases.images))
    low = preprocessing.shift.astype(np.float64)
    high = 255 * preprocessing.scale.astype(np.float64) + low
    return input_cases(preprocessing.shape, low, high, SEED, real)


def image_count(network: Network, asked: int | None = None) -> tuple[int, tuple[Choice, ...]]:
    """How many images a proof takes: as many as asked for; else fewer of a network that costs more, and why."""
    if asked is not None:
        return asked, ()
    shapes = infer_shapes(network)
    macs = sum(node.op.macs(*(shapes[name] for name in node.inputs)) for node in network)
    count = min(MOST_IMAGES, max(FEWEST_IMAGES, IMAGE_MACS // max(macs, 1)))
    reason = f"up to {MOST_IMAGES}, fewer of a network that costs more: {macs:,} MACs an image; --proof-images sets it"
    return count, (Choice("proof images", count, reason),)


def batch_sizes(network: Network) -> tuple[int, ...]:
    """Those of `BATCH_SIZES` of which all tensors fit `BATCH_BYTES`; one image always does."""
    values = sum(map(prod, infer_shapes(network).values()))
    return tuple(n for n in BATCH_SIZES if n == 1 or n * values * BYTES_A_VALUE <= BATCH_BYTES)


def engine(network: Network) -> Callable[[Array], dict[str, Array]]:
    """Every tensor of the network in float32, by ONNX Runtime."""
    return every_tensor(network, len(os.sched_getaffinity(0)))


def serving(model_bytes: bytes, dtype: Dtype) -> Serve:
    """The result of the file itself, by the engine as it serves, with all fusions on."""
    session = open_session(model_bytes, len(os.sched_getaffinity(0)), spinning=False)

    def serve(x: Array) -> Array:
        (result,) = session.run([LOGITS], {INPUT: x.astype(dtype)})
        return np.asarray(result)

    return serve


def images_of(source: str, classes: tuple[str, ...], preprocessing: Preprocessing, count: int) -> NDArray[np.uint8]:
    """Up to `count` images of a source, taken evenly from all of it; labels are not needed.

    source: what prediction takes, or a source that holds arrays, of which the test part is taken
    Raises: DataError.
    """
    try:
        units = list(find_units([source], 1))
    except DataError:
        images = load_part(source, classes, preprocessing)[0].images
        return images[_spread(len(images), count)]
    found = list(islice(_encoded(units[i] for i in _spread(len(units), count)), count))
    return np.stack(list(decode_all(found, preprocessing)))


def _encoded(units: Iterator[Unit]) -> Iterator[Encoded]:
    return chain.from_iterable(batch for unit in units for batch in batches(unit, 1))


def _spread(length: int, count: int) -> list[int]:
    """`count` places, or fewer, spread evenly over `length`."""
    taken = min(count, length)
    return [i * length // taken for i in range(taken)]
