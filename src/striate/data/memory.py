"""How much memory the machine has left."""

from __future__ import annotations

from pathlib import Path


def free_bytes() -> int | None:
    """Memory that programs may still take, from /proc/meminfo; None where there is no such file."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return None if kilobytes is None else 1024 * int(kilobytes)


def gigabytes(count: float) -> str:
    """Bytes in words: "12 GB"."""
    return f"{count / 1e9:.2g} GB"
