"""What every test of a pass asks: does each tensor that is left still hold what it held, at float64's precision?"""

from __future__ import annotations

import numpy as np

from strategies import with_random_weights
from striate.graph import INPUT, Builder, Network, reference
from striate.rewrite import Applied, Refused
from striate.verify.tolerance import ALGEBRA


class Layers(Builder):
    """A builder that chains: each layer reads the one before unless told otherwise."""

    def __init__(self, shape=(3, 7, 11)) -> None:
        super().__init__("net", shape)
        self.last = INPUT

    def then(self, name, op, *inputs, **more):
        """Append a layer."""
        self.last = self.add(op, *(inputs or (self.last,)), name=name, **more)
        return self

    def network(self, seed=3, **weights) -> Network:
        """In float64, with random weights but for those given, by name with __ for a dot."""
        network = with_random_weights(self.build(), seed).astype(np.float64)
        given = {name.replace("__", "."): np.asarray(w, np.float64) for name, w in weights.items()}
        return network.with_weights({**network.weights, **given})


def positive(network: Network, role="gamma") -> Network:
    """The same with no negative scale in any batch normalisation."""
    names = {node.weights[role] for node in network if role in node.weights}
    return network.with_weights({n: np.abs(w) + 0.1 if n in names else w for n, w in network.weights.items()})


def assert_agrees(network: Network, rewritten: Network, seed=0) -> None:
    """Every tensor that both have, and the result, agree to `ALGEBRA` of their scale."""
    x = np.random.default_rng(seed).standard_normal((2, *network.input_shape))
    want, got = reference.run(network, x), reference.run(rewritten, x)
    want["result"], got["result"] = want[network.output], got[rewritten.output]
    for name in want.keys() & got.keys():
        assert got[name].shape == want[name].shape, name
        assert np.abs(got[name] - want[name]).max() <= ALGEBRA * np.abs(want[name]).max(initial=1e-30), name


def applied(one, network: Network) -> tuple[Network, list[str]]:
    """The rewritten network, which agrees, and what the changes say."""
    rewritten, notes = one(network)
    assert_agrees(network, rewritten)
    assert one(rewritten)[0].nodes == rewritten.nodes  # once is enough
    return rewritten, [note.what for note in notes if isinstance(note, Applied)]


def refusal(one, network: Network) -> str:
    """Why the pass left the network alone."""
    rewritten, notes = one(network)
    assert rewritten.nodes == network.nodes
    (note,) = notes
    assert isinstance(note, Refused)
    return note.reason


def left_alone(one, network: Network) -> None:
    """The pass has nothing to say about the network."""
    rewritten, notes = one(network)
    assert rewritten.nodes == network.nodes
    assert notes == ()


def names(network: Network) -> list[str]:
    """The layers in order."""
    return [node.name for node in network]
