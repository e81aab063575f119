"""Checkpoints: two generations, each checked by its hash, so that one damaged file loses no run.

`000007.safetensors` holds the tensors; `000007.json`, written after it, holds the progress and the hash of
the tensors. A generation exists once its JSON does. The hash also catches a crash between the two files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from striate.errors import RunError
from striate.train.progress import Progress
from striate.train.run.files import read, write_atomic, write_json
from striate.train.run.weights import from_bytes, to_bytes
from striate.train.team.distributed import Team

GENERATIONS = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a run continues from. Tensors are named weights/..., optimizer/..., average/... and kept/..."""

    serial: int
    progress: Progress
    tensors: Mapping[str, Tensor]


def save(folder: Path, checkpoint: Checkpoint, kept_serial: int | None = None) -> None:
    """Write one generation and delete all but the newest two and the one of `kept_serial`."""
    data = to_bytes(checkpoint.tensors)
    name = f"{checkpoint.serial:06d}"
    write_atomic(folder / f"{name}.safetensors", data)
    digest = hashlib.sha256(data).hexdigest()
    write_json(folder / f"{name}.json", {"sha256": digest, "progress": checkpoint.progress.to_dict()})
    serials = {checkpoint.serial - back for back in range(GENERATIONS)}
    kept = {f"{serial:06d}" for serial in (*serials, *([] if kept_serial is None else [kept_serial]))}
    for path in folder.iterdir():
        if path.name.split(".")[0] not in kept:
            path.unlink()


def load_newest(folder: Path) -> tuple[Checkpoint, tuple[str, ...]]:
    """Return the newest intact checkpoint, and one line for each damaged one that was passed over.

    The next `save` should carry the serial after the returned one: it then replaces the damaged files.
    Raises: RunError if none is intact.
    """
    faults: list[str] = []
    for path in sorted(folder.glob("*.json"), reverse=True):
        try:
            return _load(path), tuple(faults)
        except RunError as fault:
            faults.append(str(fault))
    reasons = "; ".join(faults) or "none was written"
    raise RunError(f"{folder}: no intact checkpoint ({reasons}); train again into another --out")


def load_epoch_start(folder: Path, epoch: int) -> Checkpoint | None:
    """The intact checkpoint at the start of an epoch (whole epochs done), if it is still there."""
    for path in sorted(folder.glob("*.json"), reverse=True):
        try:
            found = _load(path)
        except RunError:
            continue
        if (found.progress.epoch, found.progress.step) == (epoch, 0):
            return found
    return None


def shared(team: Team, find: Callable[[], Checkpoint | None]) -> Checkpoint | None:
    """What rank 0 finds, on every rank: only its machine needs the folder.  Raises: as `Team.from_first`."""
    if team.size == 1:
        return find()
    found = team.together(lambda: find() if team.leads else None)
    text = json.dumps(found and {"serial": found.serial, "progress": found.progress.to_dict()})
    note = json.loads(team.from_first(text.encode))
    if note is None:
        return None
    data = team.from_first(lambda: to_bytes(found.tensors) if found else b"")
    return Checkpoint(note["serial"], Progress(**note["progress"]), from_bytes(data, "rank 0's checkpoint"))


def _load(path: Path) -> Checkpoint:
    tensors_path = path.with_suffix(".safetensors")
    try:
        note = json.loads(read(path))
        digest, progress = note["sha256"], Progress(**note["progress"])
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{path}: is damaged") from None
    data = read(tensors_path)
    if hashlib.sha256(data).hexdigest() != digest:
        raise RunError(f"{tensors_path}: is damaged, its hash is not the one recorded")
    return Checkpoint(int(path.stem), progress, from_bytes(data, str(tensors_path)))
