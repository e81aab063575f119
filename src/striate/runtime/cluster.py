"""Prediction over a Ray cluster with Ray Data: the same batches, each decoded and run by one actor of one CPU.

The cluster's machines must see the images under the same paths, in the same folder as the one who asks. Ray itself
moves values between its own processes with pickle; the model travels as its bytes, and each actor checks them as a
model file is always checked, and passes the self-test, before its first answer.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from itertools import islice
from pathlib import Path
from typing import Any

from striate.artifact import Artifact
from striate.artifact.read import checked
from striate.data import batches
from striate.errors import DataError, StriateError, UsageError
from striate.runtime.engine import Engine
from striate.runtime.predict import Work, classify, versions
from striate.runtime.results import Batch, from_line, to_line
from striate.runtime.self_test import self_test

UNITS_PER_TASK = 8  # some 0.1 s of work on a small network: Ray's own cost of a task is a few ms
TASKS_PER_ACTOR = 4  # at least, so that the actors end at about the same time
BLOCK_BYTES = 2**16  # of results that an actor keeps before it passes them on
ENGINE = "onnxruntime"
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray reports its use to its makers otherwise
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


def run_on_cluster(
    artifact: Artifact, work: Iterable[Work], batch_images: int, actors: int | None = None
) -> Iterator[Batch]:
    """The results of each batch, in order: what `predict.run` gives, to the bit.

    actors: processes of one CPU each; all the cluster's CPUs by default

    The cluster is the one that the environment's RAY_ADDRESS names, or the one that this process is connected to, or
    else one on this machine for as long as it takes. The names of all images are in this process's memory.
    Raises: UsageError where Ray is not installed or the cluster has fewer CPUs; DataError as `predict.run`, naming
    what a machine of the cluster found.
    """
    ray = _ray()
    items = [{"unit": json.dumps([str(path) for path in unit]), "done": done} for unit, done in work]
    if not items:
        return
    with _cluster(ray, actors) as count:
        tasks = max(len(items) // UNITS_PER_TASK, min(len(items), TASKS_PER_ACTOR * count))
        settings = (ray.put(artifact.model_bytes), batch_images, str(Path.cwd()), versions(ENGINE))
        answers = ray.data.from_items(items, override_num_blocks=tasks).map_batches(
            _Actor,
            fn_constructor_args=settings,
            batch_size=1,
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=count),
        )
        try:
            for row in answers.iter_rows():
                if row["fault"]:
                    raise DataError(row["fault"])
                yield from_line(row["line"])
        except ray.exceptions.RayError as fault:
            raise DataError(
                f"predict: the cluster failed ({_one_line(fault)}); run the same command again, with --out it continues"
            ) from fault


class _Actor:
    """One process of the cluster: an engine of one thread, made when the first unit comes."""

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - Ray's handle of the bytes
        batch_images: int,
        folder: str,
        versions_there: dict[str, str],
    ) -> None:
        self.model, self.batch_images, self.folder, self.versions = model, batch_images, folder, versions_there
        self.engine: Engine | None = None

    def __call__(self, units: Mapping[str, Any]) -> Iterator[dict[str, list[str]]]:
        """The results of the units' batches as lines; a fault ends them, as a value, since Ray would try again."""
        try:
            engine = self.engine = self.engine or self._opened()
            for text, done in zip(units["unit"], units["done"], strict=True):
                unit = tuple(map(Path, json.loads(text)))
                for batch in islice(batches(unit, self.batch_images), int(done), None):
                    yield {"line": [to_line(classify(engine, batch))], "fault": [""]}
        except StriateError as fault:
            yield {"line": [""], "fault": [str(fault)]}

    def _opened(self) -> Engine:
        try:
            os.chdir(self.folder)
        except OSError as fault:
            raise DataError(
                f"{self.folder}: cannot be entered on a machine of the cluster ({fault.strerror}); every machine must "
                "see the images under the same paths"
            ) from fault
        if (here := versions(ENGINE)) != self.versions:
            raise DataError(
                f"a machine of the cluster has {here}, this one {self.versions}; install the same on all, since the "
                "answers could differ"
            )
        engine = Engine(checked(_ray().get(self.model)), 1, engine=ENGINE)
        self_test(engine, engine.manifest)
        return engine


@contextmanager
def _cluster(ray: Any, actors: int | None) -> Iterator[int]:  # noqa: ANN401 - a module without types
    """A connection, and the number of actors; a cluster that was begun here ends here."""
    was_connected = ray.is_initialized()
    if not was_connected:
        _connect(ray, actors)
    try:
        has = int(ray.cluster_resources().get("CPU", 0))
        if has < (actors or 1):
            raise UsageError(f"predict: {actors or 1} actors need a CPU each, the cluster has {has}; ask for fewer")
        with _set_up(ray.data.DataContext.get_current()):
            yield actors or has
    finally:
        if not was_connected:
            ray.shutdown()


def _connect(ray: Any, actors: int | None) -> None:  # noqa: ANN401 - a module without types
    """Join the cluster of RAY_ADDRESS, or begin one on this machine.  Raises: UsageError."""
    address = os.environ.get("RAY_ADDRESS")
    # Without "local" Ray would join whatever cluster was begun on this machine last.
    begin = {"address": "local", "include_dashboard": False, "num_cpus": actors or len(os.sched_getaffinity(0))}
    try:
        ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **({"address": address} if address else begin))
    except Exception as fault:  # Ray's own family, ConnectionError, RuntimeError and ValueError
        raise UsageError(
            f"predict: Ray's cluster at {address or 'this machine'} cannot be used ({_one_line(fault)}); check that it "
            "runs, RAY_ADDRESS, and the token if it asks for one, or leave --ray out"
        ) from fault


def _one_line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:200]


@contextmanager
def _set_up(context: Any) -> Iterator[None]:  # noqa: ANN401 - of a module without types
    """Results in order and in small blocks, no bars; put back as it was, for it is the whole process's."""
    options, bars, block_bytes = context.execution_options, context.enable_progress_bars, context.target_max_block_size
    context.execution_options = copy(options)
    context.execution_options.preserve_order = True
    context.enable_progress_bars, context.target_max_block_size = False, BLOCK_BYTES
    try:
        yield
    finally:
        context.execution_options = options
        context.enable_progress_bars, context.target_max_block_size = bars, block_bytes


def _ray() -> Any:  # noqa: ANN401 - a module without types
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray  # noqa: PLC0415 - an extra, loaded when a cluster is wanted
        import ray.data  # noqa: PLC0415
    except ImportError:
        raise UsageError(
            "predict: a cluster needs Ray Data, which is not installed; pip install 'striate[ray]', or leave --ray out"
        ) from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray
