"""Pillow's warnings kept away from the user: what they say is said by an error, or by the audit."""

from __future__ import annotations

import threading
import warnings


class _QuietPillow:
    """Warnings raised in Pillow's modules are ignored while at least one thread is inside.

    ``warnings.catch_warnings`` saves and puts back the filters of the whole process, so that two threads undo
    each other. Here the first thread in adds one filter and the last one out takes that filter away.
    A decoded image is thereby the same whether the caller ignores, shows or raises warnings.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filter: object = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                warnings.filterwarnings("ignore", module=r"PIL(\..*)?$")
                self._filter = warnings.filters[0]

    def __exit__(self, *fault: object) -> None:
        with self._lock:
            self._inside -= 1
            filters: list[object] = warnings.filters  # type: ignore[assignment] # a list, typed as a sequence
            if self._inside == 0 and self._filter in filters:
                filters.remove(self._filter)


quiet_pillow = _QuietPillow()  # one for all threads, as the filters are
