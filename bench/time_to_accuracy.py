"""Measure what accuracy a recipe of bench/recipes reaches, and in how many seconds of training.

Each recipe is trained once per seed as `striate train` does it; the accuracy is that of the whole test part, looked
at once, without test-time augmentation. Seconds are those of training steps and checkpoints; CPU seconds, of all
threads and with validation, depend less on what else the machine does. FLOPs are counted, two a MAC: a forward of all
training images shown, at the size they have in their epoch, twice that for the backward, and Muon's products of
matrices; evaluation is left out. Their rate is compared with the machine's own for a product of two 2048 x 2048
matrices in the recipe's precision, measured before and after.
usage: time_to_accuracy.py [RECIPE ...] [--seeds N] [--keep] [--data FOLDER]   recipes by name; each is recorded
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from _record import ROOT, commit, device, record, summary

from striate.jobs import networks, training
from striate.measure import inspect_network
from striate.ops import Conv
from striate.train.feed import steps_per_epoch
from striate.train.observer import Observer
from striate.train.recipe import load_recipe
from striate.train.update.muon import ROUNDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from striate.graph import Network
    from striate.jobs.training import Prepared
    from striate.train.recipe import Recipe

RECIPES = ROOT / "bench" / "recipes"
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "bench" / "results" / "time_to_accuracy.json"
BACKWARD = 2  # times the MACs of the forward: one product for the input, one for the weights
PEAK_SIDE, PEAK_ROUNDS = 2048, 10


@dataclass(frozen=True, slots=True)
class Goal:
    """An accuracy to reach, and the seconds or FLOPs of training that it may take."""

    accuracy: float
    seconds: float = float("inf")
    flop: float = float("inf")

    def to_json(self) -> dict[str, float]:
        """What is asked for."""
        limits = {"train_seconds": self.seconds, "flop": self.flop}
        return {"accuracy": self.accuracy, **{name: limit for name, limit in limits.items() if isfinite(limit)}}


GOALS: dict[str, Goal | None] = {  # None: only reported is what is reached
    "fashion-90": Goal(0.90, 40),
    "fashion-93": Goal(0.93, 300),
    "fashion-94.5": Goal(0.945, 1500),
    "cifar-90": Goal(0.90, 900),
    "cifar-94": Goal(0.94, flop=0.36e15),  # airbench94 takes as much, and needs test-time augmentation
    "trashnet": None,
}


def main() -> None:
    """Train what is asked for, and record it beside what was recorded before."""
    parser = argparse.ArgumentParser(description="Accuracy and seconds of the recipes in bench/recipes.")
    parser.add_argument("recipes", nargs="*", default=list(GOALS), help=f"of {', '.join(GOALS)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="train only seeds not in the record; recipe unchanged")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder that holds cifar10 and trashnet")
    asked = parser.parse_args()
    known = json.loads(RESULTS.read_text(encoding="utf-8"))["results"] if RESULTS.exists() else {}
    for name in asked.recipes:
        kept = known[name]["runs"] if asked.keep and name in known else []
        known[name] = measured(name, range(asked.seeds), asked.data, kept)
    record(
        "time_to_accuracy",
        {
            "question": "What accuracy does a recipe reach, and in how many seconds of training?",
            "torch": torch.__version__,
            "results": known,
            "excluded": "reading data, starting, validation after each epoch, the one look at test",
        },
    )


def measured(name: str, seeds: Sequence[int], data: Path, kept: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One recipe, trained once per seed that is not among the runs kept."""
    recipe = located(load_recipe(RECIPES / f"{name}.toml"), data)
    before = matmul_flop_per_s(recipe.precision)
    absent = set(seeds) - {run["seed"] for run in kept}
    runs = [*kept, *(one_run(recipe.changed(seed=seed)) for seed in sorted(absent))]
    peak = max(before, matmul_flop_per_s(recipe.precision))
    # of two in the middle the worse: the lower accuracy, the longer time
    goal, middle = GOALS[name], sorted(runs, key=lambda run: run["accuracy"])[(len(runs) - 1) // 2]
    seconds = sorted(run["train_seconds"] for run in runs)[len(runs) // 2]
    judged = (
        {}
        if goal is None
        else {
            "goal": goal.to_json(),
            "met": middle["accuracy"] >= goal.accuracy and seconds <= goal.seconds and runs[0]["flop"] <= goal.flop,
        }
    )
    return {
        "recipe": f"bench/recipes/{name}.toml",
        **commit(),  # of each: the record holds recipes of other days and machines
        "device": device(),
        "precision": recipe.precision,
        **judged,
        "n": len(runs),
        "accuracy": middle["accuracy"],
        "train_seconds": summary([run["train_seconds"] for run in runs]) if len(runs) > 1 else seconds,
        "flop": runs[0]["flop"],
        "flop_per_s": (rate := runs[0]["flop"] / seconds),
        "matmul_flop_per_s": peak,
        "share_of_matmul": round(rate / peak, 3),
        "runs": runs,
    }


def located(recipe: Recipe, data: Path) -> Recipe:
    """The recipe with its data found: a built-in name as it is, another below the folder of data."""
    folder = data / recipe.data
    return recipe.changed(data=str(folder)) if folder.exists() else recipe


def one_run(recipe: Recipe) -> dict[str, Any]:
    """Train once. Returns accuracy on test, seconds, and the FLOPs of training."""
    prepared = training.prepare(recipe)
    cpu_start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        result = training.run(prepared, Path(folder) / "run", Observer())
    found = {
        "seed": recipe.seed,
        "accuracy": result.headline.accuracy,
        "train_seconds": round(result.train_seconds, 2),
        "cpu_seconds": round(time.process_time() - cpu_start, 1),
        "threads": prepared.recipe.threads,
        "images": round(len(prepared.dataset.train) * float(prepared.recipe.epochs)),
        "flop": training_flop(prepared, result.history),
    }
    print(json.dumps(found), flush=True)
    return found


def training_flop(prepared: Prepared, history: Sequence[Mapping[str, Any]]) -> int:
    """FLOPs of all steps: of each epoch's images at their size, and of what Muon does to the filters."""
    recipe, data = prepared.recipe, prepared.dataset
    shape, images = data.preprocessing.shape, len(data.train)
    total, steps = 0, 0
    for row in history:
        network = networks.read_network(recipe.net, (shape[0], *row.get("image_px", shape[1:])), len(data.classes))
        shown = images * (row["steps"] - steps) // steps_per_epoch(images, int(recipe.batch_images))
        total += 2 * inspect_network(network).macs * (1 + BACKWARD) * shown
        steps = row["steps"]
    if recipe.optimizer == "muon":
        total += steps * muon_flop(network, is_stem_frozen=recipe.whiten)
    return total


def muon_flop(network: Network, *, is_stem_frozen: bool) -> int:
    """FLOPs of one update: for a filter bank of m x n numbers, m the fewer, ROUNDS (4 m^2 n + 2 m^3)."""
    convolutions = [node.op for node in network.nodes if isinstance(node.op, Conv)]
    banks = [op.weight_specs()[0].shape for op in convolutions[is_stem_frozen:]]
    sides = [sorted((out, prod(rest))) for out, *rest in banks]
    return sum(ROUNDS * (4 * m * m * n + 2 * m**3) for m, n in sides)


def matmul_flop_per_s(precision: str) -> float:
    """The machine's rate for one large product of matrices, the best of some."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    a, b = torch.randn(2, PEAK_SIDE, PEAK_SIDE, dtype=getattr(torch, precision))
    best = float("inf")
    for _ in range(PEAK_ROUNDS):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return round(2 * PEAK_SIDE**3 / best)


if __name__ == "__main__":
    main()
