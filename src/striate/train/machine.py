"""The process as training needs it: threads, random state and training flags, each put back as found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator inside the block and leave it as found: for building weights."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def quiet_machine(threads: int) -> Iterator[None]:
    """Run with this many threads; put back the caller's thread count and random state afterwards."""
    was = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(was)


@contextmanager
def flags_kept(module: nn.Module) -> Iterator[None]:
    """Put back each submodule's training flag afterwards."""
    was = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        for part, flag in was:
            part.training = flag
