"""Measure whether the shipped model is as fast as the fastest of its peers, at batch 1 and 32, network by network.

striate is the setting that `striate bench --save` would choose: the fastest of the installed engines' settings in
rounds of their own before, whose numbers are not reported. "striate, onnxruntime" is the fastest one without extras.
The peers, all told to use as many threads as there are cores, with their other settings as they come:
  torch eager, torch.fx fuse, torch.compile (with freezing), all in channels_last, on the network as it was trained
  ONNX Runtime and (where installed) OpenVINO on torch.onnx's export
Each contender is a process of its own. One round = every contender in turn, in an order drawn anew. A ratio compares
two speeds of one round. "matrix product" is the machine's peak: float32 products of 2048 x 2048 with all cores.
usage: shipped.py [--rounds N] [--turn SECONDS] [--select SECONDS] [NETWORK ...]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from contextlib import ExitStack
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _record import record, summary

from striate.artifact import About, golden_case, load, write
from striate.data.preprocess import Preprocessing
from striate.graph import initialise
from striate.graph.reference import output
from striate.jobs.benchmarking import WORKER, Contender, Worker, benchmark
from striate.measure import inspect_network
from striate.notation import read as read_notation
from striate.rewrite import rewrite
from striate.runtime import Engine, Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from striate.graph import Network

    Run = Callable[[np.ndarray], np.ndarray]

SMALL28 = "32C3-BN-R-32C3-BN-R-MP2-64C3-BN-R-64C3-BN-R-MP2-F-10"
NETWORKS: dict[str, tuple[str, tuple[int, int, int]]] = {
    "small28": (SMALL28, (1, 28, 28)),
    "resnet18_32": ("resnet18", (3, 32, 32)),
    "resnet18_224": ("resnet18", (3, 224, 224)),
    "mobilenet_v2_224": ("mobilenet_v2", (3, 224, 224)),
}
BATCHES, START_S, ASK_S = (1, 32), 300.0, 120.0
THREADS = len(os.sched_getaffinity(0))
EXPORTED, OPENVINO, PRODUCT = "onnxruntime on torch.onnx", "openvino on torch.onnx", "matrix product"
PEERS = ("torch eager", "torch.fx fuse", "torch.compile", EXPORTED, OPENVINO)
OURS, BASE = "striate", "striate, onnxruntime"
GOAL_OF_FASTEST, GOAL_OF_EXPORTED = 1.0, 1.1
SIDE = 2048


def prepare(name: str, folder: Path) -> Network:
    """Write model.onnx as striate ships it, export.onnx as torch does, weights.safetensors; return the original.

    Weights are drawn at random; running statistics are those of random images.
    """
    import torch
    from safetensors.torch import save_file

    from striate.graph.to_torch import to_module

    spelled, shape = NETWORKS[name]
    module = to_module(initialise(read_notation(spelled, shape, 10), seed=0))
    images = torch.randn(4, 8, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for batch in images:
            module(batch)
    module.eval()
    save_file(module.state_dict(), folder / "weights.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example, free = (torch.zeros(1, *shape),), {"x": {0: "N"}}
        torch.onnx.export(module, example, folder / "export.onnx", dynamo=False, input_names=["x"], dynamic_axes=free)
    original = module.trained().astype(np.float64)
    ship(original, shape, folder / "model.onnx")
    return original


def ship(original: Network, shape: tuple[int, int, int], path: Path) -> None:
    """The network as striate ships it: folded in float64, rounded once, with a golden case."""
    pre = Preprocessing(*shape, "crop", (0.5,) * shape[0], (0.25,) * shape[0])
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    x = (pixels[None] * pre.scale[:, None, None] + pre.shift[:, None, None]).astype(np.float32)
    logits = output(original, x.astype(np.float64))[0]
    about = About(
        network=original.name,
        classes=tuple("0123456789"),
        preprocessing=pre.to_json(),
        created="2026-01-01T00:00:00+00:00",
        golden=(golden_case(pixels, pre, logits),),
        golden_bound=1e-4 * float(np.abs(logits).max()),
    )
    write(path, rewrite(original).network.astype(np.float32), about)


def peer(name: str, network: str, folder: Path) -> Run:
    """A peer, opened in this process."""
    if name == EXPORTED:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = THREADS
        session = ort.InferenceSession(folder / "export.onnx", options, providers=["CPUExecutionProvider"])
        return lambda x: session.run(None, {"x": x})[0]
    if name == OPENVINO:
        import openvino

        compiled = openvino.Core().compile_model(folder / "export.onnx", "CPU", {"INFERENCE_NUM_THREADS": THREADS})
        return lambda x: compiled({0: x})[0]
    if name == PRODUCT:
        return matrix_product()
    return torch_peer(name, network, folder)


def torch_peer(name: str, network: str, folder: Path) -> Run:
    """The trained module, batch normalisation and all, as torch runs it best; its images are converted beforehand."""
    import torch
    from safetensors.torch import load_file
    from torch.fx.experimental import optimization

    from striate.graph.to_torch import to_module

    torch.set_num_threads(THREADS)
    spelled, shape = NETWORKS[network]
    module = to_module(initialise(read_notation(spelled, shape, 10), seed=0))
    module.load_state_dict(load_file(folder / "weights.safetensors"))
    module = module.eval().to(memory_format=torch.channels_last)
    if name == "torch.fx fuse":
        module = optimization.fuse(module)
    if name == "torch.compile":
        module = torch.compile(module, dynamic=False, options={"freezing": True})
    images: dict[int, torch.Tensor] = {}

    def run(x: np.ndarray) -> np.ndarray:
        if len(x) not in images:
            images[len(x)] = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            return module(images[len(x)]).numpy()

    return run


def matrix_product() -> Run:
    """Two square matrices multiplied by torch, or by NumPy where that is faster."""
    import torch

    torch.set_num_threads(THREADS)
    a, b = np.random.default_rng(0).standard_normal((2, SIDE, SIDE)).astype(np.float32)
    s, t = torch.from_numpy(a), torch.from_numpy(b)
    ways: tuple[Callable[[], Any], ...] = (lambda: a @ b, lambda: s @ t)

    def seconds(way: Callable[[], Any]) -> float:
        way()
        start = time.perf_counter()
        way()
        return time.perf_counter() - start

    fastest = min(ways, key=seconds)
    return lambda _: fastest()


def serve_peer() -> None:
    """The other end of a Worker, for a peer."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    run = peer(request["peer"], request["network"], Path(request["folder"]))
    x = batch_of(NETWORKS[request["network"]][1], request["batch"])
    logits = np.asarray(run(x)[0], np.float64)
    print(json.dumps({"ready": True, "logits": logits.tolist()}), file=answers)
    answers.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        run(x)
        calls, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < asked["seconds"] or not calls:
            run(x)
            calls += 1
        print(json.dumps({"images_per_s": calls * len(x) / elapsed}), file=answers)
        answers.flush()


def batch_of(shape: tuple[int, int, int], size: int) -> np.ndarray:
    """The same normalised images for every contender; the first one is the same in every batch."""
    return np.random.default_rng(0).standard_normal((size, *shape)).astype(np.float32)


def measure(name: str, folder: Path, rounds: int, turn_s: float, select_s: float) -> dict[str, Any]:
    """Choose our setting for each batch size, then measure it beside the peers."""
    original = prepare(name, folder)
    x = batch_of(NETWORKS[name][1], 1)
    exact = output(original, x.astype(np.float64))
    model = folder / "model.onnx"
    found = benchmark(model, BATCHES, select_s, peers=False)
    base = benchmark(model, BATCHES, select_s, engines=("onnxruntime",), peers=False)
    macs = inspect_network(original).macs
    results: dict[str, Any] = {"macs": macs, "left out": list(found.notes)}
    for batch in BATCHES:
        ours = {OURS: found, BASE: base}
        settings = {
            key: fastest.contender.setting for key, one in ours.items() if (fastest := one.fastest(batch, "alone"))
        }
        speeds, errors, faults = race(name, folder, batch, settings, rounds, turn_s, exact)
        for key, setting in settings.items():
            engine = Engine(load(model), setting.threads, engine=setting.engine, spinning=setting.spinning)
            errors[key] = float(np.abs(engine.logits(x) - exact).max())
        results[f"batch {batch}"] = {
            "settings": {key: str(setting) for key, setting in settings.items()},
            **reported(speeds, batch, macs),
            "largest_error_against_float64": {key: float(f"{error:.2g}") for key, error in errors.items()},
            "absent": faults,
        }
    return results


def race(
    name: str, folder: Path, batch: int, settings: Mapping[str, Setting], rounds: int, turn_s: float, exact: np.ndarray
) -> tuple[dict[str, list[float]], dict[str, float], dict[str, str]]:
    """Speeds of every contender, round by round; errors of the peers; who could not start, and why."""
    speeds: dict[str, list[float]] = {}
    errors: dict[str, float] = {}
    faults: dict[str, str] = {}
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for key, setting in settings.items():
            request = Contender(setting, (batch,)).request(folder / "model.onnx")
            workers[key] = stack.enter_context(Worker(WORKER, request))
            faults[key] = workers[key].wait_until_ready(START_S)
        for key in (*PEERS, PRODUCT):
            if key == OPENVINO and find_spec("openvino") is None:
                faults[key] = "not installed"
                continue
            request = {"peer": key, "network": name, "folder": str(folder), "batch": batch}
            workers[key] = stack.enter_context(Worker((sys.executable, __file__, "--peer"), request))
            answer = workers[key].ask(request, START_S) or {"fault": f"not ready in {START_S:.0f} s"}
            faults[key] = answer.get("fault", "")
            if key != PRODUCT and not faults[key]:
                errors[key] = float(np.abs(np.array(answer["logits"]) - exact[0]).max())
        running = [key for key in workers if not faults[key]]
        for number in range(rounds + 1):
            for key in np.random.default_rng(number).permutation(running):
                answer = workers[key].ask({"batch": batch, "seconds": turn_s}, ASK_S) or {}
                if number:  # round 0 warms up
                    speeds.setdefault(str(key), []).append(answer["images_per_s"])
    return speeds, errors, {key: fault for key, fault in faults.items() if fault}


def reported(speeds: dict[str, list[float]], batch: int, macs: int) -> dict[str, Any]:
    """Summaries, ratios round by round, and shares of the peak."""
    products = speeds.pop(PRODUCT)
    gflops = [2e-9 * SIDE**3 * per_s / batch for per_s in products]
    peers = [key for key in PEERS if key in speeds]
    fastest = max(peers, key=lambda key: np.median(speeds[key]))
    pairs = [(OURS, key) for key in peers] + [(BASE, EXPORTED), (BASE, fastest)]
    ratios = {f"{a} / {b}": summary([p / q for p, q in zip(speeds[a], speeds[b], strict=True)]) for a, b in pairs}
    of_fastest, of_exported = (ratios[f"{OURS} / {key}"]["median"] for key in (fastest, EXPORTED))
    return {
        "images_per_s": {key: summary(values) for key, values in speeds.items()},
        "ms_per_batch": {key: round(1000 * batch / float(np.median(values)), 4) for key, values in speeds.items()},
        "fastest_peer": fastest,
        "ratios": ratios,
        "matrix_product_gflop_per_s": summary(gflops),
        "share_of_matrix_product": {
            key: round(2e-9 * macs * float(np.median(values)) / float(np.median(gflops)), 3)
            for key, values in speeds.items()
        },
        "met": {
            f">= {GOAL_OF_FASTEST} of the fastest peer": of_fastest >= GOAL_OF_FASTEST,
            f"> {GOAL_OF_EXPORTED} of {EXPORTED}": of_exported > GOAL_OF_EXPORTED,
        },
    }


def main(arguments: argparse.Namespace) -> None:
    """One result file a network."""
    for name in arguments.network or NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            results = measure(name, Path(folder), arguments.rounds, arguments.turn, arguments.select)
        packages = [p for p in ("torch", "onnxruntime", "openvino", "ncnn") if find_spec(p)]
        record(
            f"shipped_{name}",
            {
                "question": __doc__.splitlines()[0] if __doc__ else "",
                "network": NETWORKS[name][0],
                "input": "x".join(map(str, NETWORKS[name][1])) + ", already normalised",
                "threads": THREADS,
                "versions": {package: version(package) for package in packages},
                "dtype": "float32",
                "n": arguments.rounds,
                "turn_s": arguments.turn,
                "goal": f"{OURS} >= {GOAL_OF_FASTEST} of the fastest peer",
                "results": results,
                "excluded": [
                    "loading and checking the file, building sessions, compiling",
                    "the rounds that chose the setting, one warm-up round, and the first call of each turn",
                    "decoding and normalising images, softmax; for torch, converting the images to channels_last",
                ],
                "share": "2 x MACs of direct convolution / matrix product; Winograd needs fewer and may exceed 1",
            },
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=(__doc__ or "").splitlines()[-1])
    parser.add_argument("network", nargs="*", choices=[[], *NETWORKS])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--turn", type=float, default=0.4)
    parser.add_argument("--select", type=float, default=40.0)
    parser.add_argument("--peer", action="store_true")
    chosen = parser.parse_args()
    if chosen.peer:
        serve_peer()
    else:
        main(chosen)
