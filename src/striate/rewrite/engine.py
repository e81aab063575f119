"""The passes in their order, and running them until nothing changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from striate.errors import PassError
from striate.graph import Network
from striate.rewrite.drop_identities import drop_identities
from striate.rewrite.fold_batch_norm import fold_batch_norm
from striate.rewrite.note import Applied, Note, Pass, Refused

PASSES: Mapping[str, Pass] = MappingProxyType(
    {
        "drop_identities": drop_identities,  # first: a dropout must not stand between a convolution and its norm
        "fold_batch_norm": fold_batch_norm,
    }
)
"""Every pass by name, in the order in which they run. To add one, write its file and its row."""

DEFAULT = tuple(PASSES)


@dataclass(frozen=True, slots=True, eq=False)
class Rewritten:
    """A rewritten network and what was done to it: every change in order, then what was refused in the end."""

    network: Network
    notes: tuple[Note, ...]

    @property
    def applied(self) -> tuple[Applied, ...]:
        """The changes, in order."""
        return tuple(note for note in self.notes if isinstance(note, Applied))

    @property
    def refused(self) -> tuple[Refused, ...]:
        """What is left that a pass was meant for, with the reason."""
        return tuple(note for note in self.notes if isinstance(note, Refused))


def rewrite(network: Network, passes: Sequence[str] = DEFAULT) -> Rewritten:
    """Run `passes` in the order of the table, again and again until none changes anything.

    It computes in the dtype of the network: give it float64 weights and round the result once.
    Raises: PassError on an unknown pass; NetworkError if the network has no weights.
    """
    for name in passes:
        if name not in PASSES:
            raise PassError(f"rewrite: there is no pass {name!r}; use some of {', '.join(PASSES)}")
    chosen = [PASSES[name] for name in PASSES if name in passes]
    applied: list[Note] = []
    while True:
        changed, refused = False, list[Note]()
        for one in chosen:
            network, notes = one(network)
            changes = [note for note in notes if isinstance(note, Applied)]
            refused += [note for note in notes if isinstance(note, Refused)]
            applied += changes
            changed = changed or bool(changes)
        if not changed:
            return Rewritten(network, (*applied, *refused))
