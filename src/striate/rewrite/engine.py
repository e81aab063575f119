"""The passes in their order, and running them until nothing changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from striate.errors import PassError
from striate.graph import Network
from striate.rewrite.absorb_input_norm import absorb_input_norm
from striate.rewrite.constant_channel import constant_channel
from striate.rewrite.drop_dead_channels import drop_dead_channels
from striate.rewrite.drop_identities import drop_identities
from striate.rewrite.fold_batch_norm import fold_batch_norm
from striate.rewrite.fold_constants import fold_constants
from striate.rewrite.hoist_batch_norm import hoist_batch_norm
from striate.rewrite.merge_batch_norms import merge_batch_norms
from striate.rewrite.merge_branches import merge_branches
from striate.rewrite.merge_convolutions import merge_convolutions
from striate.rewrite.norm_as_convolution import norm_as_convolution
from striate.rewrite.note import Applied, Note, Pass, Refused
from striate.rewrite.pool_first import pool_first
from striate.rewrite.push_batch_norm import push_batch_norm
from striate.rewrite.push_strides import push_strides

PASSES: Mapping[str, Pass] = MappingProxyType(
    {
        "drop_identities": drop_identities,  # first: a dropout must not stand between a convolution and its norm
        "fold_constants": fold_constants,  # before the norms, which it makes fewer, or new ones
        "merge_batch_norms": merge_batch_norms,
        "hoist_batch_norm": hoist_batch_norm,  # before the fold, which takes what arrives at a convolution
        "fold_batch_norm": fold_batch_norm,
        "push_batch_norm": push_batch_norm,  # after the fold: only what nothing before could take
        "constant_channel": constant_channel,  # after the push, which costs nothing; only where it is asked for
        "absorb_input_norm": absorb_input_norm,  # the same for a norm of the network's input
        "merge_branches": merge_branches,
        "drop_dead_channels": drop_dead_channels,  # after the folds, which show a gamma of 0 as weights of 0
        "pool_first": pool_first,
        "merge_convolutions": merge_convolutions,
        "push_strides": push_strides,
        "norm_as_convolution": norm_as_convolution,  # last: only what nothing could take
    }
)
"""Every pass by name, in the order in which they run. To add one, write its file and its row."""

CONSTANT = ("constant_channel", "absorb_input_norm")
"""The passes that fold a norm through zero padding with a channel that is always 1."""

DEFAULT = tuple(name for name in PASSES if name not in CONSTANT)
"""What runs unless other passes are named. A constant channel is exact and removes the norm, but 65 channels cost an
engine more than 64 and a norm: ONNX Runtime 1.32 took 1.3 times as long (six 64C3-R-BN, 32 x 32 px, one thread)."""


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
