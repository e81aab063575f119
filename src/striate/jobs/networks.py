"""From what a person names to a Network: what can be spelled, or a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from striate.errors import UsageError
from striate.graph import Network
from striate.jobs.spelled import CALLABLE, captured, spelled_network
from striate.measure import Inspection, inspect_network
from striate.ops import Shape, Unknown

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


def look_at(
    net: str, input_shape: Shape | None = None, classes: int | None = None
) -> tuple[Network, tuple[str, ...], tuple[str, ...]]:
    """The network that `net` names, as `read_network` gives it, to be shown and not to be run.

    Of a torch module or an ONNX file, what striate does not know is there too, as layers of unknown kind; the weights
    have no values.
    Second, what is to be said beside it; third, what is not known of it, and why, a line each.
    Raises: as `read_network`.
    """
    if CALLABLE.fullmatch(net) and input_shape is not None:
        network, remarks = captured(net, input_shape, strict=False)
        return network, remarks, unknown(network)
    if Path(net).suffix == ".onnx":
        from striate.graph.from_onnx import from_onnx

        network = from_onnx(Path(net), input_shape, strict=False)
        return network, (), unknown(network)
    return read_network(net, input_shape, classes), (), ()


def unknown(network: Network) -> tuple[str, ...]:
    """Why layers of `network` are of unknown kind: each reason once."""
    return tuple(dict.fromkeys(node.op.why for node in network if isinstance(node.op, Unknown) and node.op.why))


def inspect(net: str | Network | nn.Module, input_shape: Shape | None = None) -> Inspection:
    """Measure every layer of a network: sizes, receptive fields, costs. Its text is a table.

    net: what `read_network` takes, a Network, or a torch module, which is measured as it works at test time whatever
        mode it is in, and left as it was; input_shape (C, H, W), for one image.
    What striate does not know of a module is a layer of unknown kind: named in `unknown`, and no number is made up
    for it or for what stands behind it.
    Raises: as `read_network`; ShapeError that names the layer which the size does not fit.

    >>> print(inspect("8C3-BN-R-MP2-GAP-10", (1, 28, 28)))    # doctest: +SKIP
    """
    if isinstance(net, str):
        net, _, _ = look_at(net, input_shape)
    if isinstance(net, Network):
        return inspect_network(net, input_shape)
    if input_shape is None:
        raise UsageError("inspect: a torch module does not say its input; give (channels, height, width)")
    from striate.graph.from_torch import capture

    return inspect_network(capture(net, input_shape, with_weights=False, strict=False))
