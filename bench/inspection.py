"""Measure how long an exact inspection takes: capture of a torch module, and all of `striate.measure`.

Three questions: ResNet-152 at 224 px within 1 s, and within twice torchinfo's summary where that is installed, each in
turn in this process; time and memory in proportion to the number of layers; an image of 1024 px within 2 GB.

usage: inspection.py [ROUNDS]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tracemalloc
import warnings
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from _record import record, summary

from striate.geometry import Window
from striate.graph import INPUT, Builder, Network, initialise
from striate.graph.from_torch import capture
from striate.graph.to_torch import to_module
from striate.measure import inspect_network
from striate.notation import read
from striate.ops import Activation, AvgPool, BatchNorm, Concat, Conv, GlobalAvgPool, Linear, MaxPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

THREADS = 2
SHAPE = (3, 224, 224)
GOALS = {"seconds": 1.0, "striate / torchinfo": 2.0, "megabytes_1024": 2000}
CHAINS = (50, 500, 1000, 2000, 5000)


def densenet201() -> Network:
    """DenseNet-201 of Huang et al. 2016, arXiv:1608.06993: every layer reads all before it in its block."""
    net = Builder("densenet201", SHAPE)
    one, three = (Window(1),) * 2, (Window(3, pad_lo=1, pad_hi=1),) * 2

    def norm_conv(x: str, name: str, channels: int, windows: tuple[Window, ...]) -> str:
        x = net.add(BatchNorm(net.shape(x)[0]), x, name=f"{name}.norm")
        x = net.add(Activation(), x, name=f"{name}.relu")
        return net.add(Conv(net.shape(x)[0], channels, windows, bias=False), x, name=f"{name}.conv")

    x = net.add(Conv(3, 64, (Window(7, 2, pad_lo=3, pad_hi=3),) * 2, bias=False), INPUT, name="stem")
    x = net.add(MaxPool((Window(3, 2, pad_lo=1, pad_hi=1),) * 2), x, name="pool")
    for block, layers in enumerate((6, 12, 48, 32)):
        parts = [x]
        for i in range(layers):
            x = net.add(Concat(), *parts, name=f"b{block}.{i}.cat") if len(parts) > 1 else parts[0]
            x = norm_conv(x, f"b{block}.{i}.1", 128, one)
            parts.append(norm_conv(x, f"b{block}.{i}.2", 32, three))
        x = net.add(Concat(), *parts, name=f"b{block}.cat")
        if block < 3:
            x = norm_conv(x, f"t{block}", net.shape(x)[0] // 2, one)
            x = net.add(AvgPool((Window(2, 2),) * 2), x, name=f"t{block}.pool")
    x = net.add(GlobalAvgPool(), x, name="gap")
    return net.build(net.add(Linear(net.shape(x)[0], 1000), x, name="fc"))


def chain(layers: int) -> Network:
    """A plain network of so many layers on images of 64 px."""
    return read(f"{layers // 3}x(16C3-BN-R)-GAP-10", (3, 64, 64))


def by_striate(module: nn.Module) -> None:
    """Capture and measure everything."""
    inspect_network(capture(module, SHAPE, with_weights=False))


def by_torchinfo(module: nn.Module) -> None:
    """torchinfo's summary, silent: parameters, shapes and mult-adds, by running the module."""
    from torchinfo import summary as summarise

    summarise(module, input_size=(1, *SHAPE), verbose=0, device="cpu")


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def growth(network: Network, repeats: int = 5) -> dict[str, Any]:
    """Time and memory of the measurement alone."""
    inspect_network(network)
    times = [seconds(lambda: inspect_network(network)) for _ in range(repeats)]
    tracemalloc.start()
    inspect_network(network)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    median = sorted(times)[repeats // 2]
    return {
        "layers": len(network),
        "milliseconds": round(1e3 * median, 2),
        "microseconds_a_layer": round(1e6 * median / len(network), 1),
        "kilobytes_a_layer": round(peak / 1e3 / len(network), 2),
    }


def megabytes_at(px: int) -> float:
    """The most memory of a fresh process that inspects ResNet-152 at this size, Python and NumPy included."""
    code = (
        "from striate.notation import read; from striate.measure import inspect_network; "
        f"inspect_network(read('resnet152', (3, {px}, {px}))); "
        # the kernel's own high-water mark: getrusage would count what the parent had when it forked
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    return round(int(done.stdout) / 1e3, 1)


def main(rounds: int) -> None:
    """Interleave the contenders, measure growth and memory, record."""
    torch.set_num_threads(THREADS)
    warnings.simplefilter("ignore")
    module = to_module(initialise(read("resnet152", SHAPE), 0)).eval()
    contenders = {"striate": by_striate}
    if find_spec("torchinfo"):
        contenders["torchinfo"] = by_torchinfo
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, call in contenders.items():
            spent = seconds(lambda call=call: call(module))  # type: ignore[misc]
            if turn:  # round 0 warms up
                times[name].append(spent)
    results: dict[str, Any] = {name: {"seconds": summary(values)} for name, values in times.items()}
    grown = {str(n): growth(chain(n)) for n in CHAINS}
    named = {name: growth(read(name, SHAPE)) for name in ("resnet18", "resnet50", "resnet152")}
    memory = {str(px): megabytes_at(px) for px in (224, 1024)}
    verdict: dict[str, Any] = {
        "seconds": {"goal": GOALS["seconds"], "met": results["striate"]["seconds"]["median"] <= GOALS["seconds"]},
        "megabytes_1024": {"goal": GOALS["megabytes_1024"], "met": memory["1024"] <= GOALS["megabytes_1024"]},
    }
    ratios = {}
    if "torchinfo" in times:
        pairs = zip(times["striate"], times["torchinfo"], strict=True)
        ratios["striate / torchinfo"] = summary([a / b for a, b in pairs])
        goal = GOALS["striate / torchinfo"]
        met = ratios["striate / torchinfo"]["median"] <= goal
        verdict["striate / torchinfo"] = {"goal": goal, "met": met}
    record(
        "inspection",
        {
            "question": "how long does an exact inspection take, and does it grow in proportion?",
            "network": "resnet152",
            "input": "3x224x224",
            "threads": THREADS,
            "torch": torch.__version__,
            "torchinfo": version("torchinfo") if "torchinfo" in times else None,
            "n": rounds,
            "results": results,
            "ratios": ratios,
            "growth_plain_chain_3x64x64": grown,
            "growth_named_3x224x224": {**named, "densenet201": growth(densenet201())},
            "process_megabytes_resnet152": memory,
            "excluded": ["importing", "building the module", "one warm-up round"],
            "verdict": verdict,
        },
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
