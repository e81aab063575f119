"""Several processes that train one network: who they are, and the few exchanges that they make.

Every rank holds the same weights, optimizer state and progress; a batch is cut into contiguous shares, one a rank, and
what the shares give is summed. Nothing is exchanged as pickled objects: numbers, and bytes with their length.

All ranks must call the same exchanges in the same order. What decides about the order is therefore a function of values
that all have: recipe, step, summed loss; never of a clock, a file or the free memory of one.
"""

from __future__ import annotations

import hashlib
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import distributed_c10d

from striate.errors import ElsewhereError, RunError, StriateError

T = TypeVar("T")
TIMEOUT_SECONDS = 600  # how long a rank waits for one that is silent; one whose process has ended is noticed at once
ANSWER_SECONDS = 3.0  # how long the ranks that go no further wait for one another's sign of life
ENDING_SECONDS = 2.0  # how long a lost connection may be ahead of the end of its process
TIMEOUT_VARIABLE = "STRIATE_TIMEOUT_SECONDS"
LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets


@dataclass(frozen=True, slots=True)
class Team:
    """This process's place among `size`; alone it exchanges nothing. Neither a handle nor a tensor is kept here.

    peers: host name and process id of each rank.
    """

    rank: int = 0
    size: int = 1
    peers: tuple[tuple[str, int], ...] = ()

    @property
    def leads(self) -> bool:
        """Whether this rank writes, prints and draws."""
        return self.rank == 0

    @property
    def own_counter(self) -> tuple[int, ...]:
        """What makes this rank's chance its own; rank 0 draws as one process does."""
        return (self.rank,) if self.rank else ()

    def share(self, whole: slice) -> slice:
        """This rank's contiguous part of start..stop; sizes differ by at most one, and together they are the whole."""
        n = whole.stop - whole.start
        return slice(whole.start + self.rank * n // self.size, whole.start + (self.rank + 1) * n // self.size)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the ranks, in place, in the same bits everywhere.  Raises: RunError if a rank is gone."""
        if self.size > 1:
            with self._naming_the_lost():
                dist.all_reduce(tensor)
        return tensor

    def gather(self, tensor: Tensor) -> Tensor:
        """Tensors of the same shape (...) of all ranks, as (size, ...).  Raises: RunError if a rank is gone."""
        if self.size == 1:
            return tensor[None]
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        with self._naming_the_lost():
            dist.all_gather(parts, tensor)
        return torch.stack(parts)

    def from_first(self, make: Callable[[], bytes]) -> bytes:
        """What rank 0 makes, on every rank.  Raises: its fault on rank 0, and ElsewhereError on the others."""
        if self.size == 1:
            return make()
        data = self.together(lambda: make() if self.leads else b"")
        length = self.gather(torch.tensor([len(data)]))[0]
        content = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
        content = content if self.leads else torch.empty(int(length), dtype=torch.uint8)
        if length:
            with self._naming_the_lost():
                dist.broadcast(content, 0)
        return content.numpy().tobytes()

    def together(self, work: Callable[[], T]) -> T:
        """Do something on every rank that may fail on some; then it fails on all, and one rank says why.

        Raises: the fault of the first rank that has one, on that rank; ElsewhereError on the others.
        """
        if self.size == 1:
            return work()
        fault: StriateError | None = None
        try:
            done = work()
        except StriateError as found:
            fault = found
        failed = self.gather(torch.tensor([fault is not None]))[:, 0].nonzero()[:, 0].tolist()
        if not failed:
            return done
        if fault is None or self.rank != failed[0]:
            raise ElsewhereError(f"rank {failed[0]} of {self.size} failed and says why")
        if len(failed) == self.size:
            raise fault
        raise type(fault)(f"rank {self.rank} of {self.size}: {fault}")

    def begin_equal(self, tensors: Mapping[str, Tensor]) -> None:
        """Give every rank the tensors of rank 0, in place."""
        if self.size > 1:
            with self._naming_the_lost():
                for tensor in tensors.values():
                    whole = tensor.detach().contiguous()  # in memory order of its shape, for ranks exchange memory
                    dist.broadcast(whole, 0)
                    tensor.detach().copy_(whole)

    def require_equal(self, tensors: Mapping[str, Tensor], what: str) -> None:
        """Raises: RunError, on every rank, unless all of them hold the same bits."""
        if self.size == 1:
            return
        digest = hashlib.sha256()
        for tensor in tensors.values():
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        found = self.gather(torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8))
        other = (found != found[0]).any(dim=1).nonzero()[:, 0].tolist()
        if other:
            raise RunError(
                f"rank {other[0]} of {self.size}: its {what} are not those of rank 0; a layer draws chance or keeps "
                "state of its own, which many processes cannot share: train with one"
            )

    def _lost(self) -> list[int]:
        """Ranks of this machine whose process has ended; its connections may end a moment before it does."""
        here = [(rank, pid) for rank, (host, pid) in enumerate(self.peers) if host == platform.node()]
        until = time.monotonic() + ENDING_SECONDS
        while not (gone := [rank for rank, pid in here if _gone(pid)]) and time.monotonic() < until:
            time.sleep(0.01)
        return gone

    @contextmanager
    def _naming_the_lost(self) -> Iterator[None]:
        """Raises: RunError that names the rank whose process is gone, or silent, where an exchange fails."""
        try:
            yield
        except RuntimeError as fault:
            why = self._why() or f"{_first_line(fault)}; see why"
            raise RunError(
                f"rank {self.rank} of {self.size} cannot go on: {why}, then start `striate resume RUN` with as many "
                "processes as you have"
            ) from None

    def _why(self) -> str:
        """Which rank is to blame, if that can be known, and where to look."""
        if gone := self._lost():
            return f"rank {gone[0]} (process {self.peers[gone[0]][1]}) has ended; see what ended it"
        if self.peers and (silent := _silent(self.rank, self.size)):
            host, pid = self.peers[silent[0]]
            return f"rank {silent[0]} (process {pid} on {host}) does not answer; see what holds it"
        return ""


ALONE = Team()


@contextmanager
def joined(environ: Mapping[str, str] = os.environ) -> Iterator[Team]:
    """Join the processes that torchrun started with this one, for the block; alone without torchrun.

    Raises: RunError, in one line, if they do not meet.
    """
    if any(name not in environ for name in LAUNCHED) or _whole(environ, "WORLD_SIZE") == 1:
        yield ALONE
        return
    rank, size = (_whole(environ, name) for name in LAUNCHED[:2])
    _join(rank, size, environ)
    try:
        yield Team(rank, size, _peers(rank, size))
    finally:
        dist.destroy_process_group()


def cores_of_one(environ: Mapping[str, str] = os.environ) -> int:
    """CPU cores for each of the processes on this machine, at least one."""
    return max(1, len(os.sched_getaffinity(0)) // _whole(environ, "LOCAL_WORLD_SIZE", 1))


def _whole(environ: Mapping[str, str], name: str, usual: int = 1) -> int:
    """A variable of the environment.  Raises: RunError if it is no whole number."""
    text = environ.get(name, str(usual))
    if not text.isdecimal():
        raise RunError(f"environment: {name} = {text!r}; allowed: a whole number, as torchrun sets it")
    return int(text)


def _join(rank: int, size: int, environ: Mapping[str, str]) -> None:
    seconds = _whole(environ, TIMEOUT_VARIABLE, TIMEOUT_SECONDS)
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        local = _whole(environ, "LOCAL_RANK", rank)
        if local >= torch.cuda.device_count():
            raise RunError(
                f"rank {rank} of {size}: no GPU is left for it, this machine has {torch.cuda.device_count()}; "
                "start no more processes than GPUs"
            )
        torch.cuda.set_device(local)
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if has_gpu else "gloo", rank=rank, world_size=size, timeout=timedelta(seconds=seconds)
        )
    except (RuntimeError, ValueError) as fault:
        raise RunError(
            f"rank {rank} of {size}: did not meet the others at {environ['MASTER_ADDR']}:{environ['MASTER_PORT']} "
            f"({_first_line(fault)}); see that all {size} are started and the port is free"
        ) from None


def _peers(rank: int, size: int) -> tuple[tuple[str, int], ...]:
    """Host name and process id of each rank."""
    own = f"{os.getpid()} {platform.node()}".encode()[:256].ljust(256)
    team = Team(rank, size)
    rows: Sequence[Tensor] = tuple(team.gather(torch.frombuffer(bytearray(own), dtype=torch.uint8)))
    words = [row.numpy().tobytes().decode().strip().partition(" ") for row in rows]
    return tuple((host, int(pid)) for pid, _, host in words)


def _gone(pid: int) -> bool:
    """Whether a process of this machine has ended; one that nobody has taken notice of yet (Z) has, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def _silent(rank: int, size: int) -> list[int]:
    """Ranks that leave no sign of life where all had met: on rank 0's machine, which may be silent too."""
    found: list[list[int]] = []
    call = threading.Thread(target=lambda: found.append(_missing(rank, size)), daemon=True)  # it may never return
    call.start()
    call.join(ANSWER_SECONDS + ENDING_SECONDS)
    if call.is_alive():
        return [0] if rank else []
    return found[0] if found else []


def _missing(rank: int, size: int) -> list[int]:
    """Ranks that do not call after ANSWER_SECONDS; none where the place to call is gone."""
    name, until = "striate/stopped/{}".format, time.monotonic() + ANSWER_SECONDS
    try:
        store = distributed_c10d._get_default_store()  # noqa: SLF001  # the only way to it; a Team keeps no handle
        store.set(name(rank), "")
        while (away := [r for r in range(size) if not store.check([name(r)])]) and time.monotonic() < until:
            time.sleep(0.05)
    except RuntimeError:
        return []
    return away


def _first_line(fault: BaseException) -> str:
    return str(fault).strip().partition("\n")[0][:200] or type(fault).__name__
