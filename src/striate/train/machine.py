"""The process as training needs it: threads, random state and training flags, each put back as found."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from striate.errors import RecipeError
from striate.train.recipe import Recipe

BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16")
"""CPU flags of instructions for bfloat16. Without one it is emulated, 25 to 500 times slower than float32 (torch
issues 146508 and 183815)."""
COMPILERS = ("g++", "clang++")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator inside the block and leave it as found: for building weights."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def quiet_machine(threads: int, device: str = "cpu") -> Iterator[None]:
    """Run with this many threads; put back the caller's thread count and random state afterwards."""
    was = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
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


def device_of(module: nn.Module) -> torch.device:
    """Where a network's weights are; the CPU for one without any."""
    tensor = next((t for part in (module.parameters(), module.buffers()) for t in part), None)
    return torch.device("cpu") if tensor is None else tensor.device


def require(recipe: Recipe) -> None:
    """Raises: RecipeError if this machine cannot do what the resolved recipe asks, with what it can."""
    if recipe.device == "cuda" and not torch.cuda.is_available():
        raise RecipeError("recipe: device = 'cuda', and torch finds no GPU here; use 'cpu' or 'auto'")
    if recipe.precision == "bfloat16" and (reason := why_no_bfloat16(str(recipe.device))):
        raise RecipeError(f"recipe: precision = 'bfloat16', but {reason}; use 'float32'")
    if recipe.compile is True and recipe.device == "cpu" and not has_compiler():
        raise RecipeError(f"recipe: compile = true needs a C++ compiler ({' or '.join(COMPILERS)}); use false")


def why_no_bfloat16(device: str, cpu_flags: str | None = None) -> str | None:
    """Why bfloat16 would be slow on a device; None where it is native. cpu_flags: of /proc/cpuinfo by default."""
    if device == "cuda":
        return None if torch.cuda.is_bf16_supported(including_emulation=False) else "this GPU only emulates it"
    flags = (_cpu_flags() if cpu_flags is None else cpu_flags).split()
    if any(flag in flags for flag in BFLOAT16_FLAGS):
        return None
    return f"this CPU has neither {' nor '.join(BFLOAT16_FLAGS)} and would take 25 to 500 times as long"


def has_compiler() -> bool:
    """Whether torch.compile can build code for a CPU."""
    return any(shutil.which(name) for name in COMPILERS)


def _cpu_flags() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
