"""What a run is given to fit in: the memory that is free, for its batch."""

from __future__ import annotations

from math import prod

from striate.choice import Choice
from striate.data.memory import gigabytes
from striate.graph import Network, infer_shapes
from striate.measure import kept_for_training

FLOAT32_BYTES = 4
COPIES = 7
"""Tensors of each parameter's size: weight, gradient, momentum, average, best, start of the epoch twice over."""


def training_bytes(network: Network, batch_images: int) -> int:
    """The most bytes a step needs: what the backward pass keeps, two gradients alive beside it, and the parameters.

    Exact for what torch keeps of each layer (`measure.kept_for_training`); gradients are counted at the two largest
    neighbouring maps, temporary buffers of the convolution library are not.
    """
    shapes = infer_shapes(network)
    widest = max(prod(shapes[node.name]) + prod(shapes[node.inputs[0]]) for node in network)
    an_image = sum(kept_for_training(network).values()) + FLOAT32_BYTES * widest
    return batch_images * an_image + COPIES * FLOAT32_BYTES * network.parameters()


def fitting_batch(network: Network, batch_images: int, free_bytes: int, share: float) -> Choice | None:
    """The batch halved until it fits a share of the free memory, with the arithmetic; None where it fits as it is."""
    allowed, batch = share * free_bytes, batch_images
    while batch > 2 and training_bytes(network, batch) > allowed:
        batch //= 2
    if batch == batch_images:
        return None
    needs, all_of_it = training_bytes(network, batch), training_bytes(network, batch_images)
    reason = (
        f"needs {gigabytes(needs)} of {gigabytes(free_bytes)} free; {batch_images} would need "
        f"{gigabytes(all_of_it)}, above the share of {share:g} that memory_share allows"
    )
    return Choice("batch_images", batch, reason)
