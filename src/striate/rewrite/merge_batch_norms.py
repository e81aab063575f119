"""Merge two affine maps of channels in a row, norms or stored factors and summands, into one batch normalisation.

    s_2 (s_1 (x - m_1) + beta_1 - m_2) + beta_2 = s_1 s_2 (x - m_1) + [beta_2 + (beta_1 - m_2) s_2]

A factor or a summand a channel (Caffe's and Paddle's networks write a norm's gamma and beta so) is one with the mean 0.

Legal: only the second reads the first, whose result is not the network's; both are affine maps with real numbers. Two
that hold one number for all channels stay what they are (`fold_constants` makes them one).
Keeps: function. The mean m_1 is subtracted before anything is scaled, as in the original, so that values close to
a large mean lose nothing. The merged layer writes what the second wrote and takes its name.
"""

from __future__ import annotations

from striate.graph import Network, Node
from striate.ops import Affine
from striate.rewrite.affine import as_norm, fault, norm_of, parts
from striate.rewrite.edit import Change, View, everywhere
from striate.rewrite.note import Note

NAME = "merge_batch_norms"


def merge_batch_norms(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network with rows of norms and numbers merged, and what became of each."""
    return everywhere(network, NAME, _merge)


def _merge(view: View, second: Node) -> Change | str | None:
    first = view.source(second)
    if first is None or (isinstance(first.op, Affine) and isinstance(second.op, Affine)):
        return None
    before, after = as_norm(view, first), as_norm(view, second)
    if before is None or after is None:
        return None
    if view.owner(first.name) is None:
        return f"follows {first.name}, whose result is needed elsewhere as well"
    if reason := fault(*before) or fault(*after):
        return reason
    scale_1, mean_1, beta_1 = parts(*before)
    scale_2, mean_2, beta_2 = parts(*after)
    op, arrays = norm_of(scale_1 * scale_2, mean_1, beta_2 + (beta_1 - mean_2) * scale_2)
    node, arrays = view.weighted(second.name, op, first.inputs, arrays, second)
    what = f"merged with {first.op.kind} {first.name}"
    return Change(second.name, what, {first.name: (), second.name: (node,)}, arrays)
