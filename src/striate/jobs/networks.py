"""From what a person types to a Network: a notation, a family, a callable, an .onnx file, or a run folder."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate.errors import CaptureError, UsageError
from striate.graph import Network
from striate.measure import Inspection, inspect_network
from striate.ops import Shape

if TYPE_CHECKING:
    from torch import nn

CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def read_network(net: str, input_shape: Shape | None = None, classes: int | None = None) -> Network:
    """The network that `net` names.

    net: a notation ("32C3-BN-R-GAP-10"), a family ("resnet18"), "package.module:callable" that returns a torch
    module, an .onnx file, or a run folder. Only a callable and a run folder need torch.
    input_shape: (C, H, W); needed for a notation, a family and a callable.
    classes: for a family, the number of outputs.
    Raises: NotationError, CaptureError, ArtifactError, RunError, UsageError.
    """
    path = Path(net)
    if path.suffix == ".onnx":
        from striate.graph.from_onnx import from_onnx

        return from_onnx(path, input_shape)
    if path.is_dir():
        from striate.jobs.training import trained_network

        return trained_network(path)
    if input_shape is None:
        raise UsageError(f"{net}: the size of the input is not known; give it, as in --input 3x224x224")
    if CALLABLE.fullmatch(net):
        from striate.graph.from_torch import capture

        return capture(call(net), input_shape, name=net)
    from striate.notation import read

    return read(net, input_shape, classes)


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


def call(target: str) -> Any:
    """What "package.module:callable" returns; the current folder is searched first, as Python does.

    Raises: CaptureError if it cannot be imported or called without arguments.
    """
    module_name, _, attribute = target.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as fault:
        raise CaptureError(f"{target}: cannot be imported ({fault}); run where the module lies") from None
    finally:
        sys.path.remove(here)
    make = getattr(module, attribute, None)
    if not callable(make):
        raise CaptureError(f"{target}: {module_name} has no callable {attribute!r}; name a function or class")
    try:
        return make()
    except TypeError as fault:
        raise CaptureError(f"{target}: cannot be called without arguments ({fault}); wrap it in a function") from None


def parse_shape(text: str) -> Shape:
    """(3, 224, 224) from "3x224x224".  Raises: UsageError."""
    try:
        shape = tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        shape = ()
    if len(shape) < 2 or min(shape) < 1:
        raise UsageError(f"input {text!r} is not channels x height x width; write it as in 3x224x224")
    return shape
