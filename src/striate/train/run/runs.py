"""Run folders from outside: what each one is and became, read without torch; a damaged one is a row with the reason."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from striate.data.names import natural_key
from striate.errors import RunError
from striate.train.run.files import read

MARKS = {"recipe.json", "environment.json", "result.json"}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # stored with the weights, and no parameters


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run folder in a line.

    state: "finished", "running" (a process holds it), "unfinished", "diverged" or "damaged"; reason: of the last two
    recipe: its keys; history: a row of metrics.jsonl for each epoch; parameters, test, interval and seconds are known
    of a finished run alone, validation is the best so far
    """

    path: str
    state: str
    reason: str = ""
    recipe: Mapping[str, Any] | None = None
    history: tuple[Mapping[str, Any], ...] = ()
    parameters: int | None = None
    validation: float | None = None
    test: float | None = None
    interval_95: tuple[float, float] | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """A mapping of plain JSON values."""
        return asdict(self)

    def key(self, name: str) -> Any:  # noqa: ANN401 - a recipe holds numbers and texts
        """A value of the recipe; None where there is no recipe or the run's version had no such key."""
        return (self.recipe or {}).get(name)


def find_runs(folders: Iterable[Path]) -> tuple[RunRow, ...]:
    """A row for each run folder in or below these folders, in natural order.

    Raises: RunError where there is none.
    """
    wanted = list(folders)
    found = {mark.parent for folder in wanted for mark in folder.rglob("*.json") if mark.name in MARKS}
    if not found:
        names = ", ".join(map(str, wanted))
        raise RunError(f"{names}: no run folder in there; start one with `striate train`")
    return tuple(read_row(folder) for folder in sorted(found, key=lambda path: natural_key(str(path))))


def read_row(folder: Path) -> RunRow:
    """What a run folder says.  Never raises for what is in it."""
    try:
        return _row(folder)
    except RunError as fault:
        reason = str(fault)
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        reason = f"a file lacks something or holds another kind of value ({type(fault).__name__}: {fault})"
    return RunRow(str(folder), "damaged", reason)


def differences(rows: Iterable[RunRow]) -> dict[str, list[Any]]:
    """The recipe's keys in which runs differ, with the value of each run that has a recipe, in their order."""
    recipes = [row.recipe for row in rows if row.recipe is not None]
    names = dict.fromkeys(name for recipe in recipes for name in recipe)
    values = {name: [recipe.get(name) for recipe in recipes] for name in names}
    return {name: of for name, of in values.items() if any(value != of[0] for value in of)}


def _row(folder: Path) -> RunRow:
    recipe, history = _object(folder / "recipe.json"), _rows(folder / "metrics.jsonl")
    best = max((float(row["validation_accuracy"]) for row in history), default=None)
    if not (folder / "result.json").exists():
        diverged = folder / "diverged.json"
        reason = str(_object(diverged)["reason"]) if diverged.exists() else ""
        state = "diverged" if reason else "running" if _is_held(folder / "run.lock") else "unfinished"
        return RunRow(str(folder), state, reason, recipe, history, validation=best)
    result = _object(folder / "result.json")
    low, high = result["interval_95"]
    return RunRow(
        path=str(folder),
        state="finished",
        recipe=recipe,
        history=history,
        parameters=_parameters(folder / "weights.safetensors"),
        validation=float(result["validation_accuracy"]),
        test=float(result["accuracy"]) if result["measured_on"] == "test" else None,
        interval_95=(float(low), float(high)),
        seconds=float(result["train_seconds"]),
    )


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read(path))
    except ValueError:
        raise RunError(f"{path.name} is no JSON") from None
    if not isinstance(value, dict):
        raise RunError(f"{path.name} holds no object")
    return value


def _rows(path: Path) -> tuple[dict[str, Any], ...]:
    try:
        return tuple(json.loads(line) for line in read(path).splitlines())
    except ValueError:
        raise RunError(f"{path.name} is no JSON") from None


def _parameters(path: Path) -> int:
    """How many numbers were trained, from the header of the weights alone."""
    try:
        with safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if not name.endswith(STATISTICS)]  # noqa: SIM118 - no mapping
            return sum(prod(file.get_slice(name).get_shape()) for name in names)
    except (SafetensorError, OSError) as fault:
        raise RunError(f"{path.name} cannot be read ({fault})") from None


def _is_held(lock: Path) -> bool:
    """Whether a process trains in the folder now: it holds the lock as long as it lives."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
