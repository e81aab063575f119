"""Every engine by name, how to get it, and opening one."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from striate.artifact import Artifact
from striate.errors import UsageError
from striate.runtime.engines.ncnn import open_ncnn
from striate.runtime.engines.onnx_runtime import open_onnx_runtime
from striate.runtime.engines.open_vino import open_openvino
from striate.runtime.engines.setting import Batch, Runner, Setting


@dataclass(frozen=True, slots=True)
class Kind:
    """One engine.

    package: that must be installed; it is imported when a model is opened
    extra: of striate, that installs it; empty where it always comes along
    spins: whether its threads can be told to spin while they wait
    """

    open: Callable[[Artifact, Setting], Runner]
    package: str
    extra: str = ""
    spins: bool = False


ENGINES: Mapping[str, Kind] = MappingProxyType(
    {
        "onnxruntime": Kind(open_onnx_runtime, "onnxruntime", spins=True),
        "openvino": Kind(open_openvino, "openvino", "openvino"),
        "ncnn": Kind(open_ncnn, "ncnn", "ncnn"),
    }
)
"""To add an engine: its file, and its row."""


def is_installed(engine: str) -> bool:
    """Whether the engine's package is there; it is not imported for that."""
    return importlib.util.find_spec(ENGINES[engine].package) is not None


def version(engine: str) -> str:
    """The version of the engine's package.  Raises: UsageError on an engine that is not known or not installed."""
    return importlib.metadata.version(_installed(engine).package)


def open_runner(artifact: Artifact, setting: Setting) -> Runner:
    """The artifact in an engine.

    Raises: UsageError on an engine that is not known, not installed, or cannot do what is asked; ArtifactError.
    """
    kind = _installed(setting.engine)
    if setting.spinning and not kind.spins:
        raise UsageError(f"engine: {setting.engine} does not let spinning be chosen; leave it off")
    runner = kind.open(artifact, setting)
    return _side_by_side(runner, setting) if setting.part_images else runner


def _installed(engine: str) -> Kind:
    kind = ENGINES.get(engine)
    if kind is None:
        raise UsageError(f"engine: there is no {engine!r}; use one of {', '.join(ENGINES)}")
    if not is_installed(engine):
        raise UsageError(f"engine: {engine} is not installed; pip install 'striate[{kind.extra}]'")
    return kind


def _side_by_side(runner: Runner, setting: Setting) -> Runner:
    """Cut each batch into parts; each thread computes whole parts."""
    pool, size = ThreadPoolExecutor(setting.threads), setting.part_images or 1

    def run(x: Batch) -> NDArray[np.float32]:
        if len(x) <= size:
            return runner(x)
        parts = [x[i : i + size] for i in range(0, len(x), size)]
        return np.concatenate(list(pool.map(runner, parts)))

    return run
