from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from strategies import networks, random_network, with_random_weights
from striate.errors import PassError
from striate.geometry import Window
from striate.graph import INPUT, Builder
from striate.ops import BatchNorm, Conv, Dropout
from striate.rewrite import DEFAULT, PASSES, Applied, rewrite
from striate.rewrite.edit import fresh


def dropout_between():
    b = Builder("between", (2, 5, 7))
    b.add(Conv(2, 3, (Window(3), Window(2))), INPUT, name="conv")
    b.add(Dropout(), "conv", name="drop")
    b.add(BatchNorm(3), "drop", name="bn")
    return with_random_weights(b.build(), 2).astype(np.float64)


@pytest.mark.parametrize("passes", [DEFAULT, DEFAULT[::-1]])
def test_the_order_of_asking_does_not_matter(passes):
    done = rewrite(dropout_between(), passes)
    assert [node.name for node in done.network] == ["bn"]
    assert done.applied == done.notes
    assert [note.at for note in done.applied] == ["drop", "bn"]
    assert done.refused == ()


def test_only_the_passes_asked_for_run():
    done = rewrite(dropout_between(), ["fold_batch_norm"])
    assert [node.name for node in done.network] == ["conv", "drop", "bn"]
    assert [note.reason for note in done.refused] == ["follows dropout drop, which has no weights that could take it"]


@settings(max_examples=60)
@given(networks())
def test_rewriting_again_changes_nothing_and_refuses_the_same(network):
    once = rewrite(network.astype(np.float64))
    again = rewrite(once.network)
    assert again.network.nodes == once.network.nodes
    assert again.notes == once.refused


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_names_itself_in_its_notes_and_keeps_the_dtype(name):
    notes = []
    for seed in range(12):
        done = rewrite(random_network(seed), [name])
        notes += done.notes
        assert {array.dtype for array in done.network.weights.values()} == {np.dtype(np.float32)}
    assert {note.by for note in notes} == {name}
    assert any(isinstance(note, Applied) for note in notes)


def test_an_unknown_pass_is_named():
    with pytest.raises(
        PassError, match=r"^rewrite: there is no pass 'fold'; use some of drop_identities, fold_batch_norm$"
    ):
        rewrite(dropout_between(), ["fold"])


def test_fresh_names():
    assert fresh("w", {"v"}) == "w"
    assert fresh("w", {"w", "w.2"}) == "w.3"
