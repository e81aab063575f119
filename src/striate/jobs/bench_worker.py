"""One contender of a benchmark in a process of its own: answers lines of JSON with lines of JSON.

The first line says what to open, {"model": path, "setting": {...}} or {"model": path, "peer": name, "threads": n}, and
for which "batches"; the answer is {"ready": true} or {"fault": why}. Each following line, {"batch": n, "seconds": s},
is answered by {"images_per_s": speed, "peak_mb": memory}. The process ends with its input.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from striate.artifact import Artifact, load
from striate.errors import StriateError
from striate.runtime import Engine, self_test
from striate.runtime.engines.setting import Batch

Run = Callable[[Batch], Any]


def main() -> None:
    """Serve one parent; what libraries print goes to standard error, so that it never mixes with the answers."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    request = json.loads(sys.stdin.readline())
    artifact = load(Path(request["model"]))
    batches = {size: _batch(artifact, size) for size in request["batches"]}
    try:
        run = _opened(artifact, request)
        for x in batches.values():
            run(x)  # compiles, allocates
    except StriateError as fault:
        answer(fault=str(fault))
        return
    except Exception as fault:  # noqa: BLE001 - whatever another library says is that contender's result
        answer(fault=f"{type(fault).__name__}: {' '.join(str(fault).split())[:200]}")
        return
    answer(ready=True)
    for line in sys.stdin:
        asked = json.loads(line)
        speed = images_per_s(run, batches[asked["batch"]], asked["seconds"])
        answer(images_per_s=speed, peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def images_per_s(run: Run, x: Batch, seconds: float) -> float:
    """Calls for about `seconds`, at least one; the first call wakes the threads and is not counted."""
    run(x)
    calls, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or not calls:
        run(x)
        calls += 1
    return calls * len(x) / elapsed


def _opened(artifact: Artifact, request: dict[str, Any]) -> Run:
    """The contender, which must pass the golden self-test if it is an engine of ours."""
    if "peer" in request:
        from striate.jobs.torch_peers import open_peer

        return open_peer(artifact.network, request["peer"], request["threads"])
    engine = Engine(artifact, **request["setting"])
    self_test(engine, engine.manifest)
    return engine.logits


def _batch(artifact: Artifact, size: int) -> Batch:
    """Random pixels, the same for every contender, as the model's input takes them."""
    shape = artifact.manifest.prepared().shape
    pixels = np.random.default_rng(size).integers(0, 256, (size, *shape), np.uint8)
    return artifact.manifest.input_of(pixels)


if __name__ == "__main__":
    main()
