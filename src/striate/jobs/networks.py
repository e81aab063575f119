"""From what a person names to a Network: what can be spelled, or a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from striate.errors import UsageError
from striate.graph import Network
from striate.jobs.spelled import spelled_network
from striate.measure import Inspection, inspect_network
from striate.ops import Shape

if TYPE_CHECKING:
    from torch import nn


def read_network(net: str, input_shape: Shape | None = None, classes: int | None = None) -> Network:
    """The network that `net` names.

    net: a notation ("32C3-BN-R-GAP-10"), a family ("resnet18"), "package.module:callable" that returns a torch
    module, an .onnx file, or a run folder. Only a callable and a run folder need torch.
    input_shape: (C, H, W); needed for a notation, a family and a callable.
    classes: for a family, the number of outputs.
    Raises: NotationError, CaptureError, ArtifactError, RunError, UsageError.
    """
    if Path(net).is_dir():
        from striate.jobs.training import trained_network

        return trained_network(Path(net))
    return spelled_network(net, input_shape, classes)


def inspect(net: str | Network | nn.Module, input_shape: Shape | None = None) -> Inspection:
    """Measure every layer of a network: sizes, receptive fields, costs. Its text is a table.

    net: what `read_network` takes, a Network, or a torch module; input_shape (C, H, W), for one image.
    Raises: as `read_network`; ShapeError that names the layer which the size does not fit.

    >>> print(inspect("8C3-BN-R-MP2-GAP-10", (1, 28, 28)))    # doctest: +SKIP
    """
    if isinstance(net, str):
        net = read_network(net, input_shape)
    if isinstance(net, Network):
        return inspect_network(net, input_shape)
    if input_shape is None:
        raise UsageError("inspect: a torch module does not say its input; give (channels, height, width)")
    from striate.graph.from_torch import capture

    return inspect_network(capture(net, input_shape, with_weights=False))
