"""The run folder: what a run is, wrote and became, in files a person can read.

environment.json     format of the folder, versions, machine         at the start
dataset.json         classes, preprocessing, counts, fingerprint     at the start
choices.json         each automatic choice with its reason           at the start
checkpoint/          two generations to continue from                replaced in the run, removed at the end
recipe.json          the resolved recipe; a run exists once it does  last at the start
metrics.jsonl        one row an epoch, the same in every repetition  replaced each epoch
timing.jsonl         one row an epoch, seconds and images/s          replaced each epoch
shift.jsonl          covariate shift, if recorded                    replaced each epoch
diverged.json        why the run cannot go on                        when it diverged for good
weights.safetensors  weights it kept                                  at the end
result.json          scores; a run is finished once it exists        last
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from striate._version import __version__
from striate.choice import Choice
from striate.data.dataset import Dataset
from striate.data.preprocess import Preprocessing
from striate.errors import RunError
from striate.train.progress import Progress
from striate.train.recipe import Recipe, load_recipe
from striate.train.result import Result
from striate.train.run.checkpoint import Checkpoint, load_epoch_start, load_newest, save
from striate.train.run.files import UNFINISHED, read, write_atomic, write_json, write_json_lines
from striate.train.run.weights import from_bytes, to_bytes

FORMAT = 3  # of the folder; raise it when a reader of the old form would misread the new one
FILES = {
    "environment.json",
    "dataset.json",
    "choices.json",
    "checkpoint",
    "recipe.json",
    "metrics.jsonl",
    "timing.jsonl",
    "shift.jsonl",
    "diverged.json",
    "weights.safetensors",
    "result.json",
    "run.lock",
}


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder; nothing is read or written before a method is called."""

    path: Path
    choices: tuple[Choice, ...] = ()
    processes: int = 1

    @property
    def begun(self) -> bool:
        """Whether the folder holds a run."""
        return (self.path / "recipe.json").exists()

    @property
    def finished(self) -> bool:
        """Whether that run came to its end."""
        return (self.path / "result.json").exists()

    @property
    def weights_path(self) -> Path:
        """Where the kept weights lie once the run is finished."""
        return self.path / "weights.safetensors"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and keep other processes from writing to it. The lock ends with the process.

        Raises: RunError if the folder cannot be made or another process holds it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / "run.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as fault:
            raise RunError(f"{self.path}: cannot be made ({fault.strerror}); choose another --out") from None
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(f"{self.path}: another process trains here; wait for it or stop it") from None
            yield
        finally:
            os.close(lock)

    def require_new(self) -> None:
        """Raises: RunError, with the way out, if the folder already holds a run or foreign files."""
        if self.finished:
            raise RunError(f"{self.path}: holds a finished run; choose another --out")
        if self.begun:
            raise RunError(
                f"{self.path}: holds an unfinished run; continue it with `striate resume {self.path}` "
                "or choose another --out"
            )
        for entry in sorted(self.path.iterdir()) if self.path.is_dir() else []:
            if entry.name.removesuffix(UNFINISHED) not in FILES:
                raise RunError(f"{self.path}: is not empty (it holds {entry.name}); choose another --out")

    def require_unfinished(self) -> None:
        """Raises: RunError if there is no run to continue."""
        self.require_run()
        if self.finished:
            raise RunError(f"{self.path}: is finished, there is nothing to resume; train into another --out")

    def require_run(self) -> None:
        """Raises: RunError if there is no run, or one of another format."""
        if not self.begun:
            raise RunError(f"{self.path}: holds no run; start one with `striate train --out {self.path}`")
        found = self.read("environment.json").get("format")
        if found != FORMAT:
            raise RunError(
                f"{self.path}: is a run of format {found!r}, this striate reads {FORMAT}; "
                "use the striate that wrote it (environment.json names it) or train again"
            )

    def begin(self, recipe: Recipe, dataset: Dataset, start: Checkpoint) -> None:
        """Write what the run is. recipe.json comes last: killed before it, there was no run."""
        (self.path / "checkpoint").mkdir(exist_ok=True)
        write_json(self.path / "environment.json", environment(recipe) | {"processes": self.processes})
        write_json(self.path / "dataset.json", describe(dataset))
        reasons = [{"name": c.name, "value": c.value, "reason": c.reason} for c in self.choices]
        write_json(self.path / "choices.json", reasons)
        self.checkpoint(start)
        write_atomic(self.path / "recipe.json", recipe.to_json().encode())

    def checkpoint(self, checkpoint: Checkpoint, kept_serial: int | None = None) -> None:
        """Write one more generation; the one of `kept_serial` is not deleted yet."""
        save(self.path / "checkpoint", checkpoint, kept_serial)

    def newest_checkpoint(self) -> tuple[Checkpoint, tuple[str, ...]]:
        """The newest intact checkpoint, and a line for each damaged one passed over."""
        return load_newest(self.path / "checkpoint")

    def epoch_start(self, epoch: int) -> Checkpoint | None:
        """The checkpoint at the start of an epoch (whole epochs done), if it is still there."""
        return load_epoch_start(self.path / "checkpoint", epoch)

    def write_rows(self, progress: Progress) -> None:
        """Write the epochs' rows anew from the progress: no row is ever doubled or torn."""
        write_json_lines(self.path / "metrics.jsonl", progress.history)
        write_json_lines(self.path / "timing.jsonl", progress.timing)
        if progress.shift:
            write_json_lines(self.path / "shift.jsonl", progress.shift)

    def diverge(self, reason: str) -> None:
        """Note that the run left the finite numbers for good."""
        write_json(self.path / "diverged.json", {"reason": reason})

    def finish(self, weights: Mapping[str, Tensor], result: Result) -> None:
        """Write the kept weights, then the result with their hash; the checkpoints have done their work."""
        data = to_bytes(weights)
        write_atomic(self.weights_path, data)
        digest = hashlib.sha256(data).hexdigest()
        write_json(self.path / "result.json", result.to_json() | {"weights_sha256": digest})
        shutil.rmtree(self.path / "checkpoint")

    def weights(self) -> dict[str, Tensor]:
        """The kept weights of a finished run. Raises: RunError if it is unfinished or they were altered."""
        self.require_run()
        if not self.finished:
            raise RunError(f"{self.path}: is unfinished; finish it with `striate resume {self.path}`")
        data = read(self.weights_path)
        if hashlib.sha256(data).hexdigest() != self.read("result.json").get("weights_sha256"):
            raise RunError(f"{self.weights_path}: was altered since the run ended; restore it or train again")
        return from_bytes(data, str(self.weights_path))

    def recipe(self) -> Recipe:
        """The resolved recipe of the run. Raises: RunError if there is no run of this format."""
        self.require_run()
        return load_recipe(self.path / "recipe.json")

    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the outputs."""
        return tuple(self.read("dataset.json")["classes"])

    def preprocessing(self) -> Preprocessing:
        """What the network expects to be done to an image."""
        return Preprocessing.from_json(self.read("dataset.json")["preprocessing"])

    def fitted(self) -> tuple[float, float | None]:
        """The temperature and the probability below which to abstain, as fitted on validation at the end."""
        values = self.read("result.json").get("calibration") or {}
        return float(values.get("temperature", 1.0)), values.get("abstain_below")

    def read(self, name: str) -> dict[str, Any]:
        """One of the JSON files. Raises: RunError if it is absent or damaged."""
        try:
            value = json.loads(read(self.path / name))
        except ValueError:
            raise RunError(f"{self.path / name}: is damaged, it is no JSON") from None
        if not isinstance(value, dict):
            raise RunError(f"{self.path / name}: is damaged, it holds no object")
        return value


def environment(recipe: Recipe) -> dict[str, Any]:
    """What a repetition needs to know of software and machine."""
    return {
        "format": FORMAT,
        "striate": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "threads": recipe.threads,
        "device": recipe.device,
        "gpu": torch.cuda.get_device_name() if recipe.device == "cuda" else None,
    }


def describe(dataset: Dataset) -> dict[str, Any]:
    """What the data was, without the data."""
    return {
        "source": dataset.source,
        "fingerprint": dataset.fingerprint,
        "classes": list(dataset.classes),
        "counts": {
            name: np.bincount(part.labels, minlength=len(dataset.classes)).tolist()
            for name, part in dataset.parts.items()
        },
        "preprocessing": dataset.preprocessing.to_json(),
        "skipped": [{"name": one.name, "class": one.class_name, "reason": one.reason} for one in dataset.skipped],
    }
