"""A decision striate took for the caller, with its reason, so that nothing automatic stays silent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Choice:
    """One automatic decision; an explicit value given by the caller makes none."""

    name: str
    value: object
    reason: str

    def __str__(self) -> str:
        return f"{self.name} = {self.value} ({self.reason})"
