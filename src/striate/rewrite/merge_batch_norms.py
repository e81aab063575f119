"""Merge two batch normalisations in a row into one.

    s_2 (s_1 (x - m_1) + beta_1 - m_2) + beta_2 = s_1 s_2 (x - m_1) + [beta_2 + (beta_1 - m_2) s_2]

Legal: only the second reads the first, whose result is not the network's; both are affine maps with real numbers.
Keeps: function. The mean m_1 is subtracted before anything is scaled, as in the original, so that values close to
a large mean lose nothing. The merged layer writes what the second wrote and takes its name.
"""

from __future__ import annotations

from striate.graph import Network, Node
from striate.ops import BatchNorm
from striate.rewrite.affine import fault, norm_of, parts
from striate.rewrite.edit import Change, View, everywhere
from striate.rewrite.note import Note

NAME = "merge_batch_norms"


def merge_batch_norms(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network with rows of batch normalisations merged, and what became of each."""
    return everywhere(network, NAME, _merge)


def _merge(view: View, second: Node) -> Change | str | None:
    first = view.source(second)
    if first is None or not isinstance(second.op, BatchNorm) or not isinstance(first.op, BatchNorm):
        return None
    if view.owner(first.name) is None:
        return f"follows {first.name}, whose result is needed elsewhere as well"
    before, after = view.weights(first), view.weights(second)
    if reason := fault(first.op, before) or fault(second.op, after):
        return reason
    scale_1, mean_1, beta_1 = parts(first.op, before)
    scale_2, mean_2, beta_2 = parts(second.op, after)
    op, arrays = norm_of(scale_1 * scale_2, mean_1, beta_2 + (beta_1 - mean_2) * scale_2)
    node, arrays = view.weighted(second.name, op, first.inputs, arrays, second)
    return Change(second.name, f"merged with batch_norm {first.name}", {first.name: (), second.name: (node,)}, arrays)
