"""Convolutional networks you can trust: see what every layer sees, train, ship a form proved equal.

Importing the package costs milliseconds: a public name is loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from striate._version import __version__ as __version__

if TYPE_CHECKING:
    from striate.classifier import Classifier as Classifier
    from striate.errors import StriateError as StriateError
    from striate.graph.network import Network as Network
    from striate.jobs.networks import inspect as inspect
    from striate.runtime.predict import predict as predict

# Every public name and the module that defines it. A new row is a decision: a test pins the list.
PUBLIC = {
    "Classifier": "striate.classifier",
    "Network": "striate.graph.network",
    "StriateError": "striate.errors",
    "inspect": "striate.jobs.networks",
    "predict": "striate.runtime.predict",
}


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    if name not in PUBLIC:
        raise AttributeError(f"striate has no {name!r}; it has {', '.join(PUBLIC)}")
    value: object = getattr(import_module(PUBLIC[name]), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted([*PUBLIC, "__version__"])
