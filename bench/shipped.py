"""Measure whether the shipped model is at least as fast as torch eager, torch.fx fuse and torch.compile.

One process, 2 threads for each contender, batch 1 and 32. One round = every contender in turn, each for about as
many milliseconds, in an order drawn anew (a contender's threads may still spin when the next one starts). A ratio
compares the two speeds of one round. "striate" is `Engine` with its defaults.
usage: shipped.py [ROUNDS]
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
import torch
from _record import record, summary
from torch import nn
from torch.fx.experimental import optimization

from striate.artifact import About, load, write
from striate.data.preprocess import Preprocessing
from striate.graph.from_torch import capture
from striate.graph.reference import output
from striate.rewrite import rewrite
from striate.runtime import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[], np.ndarray]

NETWORK = "32C3-BN-R-32C3-BN-R-MP2-64C3-BN-R-64C3-BN-R-MP2-F-10"
SHAPE = (1, 28, 28)
BATCHES, THREADS, TURN_S = (1, 32), 2, 0.15
PEERS = ("torch eager", "torch eager channels_last", "torch.fx fuse", "torch.compile")
EXPORTED = "ONNX Runtime on torch.onnx's export"
OURS, SPINNING = "striate", "striate, spinning"
GOAL = 1.0  # times the speed of each peer


def network() -> nn.Module:
    """NETWORK in plain torch, with running statistics as training leaves them."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    torch.manual_seed(0)
    module = nn.Sequential(
        *block(1, 32), *block(32, 32), nn.MaxPool2d(2), *block(32, 64), *block(64, 64), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(7 * 7 * 64, 10),
    )  # fmt: skip
    with torch.no_grad():
        for _ in range(20):
            module(torch.randn(64, *SHAPE))
    return module.eval()


def artifact(module: nn.Module, path: Path) -> None:
    """The module as striate ships it: folded in float64, rounded once."""
    folded = rewrite(capture(module, SHAPE).astype(np.float64)).network.astype(np.float32)
    preprocessing = Preprocessing(*SHAPE, "crop", (0.5,), (0.25,)).to_json()
    about = About(
        network=NETWORK, classes=tuple("0123456789"), preprocessing=preprocessing, created="2026-01-01T00:00:00+00:00"
    )
    write(path, folded, about)


def torch_run(module: nn.Module, x: np.ndarray, *, channels_last: bool = False) -> Run:
    """A torch module on a batch that lies in memory as the module likes it."""
    batch = torch.from_numpy(x)
    if channels_last:
        batch = batch.contiguous(memory_format=torch.channels_last)

    def run() -> np.ndarray:
        with torch.inference_mode():
            return module(batch).numpy()

    return run


def exported_run(module: nn.Module, x: np.ndarray, folder: Path) -> Run:
    """ONNX Runtime as most people use it; only the number of threads is set."""
    path = folder / "exported.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = (torch.zeros(1, *SHAPE),)
        torch.onnx.export(module, example, path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "N"}})
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0]


def contenders(module: nn.Module, x: np.ndarray, folder: Path) -> dict[str, Run]:
    """Everything that computes the same logits for `x`, by name."""
    engines = {spinning: Engine(load(folder / "model.onnx"), THREADS, spinning=spinning) for spinning in (True, False)}
    last = network().to(memory_format=torch.channels_last)
    return {
        OURS: lambda: engines[False].logits(x),
        SPINNING: lambda: engines[True].logits(x),
        "torch eager": torch_run(module, x),
        "torch eager channels_last": torch_run(last, x, channels_last=True),
        "torch.fx fuse": torch_run(optimization.fuse(module), x),
        "torch.compile": torch_run(torch.compile(network()), x),
        EXPORTED: exported_run(module, x, folder),
    }


def images_per_s(run: Run, batch: int) -> float:
    """Calls for about TURN_S seconds; the first call wakes this contender's threads and is not counted."""
    run()
    calls, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < TURN_S:
        run()
        calls += 1
    return calls * batch / elapsed


def measure(batch: int, rounds: int, folder: Path) -> dict[str, object]:
    """Speeds, errors and ratios at one batch size."""
    module = network()
    x = np.random.default_rng(batch).standard_normal((batch, *SHAPE)).astype(np.float32)
    runs = contenders(module, x, folder)
    exact = output(capture(module, SHAPE).astype(np.float64), x.astype(np.float64))
    errors = {name: float(np.abs(run() - exact).max()) for name, run in runs.items()}
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for turn in range(rounds + 1):
        for name in np.random.default_rng(turn).permutation(names):
            speed = images_per_s(runs[name], batch)
            if turn:  # round 0 warms up
                speeds[name].append(speed)
    pairs = [*((OURS, peer) for peer in (*PEERS, EXPORTED)), (SPINNING, EXPORTED)]
    ratios = {f"{a} / {b}": summary([p / q for p, q in zip(speeds[a], speeds[b], strict=True)]) for a, b in pairs}
    return {
        "images_per_s": {name: summary(values) for name, values in speeds.items()},
        "ms_per_batch": {name: round(1000 * batch / summary(values)["median"], 4) for name, values in speeds.items()},
        "largest_error_against_float64": {name: float(f"{error:.2g}") for name, error in errors.items()},
        "ratios": ratios,
        "met": all(ratios[f"{OURS} / {peer}"]["median"] >= GOAL for peer in PEERS),
    }


def main(rounds: int) -> None:
    """Ship once, measure every batch size, record."""
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        artifact(network(), folder / "model.onnx")
        results = {f"batch {batch}": measure(batch, rounds, folder) for batch in BATCHES}
    record(
        "shipped",
        {
            "question": __doc__.splitlines()[0] if __doc__ else "",
            "network": NETWORK,
            "input": "1x28x28, already normalised",
            "threads": THREADS,
            "torch": torch.__version__,
            "onnxruntime": ort.__version__,
            "dtype": "float32",
            "n": rounds,
            "goal": f"striate at least {GOAL} times each of {', '.join(PEERS)}",
            "results": results,
            "excluded": [
                "loading and checking the file, building sessions",
                "torch.compile's compilation",
                "one warm-up round, and the first call of each turn",
                "decoding and normalising images, softmax",
            ],
        },
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
