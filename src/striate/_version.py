"""The version: written here once, read by the build, the command line, run folders and artifacts."""

from __future__ import annotations

__version__ = "0.1.0"
