"""Every exception striate raises on purpose.

A message says where the fault is, what was given, what is allowed and what to do next, in one line.
The command line prints it after ``striate: `` and exits with 2; in Python it is an ordinary exception.
"""

from __future__ import annotations


class StriateError(Exception):
    """Base of all errors that are the caller's to mend; the message is one line for a person."""


class GeometryError(StriateError):
    """A window does not fit its input, or its numbers contradict each other."""


class ShapeError(StriateError):
    """A layer was given a tensor of a shape it cannot take."""


class NetworkError(StriateError):
    """A network is not a legal graph: missing inputs, cycles, repeated names, absent weights."""


class NotationError(StriateError):
    """A network description in the papers' shorthand does not parse; carries a caret under the fault."""


class CaptureError(StriateError):
    """A module or file cannot be read into a Network."""


class PassError(StriateError):
    """A rewrite cannot be applied where it was demanded."""


class ProofError(StriateError):
    """The rewritten network was not shown equal to the original; nothing is shipped."""


class DataError(StriateError):
    """Images, labels or splits cannot be used as given."""


class RecipeError(StriateError):
    """A training recipe has an unknown key or an impossible value."""


class ImageTooLargeError(DataError):
    """An image has more pixels than are decoded; known from its header."""


class RunError(StriateError):
    """A run folder is absent, unfinished, of another version, or damaged."""


class ElsewhereError(RunError):
    """Another of the processes that train together failed, and says why itself."""


class DivergedError(RunError):
    """Training left the finite numbers; the run may go back and try again."""


class ArtifactError(StriateError):
    """A model file is truncated, altered, too large, or holds what striate refuses to load."""


class UsageError(StriateError):
    """A command or function was called with arguments that do not fit together."""
