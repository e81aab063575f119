"""Measure what a second process is worth: images/s of 2 processes with 1 thread each beside 1 process.

one  1 process, 1 thread
two  1 process, 2 threads
pair 2 processes under torchrun, 1 thread each, gloo on the loopback

One round = the second of two epochs of the sample's images (35 steps of 128) in each, in turn, in new processes; the
order rotates. What is exchanged a step is computed beside, for projections.
usage: scaling.py [ROUNDS]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from _record import record, summary

NETWORK = "32C3-BN-R-32C3-BN-R-MP2-64C3-BN-R-64C3-BN-R-MP2-F-10"
BATCH = 128
CONTENDERS = {"one": (1, 1), "two": (1, 2), "pair": (2, 1)}  # processes, threads of each
GOAL = 0.85  # of the images/s of `one`, twice, where two cores are free


def command(processes: int, threads: int, out: Path) -> list[str]:
    """`striate train`, under torchrun where there are several."""
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", str(processes)]
        launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1"]
    options = ["--net", NETWORK, "--epochs", "2", "--batch", str(BATCH), "--threads", str(threads), "--device", "cpu"]
    fixed = ["--set", "checkpoint_seconds=86400", "--set", "compile=false", "--set", "channels_last=true"]
    return [*launcher, "-m", "striate", "train", "sample", *options, *fixed, "--out", str(out), "--json"]


def images_per_s(processes: int, threads: int) -> float:
    """Of the second epoch, in which nothing is new."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        environ = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": str(threads)}
        subprocess.run(command(processes, threads, out), env=environ, check=True, capture_output=True)
        return float(json.loads((out / "timing.jsonl").read_text().splitlines()[-1])["images_per_s"])


def exchanged() -> dict[str, int]:
    """Numbers that a step exchanges: every trained parameter once, each BatchNorm twice its channels both ways."""
    from striate.graph import initialise, to_torch
    from striate.jobs.spelled import spelled_network
    from striate.train.norms.policy import live

    module = to_torch.to_module(initialise(spelled_network(NETWORK, (1, 28, 28), 10), 0))
    parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return {"parameters": parameters, "batch_norm_channels": sum(norm.num_features for _, norm in live(module))}


def main() -> None:
    """Take the rounds and record them."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    taken: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    names = list(CONTENDERS)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            taken[name].append(images_per_s(*CONTENDERS[name]))
    results = {name: {"images_per_s": summary(values)} for name, values in taken.items()}
    middle = {name: found["images_per_s"]["median"] for name, found in results.items()}
    efficiency = middle["pair"] / (2 * middle["one"])
    record(
        "scaling",
        {
            "question": "How many images a second do 2 processes of 1 thread train, beside 1 process?",
            "network": NETWORK,
            "batch_images": BATCH,
            "n": rounds,
            "results": results,
            "exchanged": exchanged(),
            "efficiency": round(efficiency, 3),
            "pair / two": round(middle["pair"] / middle["two"], 3),
            "excluded": "starting, loading, the first epoch, validation",
            "verdict": {"target": GOAL, "met": efficiency >= GOAL},
        },
    )


if __name__ == "__main__":
    main()
