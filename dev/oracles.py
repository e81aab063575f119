"""Check `striate.measure` on random networks against what running them shows.

Each seed gives one network (tests/measure/random_graphs.py). Checked: for every tensor the exact sets on both axes
against a NaN probe, three units' two-dimensional masks against the gradient, the affine form against the sets, the
local view against the network without gates; and, with max pools and norms by the image, the NaN probe again, in NumPy
and in torch.

usage: oracles.py [--networks N] [--first SEED]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from measure.oracles import faults, nan_faults, torch_faults
from measure.random_graphs import random_graph


def main(networks: int, first: int) -> int:
    """Check the networks and return how many disagree."""
    kinds: Counter[str] = Counter()
    layers = tensors = wrong = 0
    start = time.perf_counter()
    for seed in range(first, first + networks):
        network = random_graph(seed)
        other = random_graph(seed, replaced=True)
        found = [*faults(network, seed), *nan_faults(other), *torch_faults(other)]
        kinds.update(node.op.kind for node in other)
        layers = max(layers, len(network))
        tensors += len(network)
        wrong += bool(found)
        for fault in found[:3]:
            print(f"seed {seed}: {fault}")
    seconds = time.perf_counter() - start
    print(f"{networks:,} networks from seed {first}: {tensors:,} tensors, up to {layers} layers, {seconds:.0f} s")
    print(", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common()))
    print(f"networks that disagree: {wrong}")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    sys.exit(1 if main(options.networks, options.first) else 0)
