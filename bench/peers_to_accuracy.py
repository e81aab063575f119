"""Measure the seconds of training that the peers' documented quick starts need for 90 % of Fashion-MNIST's test images.

The peers are the scripts in bench/peers, each a process of its own, one after another, from random weights, with as
many threads as there are cores, but for one that sets its own. They look at the whole test part four times an epoch
and at its end, and are stopped at the first look of 90 %, or after a time limit, where the ratio to striate's seconds
is a lower bound. Peers that are not asked for stay as they were recorded before. striate trains the recipe fashion-90
to its end, which is looked at once: it cannot stop early.
Needs besides striate[train]: keras, tensorflow-cpu, jax, fastai, ultralytics, torchvision.
usage: peers_to_accuracy.py [PEER ...] [--seeds N] [--limit SECONDS] [--images N] [--print]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from _record import ROOT, record
from PIL import Image
from time_to_accuracy import RECIPES, one_run

from striate.data.fashion import CLASSES, read_fashion_mnist
from striate.data.names import encode
from striate.train.recipe import load_recipe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESULTS = ROOT / "bench" / "results" / "peers_to_accuracy.json"
GOAL, RATIO_GOAL = 0.90, 5.0
START_S = 300.0  # for imports, reading and building, before training
THREADS = os.environ.get("OMP_NUM_THREADS") or str(len(os.sched_getaffinity(0)))
QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "JAX_PLATFORMS": "cpu",
    "PYTHONWARNINGS": "ignore",
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """A script of bench/peers, what its environment adds, and the packages whose versions matter."""

    script: str
    packages: tuple[str, ...]
    environment: Mapping[str, str]


PEERS = {
    "keras on tensorflow": Peer("keras_quick_start", ("keras", "tensorflow-cpu"), {"KERAS_BACKEND": "tensorflow"}),
    "keras on jax": Peer("keras_quick_start", ("keras", "jax"), {"KERAS_BACKEND": "jax"}),
    "pytorch example": Peer("pytorch_mnist", ("torch", "torchvision"), {}),
    "fastai": Peer("fastai_mnist", ("fastai", "torch"), {}),
    # one thread beside its loaders, as it sets for itself: with two, 5 s a batch (docs/log.md)
    "ultralytics": Peer("ultralytics_classify", ("ultralytics", "torch"), {"OMP_NUM_THREADS": "1"}),
}


def main() -> None:
    """Ours, then every peer, in turn for each seed."""
    parser = argparse.ArgumentParser(usage=(__doc__ or "").splitlines()[-1])
    parser.add_argument("peers", nargs="*", choices=[[], *PEERS], help=f"of {', '.join(PEERS)}")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--limit", type=float, default=400.0, help="wall seconds a peer may train")
    parser.add_argument("--images", type=int, help="of the training part only so many, to try the script")
    parser.add_argument("--print", action="store_true", help="show the result, do not record it")
    asked = parser.parse_args()
    needed = {package for name in asked.peers or PEERS for package in PEERS[name].packages}
    if absent := sorted(package for package in needed if installed(package) is None):
        print(f"nothing measured: the peers need {', '.join(absent)}; install them in an environment of their own")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, asked.images)
        recipe = load_recipe(RECIPES / "fashion-90.toml").changed(data=str(folder / "fashion.npz"))
        ours, runs = [], {peer: [] for peer in asked.peers or PEERS}
        for seed in range(asked.seeds):
            ours.append(one_run(recipe.changed(seed=seed)))
            for peer, found in runs.items():
                found.append(run_peer(PEERS[peer], folder, seed, asked.limit))
                print(json.dumps({peer: found[-1]}), flush=True)
    values = {
        "question": (__doc__ or "").splitlines()[0],
        "torch": torch.__version__,
        "threads": int(THREADS),
        "dtype": "float32",
        "n": asked.seeds,
        "limit_s": asked.limit,
        "images": asked.images or "all",
        **judged(ours, {**recorded(), **runs}),
        "excluded": "importing, reading data, building, validation, looks at test; compiling is training",
    }
    if asked.print:
        print(json.dumps(values, indent=2))
    else:
        record("peers_to_accuracy", values)


def recorded() -> dict[str, list[dict[str, Any]]]:
    """The peers' runs in the record."""
    if not RESULTS.exists():
        return {}
    results = json.loads(RESULTS.read_text(encoding="utf-8"))["results"]
    return {name: found["runs"] for name, found in results.items() if name in PEERS}


def write_data(folder: Path, count: int | None) -> None:
    """fashion.npz, and the same as PNG files in one folder a class."""
    found, arrays = read_fashion_mnist(), {}
    for part, raw in found.parts.items():
        kept = count if part == "train" else None
        pixels = np.asarray(raw.pixels)[:kept, 0]
        labels = encode(raw.class_names, CLASSES, "fashion-mnist")[:kept]
        arrays |= {f"x_{part}": pixels, f"y_{part}": labels.astype(np.int64)}
        for label in range(len(CLASSES)):
            (folder / "images" / part / str(label)).mkdir(parents=True)
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            Image.fromarray(image).save(folder / "images" / part / str(label) / f"{number:05d}.png")
    np.savez(folder / "fashion.npz", **arrays)


def run_peer(peer: Peer, folder: Path, seed: int, limit_s: float) -> dict[str, Any]:
    """Train a peer until it reaches the goal, is done, or the limit is over: its looks, or why there are none."""
    script = ROOT / "bench" / "peers" / f"{peer.script}.py"
    config = {"YOLO_CONFIG_DIR": str(folder), "HOME": str(folder), "OMP_NUM_THREADS": THREADS}
    environment = {**os.environ, **QUIET, **config, "TF_NUM_INTRAOP_THREADS": THREADS, **peer.environment}
    with (folder / "stderr.txt").open("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, str(script), str(folder), str(seed)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        try:
            looks = listen(process, limit_s)
        finally:
            stop(process)
        errors.seek(0)
        said = errors.read().strip().splitlines()
    if process.returncode > 0 or not looks:
        return {"fault": said[-1] if said else f"no look within {limit_s:.0f} s", "looks": looks}
    reached = [look["seconds"] for look in looks if look["accuracy"] >= GOAL]
    return {"seconds": reached[0] if reached else None, "trained_seconds": looks[-1]["seconds"], "looks": looks}


def listen(process: subprocess.Popen[str], limit_s: float) -> list[dict[str, float]]:
    """What a peer tells, until the goal or the end."""
    looks: list[dict[str, float]] = []
    timer = started(Timer(START_S, stop, (process,)))
    for line in process.stdout or ():
        if not line.startswith("{"):  # what a library prints before the clock is there
            continue
        row = json.loads(line)
        if "started" in row:
            timer.cancel()
            timer = started(Timer(limit_s, stop, (process,)))
            continue
        looks.append(row)
        if row["accuracy"] >= GOAL:
            break
    timer.cancel()
    return looks


def started(timer: Timer) -> Timer:
    """A timer that runs, and does not keep the program from ending."""
    timer.daemon = True
    timer.start()
    return timer


def stop(process: subprocess.Popen[str]) -> None:
    """End a peer and the loaders it started; another thread may be ending it too."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def judged(ours: Sequence[Mapping[str, Any]], runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Medians, their ratios to ours, and the verdict over the fastest peer."""
    met = all(run["accuracy"] >= GOAL for run in ours)
    base = float(np.median([run["train_seconds"] for run in ours]))
    results: dict[str, Any] = {"striate": {"seconds": base, "reached": met, "runs": list(ours)}}
    ratios = {}
    for name, found in runs.items():
        versions = {package: installed(package) for package in PEERS[name].packages}
        results[name] = {"versions": versions, "runs": list(found)}
        if any("fault" in run for run in found):
            continue
        reached = all(run["seconds"] is not None for run in found)
        seconds = float(np.median([run["seconds"] or run["trained_seconds"] for run in found]))
        ratios[name] = round(seconds / base, 2)
        results[name] |= {"reached": reached, "seconds": seconds, "ratio": f"{'' if reached else '> '}{ratios[name]}"}
    fastest = min(ratios, key=lambda name: ratios[name], default=None)
    verdict = {"goal": f"{RATIO_GOAL:.0f} times faster than the fastest peer", "fastest_peer": fastest}
    enough = met and len(ratios) == len(PEERS) and ratios[str(fastest)] >= RATIO_GOAL
    return {"results": results, "verdict": {**verdict, "ratio": ratios.get(str(fastest)), "met": enough}}


def installed(package: str) -> str | None:
    """A package's version, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
