"""Remove layers that do nothing at test time: identity and dropout.

Legal: always, but for one that is the result and reads the network's input: a network has at least one layer.
Keeps: function, bit for bit. Readers read what the layer read; where it was the result, what it read is.
"""

from __future__ import annotations

from dataclasses import replace

from striate.graph import INPUT, Network, Node
from striate.ops import Dropout, Identity
from striate.rewrite.edit import rebuilt
from striate.rewrite.note import Applied, Note, Refused

NAME = "drop_identities"


def drop_identities(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network without identity and dropout layers, and what became of each."""
    source = {INPUT: INPUT}  # for every tensor, the tensor that now holds its values
    nodes: list[Node] = []
    notes: list[Note] = []
    for node in network:
        reads = tuple(source[name] for name in node.inputs)
        if type(node.op) not in (Identity, Dropout):
            keep = True
        elif keep := node.name == network.output and reads[0] == INPUT:
            notes.append(Refused(NAME, node.name, "is the result and reads the network's input"))
        else:
            notes.append(Applied(NAME, node.name, f"{node.op.kind} removed"))
        source[node.name] = node.name if keep else reads[0]
        if keep:
            nodes.append(replace(node, inputs=reads))
    return rebuilt(network, nodes, network.weights, source[network.output]), tuple(notes)
