"""Writing what was drawn: a file that cannot be written is one line, not a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from striate.errors import UsageError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal inside the block into a UsageError that names the file."""
    try:
        yield
    except OSError as fault:
        raise UsageError(f"{path}: cannot be written ({fault.strerror}); name a file in a folder that exists") from None
