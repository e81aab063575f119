"""Which engine, how many threads and which batch are fastest for a model on this machine? Measured, not guessed."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from striate.artifact import load
from striate.errors import UsageError
from striate.jobs.torch_peers import PEERS
from striate.runtime.engines import ENGINES, Setting, is_installed, version
from striate.runtime.saved import Fastest, Machine, Use, save, this_machine
from striate.verify import Tell, silent

BATCHES = (1, 8, 32)  # a request, what predict takes, what keeps all cores busy
SMALL_PART = 4  # images whose activations may still lie in a core's cache
MIN_ROUNDS, MAX_ROUNDS = 3, 15
MIN_TURN_S = 0.05
START_S = 120.0  # for one contender to load, compile and compute its first batches
WORKER = (sys.executable, "-m", "striate.jobs.bench_worker")


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of running the model: an engine's setting, or a peer of torch with its threads; and for which batches."""

    setting: Setting
    batches: tuple[int, ...]
    is_peer: bool = False

    def __str__(self) -> str:
        return str(self.setting)

    def request(self, model: Path) -> dict[str, Any]:
        """What its process is asked to open."""
        what: dict[str, Any] = {"setting": asdict(self.setting)}
        if self.is_peer:
            what = {"peer": self.setting.engine, "threads": self.setting.threads}
        return {"model": str(model), "batches": list(self.batches), **what}


@dataclass(frozen=True, slots=True)
class Row:
    """One contender at one batch size, over all rounds.

    spread: the middle half of the rounds lies within this share of the median; of_best: its median speed in units of
    the fastest one's at this batch size; peak_mb: of its process, with all batch sizes
    """

    contender: Contender
    batch_images: int
    images_per_s: float
    spread: float
    of_best: float
    peak_mb: float

    @property
    def ms(self) -> float:
        """Milliseconds for one batch."""
        return 1000 * self.batch_images / self.images_per_s


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What was measured. rows: fastest first, one batch size after the other; notes: who did not take part, and why."""

    model: Path
    machine: Machine
    rounds: int
    turn_seconds: float
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def total_mb(self) -> float:
        """All processes together; they stay loaded until the end."""
        return sum({row.contender: row.peak_mb for row in self.rows}.values())

    def fastest(self, batch_images: int, use: Use) -> Row | None:
        """The fastest engine of ours at a batch size: with the machine to itself, or as one of a caller a core."""
        for row in self.rows:
            setting = row.contender.setting
            beside = setting.threads == 1 and setting.part_images is None
            if row.batch_images == batch_images and not row.contender.is_peer and (use == "alone" or beside):
                return row
        return None


def benchmark(
    model: Path,
    batches: Sequence[int] = BATCHES,
    seconds: float = 60.0,
    engines: Sequence[str] = (),
    peers: bool = True,
    tell: Tell = silent,
) -> Benchmark:
    """Measure every engine, setting and peer of `contenders` on the model; each in a process of its own, in rounds.

    One round is every contender in turn, in an order drawn anew, so that a busy moment of the machine meets them all.
    seconds: for all rounds; at least `MIN_ROUNDS` are run, however long. Starting comes before.
    engines: those named only; all that are installed by default.
    An engine takes part only if it passes the golden self-test.
    Raises: ArtifactError on the model; UsageError on batches, seconds or engines that cannot be.
    """
    if min(batches, default=0) < 1 or not seconds > 0:
        raise UsageError(f"bench: batches {tuple(batches)} for {seconds:g} s; use sizes from 1, and some seconds")
    if foreign := [name for name in engines if name not in ENGINES]:
        raise UsageError(f"bench: there is no engine {foreign[0]!r}; use some of {', '.join(ENGINES)}")
    load(model)
    machine = this_machine()
    chosen, notes = contenders(batches, machine.cores, engines, peers)
    with ExitStack() as stack:
        running: dict[Contender, Worker] = {}
        for number, contender in enumerate(chosen, start=1):
            worker = stack.enter_context(Worker(WORKER, contender.request(model)))
            fault = worker.wait_until_ready(START_S)
            if fault:
                notes.append(f"{contender}: left out: {fault}")
                worker.close()
            else:
                running[contender] = worker
            tell(number, 2 * len(chosen))
        if not running:
            raise UsageError(f"bench: no engine ran; {'; '.join(notes)}")
        taken = _rounds(running, seconds, lambda share: tell(len(chosen) + int(share * len(chosen)), 2 * len(chosen)))
    return Benchmark(model, machine, taken.rounds, taken.turn_seconds, _rows(taken, tuple(batches)), tuple(notes))


def contenders(
    batches: Sequence[int], cores: int, engines: Sequence[str] = (), peers: bool = True
) -> tuple[list[Contender], list[str]]:
    """All settings to measure, and a line for each engine or peer that is not installed.

    Threads: powers of two up to the cores, and all cores. Spinning where the engine lets it be chosen. Batches of more
    than one image also in parts: one a thread, and of `SMALL_PART` images.
    """
    chosen: list[Contender] = []
    notes = [
        f"{name}: not installed; pip install 'striate[{ENGINES[name].extra}]'"
        for name in engines or ENGINES
        if not is_installed(name)
    ]
    for name in [n for n in engines or ENGINES if is_installed(n)]:
        chosen += [Contender(setting, tuple(batches)) for setting in _shared(name, cores)]
        chosen += [Contender(Setting(name, cores, part_images=n), sizes) for n, sizes in _parts(batches, cores)]
    if peers and find_spec("torch") is None:
        notes.append("torch eager, torch.fx fuse, torch.compile: not installed; pip install 'striate[train]'")
    elif peers:
        chosen += [Contender(Setting(name, cores), tuple(batches), is_peer=True) for name in PEERS]
    return chosen, notes


def _shared(engine: str, cores: int) -> Iterable[Setting]:
    """All threads in each layer."""
    powers = (2**i for i in range(cores.bit_length()))
    for threads in sorted({*(n for n in powers if n <= cores), cores}):
        yield Setting(engine, threads)
        if threads > 1 and ENGINES[engine].spins:
            yield Setting(engine, threads, spinning=True)


def _parts(batches: Sequence[int], cores: int) -> Iterable[tuple[int, tuple[int, ...]]]:
    """Part sizes, each with the batch sizes it is meant for."""
    meant: dict[int, list[int]] = {}
    for size in batches:
        for part in sorted({-(-size // cores), min(SMALL_PART, -(-size // cores))}):
            if cores > 1 and size > 1:
                meant.setdefault(part, []).append(size)
    return [(part, tuple(sizes)) for part, sizes in meant.items()]


class Worker:
    """A contender's process; it is asked in lines of JSON and answers in lines of JSON.

    command: what to run; request: the first line, answered by {"ready": true} or {"fault": why}
    """

    def __init__(self, command: Sequence[str], request: Mapping[str, Any]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        self._asked, self._answers = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        self._request = request

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait_until_ready(self, seconds: float) -> str:
        """Open the model; empty if that went well, else the reason."""
        answer = self.ask(self._request, seconds)
        if answer is None:
            return f"no answer within {seconds:.0f} s"
        return str(answer.get("fault", ""))

    def ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any] | None:
        """The answer to a request, or None where none came in time; what a process that ended last said is a fault."""
        try:
            self._asked.write(json.dumps(request) + "\n")
            self._asked.flush()
            if not select.select([self._answers], [], [], seconds)[0]:
                return None
            line = self._answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._errors.seek(0)
            last = self._errors.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            return {"fault": f"its process ended ({last[0][:200] if last else 'without a word'})"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


@dataclass(slots=True)
class _Taken:
    """The speeds of all rounds, by contender and batch size."""

    turn_seconds: float
    rounds: int = 0
    speeds: dict[tuple[Contender, int], list[float]] = field(default_factory=dict)
    peak_mb: dict[Contender, float] = field(default_factory=dict)


def _rounds(running: Mapping[Contender, Worker], seconds: float, share_done: Callable[[float], None]) -> _Taken:
    """Rounds until the time is up; the first one warms up and is not kept."""
    turns = [(contender, size) for contender in running for size in contender.batches]
    turn_seconds = max(MIN_TURN_S, seconds / ((MAX_ROUNDS + 1) * len(turns)))
    taken = _Taken(turn_seconds, speeds={turn: [] for turn in turns})
    start = time.monotonic()
    for number in range(MAX_ROUNDS + 1):
        for place in np.random.default_rng(number).permutation(len(turns)):
            contender, size = turns[place]
            answer = running[contender].ask({"batch": size, "seconds": turn_seconds if number else 0.0}, START_S) or {}
            if "images_per_s" not in answer:
                raise UsageError(f"bench: {contender} stopped in the middle: {answer.get('fault', 'no answer')}")
            if number:
                taken.speeds[turns[place]].append(answer["images_per_s"])
            taken.peak_mb[contender] = answer["peak_mb"]
        taken.rounds = number
        elapsed = time.monotonic() - start
        share_done(min(1.0, elapsed / seconds))
        if number >= MIN_ROUNDS and elapsed * (number + 2) / (number + 1) > seconds:
            break
    return taken


def _rows(taken: _Taken, batches: tuple[int, ...]) -> tuple[Row, ...]:
    """One row a turn, the fastest first within each batch size."""
    medians = {turn: float(np.median(values)) for turn, values in taken.speeds.items()}
    rows = []
    for batch in dict.fromkeys(batches):
        best = max(speed for (_, size), speed in medians.items() if size == batch)
        for (contender, size), speed in sorted(medians.items(), key=lambda item: -item[1]):
            if size == batch:
                low, high = np.quantile(taken.speeds[contender, size], [0.25, 0.75])
                spread = float(high - low) / 2 / speed
                rows.append(Row(contender, size, speed, spread, speed / best, taken.peak_mb[contender]))
    return tuple(rows)


def save_fastest(found: Benchmark) -> Path:
    """Store the fastest engine of ours for every batch size beside the model.  Raises: UsageError."""
    uses: tuple[Use, ...] = ("alone", "beside")
    fastest = [
        Fastest(
            use=use,
            batch_images=size,
            version=version(row.contender.setting.engine),
            images_per_s=row.images_per_s,
            **asdict(row.contender.setting),
        )
        for size in dict.fromkeys(row.batch_images for row in found.rows)
        for use in uses
        if (row := found.fastest(size, use))
    ]
    return save(found.model, datetime.now(UTC).isoformat(timespec="seconds"), fastest)


def load_now() -> float:
    """How many processes want to run now, averaged over a minute."""
    return os.getloadavg()[0]
