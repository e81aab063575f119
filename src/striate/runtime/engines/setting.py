"""How a model is run, and what an engine is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from striate.errors import UsageError

Batch = NDArray[np.float32] | NDArray[np.uint8]


class Runner(Protocol):
    """An engine with a model in it; may be called from several threads at once."""

    def __call__(self, x: Batch) -> NDArray[np.float32]:
        """The logits (N, classes) of a batch (N, C, H, W), N >= 1, as the model's input takes it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything about running a model that decides its speed.

    engine: its name in `ENGINES`
    threads: that compute one batch
    spinning: waiting threads keep their cores busy. Fastest for one caller at a time; off where others, such as
        decoding threads, need the cores. Only ONNX Runtime lets it be chosen.
    part_images: None: all threads share the work of each layer. Else the batch is cut into parts of at most as many
        images, and each thread computes whole parts alone: no thread waits for another after every layer.
    Raises: UsageError on a number below 1.
    """

    engine: str = "onnxruntime"
    threads: int = 1
    spinning: bool = False
    part_images: int | None = None

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise UsageError(f"engine: threads is {self.threads}; use at least 1")
        if self.part_images is not None and self.part_images < 1:
            raise UsageError(f"engine: part_images is {self.part_images}; use at least 1, or None for no parts")

    @property
    def threads_a_call(self) -> int:
        """Threads that one call of the engine itself uses."""
        return 1 if self.part_images else self.threads

    @property
    def calls_at_once(self) -> int:
        """Calls of the engine itself that one batch makes at a time."""
        return self.threads if self.part_images else 1

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        parts = f", parts of {self.part_images}" if self.part_images else ""
        return f"{self.engine}, {threads}{', spinning' if self.spinning else ''}{parts}"
