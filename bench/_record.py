"""What every benchmark records: where and with what it ran, and how much its numbers vary."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[1]
RESAMPLES = 10_000


def summary(samples: Sequence[float]) -> dict[str, Any]:
    """Median, mean, std, extremes, and the 95 % interval of the median (bootstrap with a fixed seed)."""
    values = np.asarray(samples, np.float64)
    picks = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    medians = np.median(values[picks], axis=1)
    numbers = {
        "median": np.median(values),
        "mean": values.mean(),
        "std": values.std(ddof=1),
        "min": values.min(),
        "max": values.max(),
    }
    low, high = np.quantile(medians, [0.025, 0.975])
    return {name: _short(value) for name, value in numbers.items()} | {
        "interval_95": [_short(low), _short(high)],
    }


def record(name: str, values: Mapping[str, Any]) -> None:
    """Write bench/results/NAME.json with commit and device added, and print it as one line."""
    content = {"question": values["question"], **commit(), "device": device(), **values}
    path = ROOT / "bench" / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(content))


def commit() -> dict[str, Any]:
    """The commit measured, and whether package or benchmarks differed from it."""
    head = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--", "src", "bench/*.py")
    return {"commit": head or None, "dirty": bool(changed) if head else None}


def device() -> dict[str, Any]:
    """The processor and how much of it this process may use."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
    except OSError:
        return ""
    return done.stdout.strip()


def _short(value: float) -> float:
    return float(f"{value:.5g}")
