from __future__ import annotations

import sys
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import booleans

from strategies import networks, random_network, with_random_weights
from striate.errors import PassError
from striate.geometry import Window
from striate.graph import INPUT, Builder, fresh, infer_shapes, reference
from striate.ops import BatchNorm, Conv, Dropout
from striate.rewrite import DEFAULT, PASSES, Applied, read_pixels, rewrite
from striate.verify import propagate
from striate.verify.tally import scale_of
from striate.verify.tolerance import ALGEBRA, FLOAT64_UNIT


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
@given(networks(), booleans())
def test_rewriting_again_changes_nothing_and_refuses_the_same(network, reads_pixels):
    exact = network.astype(np.float64)
    if reads_pixels and len(network.input_shape) > 1:
        exact = read_pixels(exact, np.full(network.input_shape[0], 0.5), np.full(network.input_shape[0], -2.0))
    once = rewrite(exact, tuple(PASSES))
    again = rewrite(once.network, tuple(PASSES))
    assert again.network.nodes == once.network.nodes
    assert again.notes == once.refused


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_names_itself_in_its_notes_keeps_the_dtype_and_does_something(name):
    notes = []
    for seed in range(300):
        network = random_network(seed)
        channels = np.arange(1.0, network.input_shape[0] + 1)
        done = rewrite(read_pixels(network, 1 / channels, -channels) if seed % 2 else network, [name])
        notes += done.notes
        assert {array.dtype for array in done.network.weights.values()} == {np.dtype(np.float32)}
        if seed >= 12 and any(isinstance(note, Applied) for note in notes):
            break
    else:
        pytest.fail("no network of 300 gave it anything to do")
    assert {note.by for note in notes} == {name}


@settings(max_examples=100)
@given(networks())
def test_every_tensor_that_is_left_is_the_same_after_each_pass_and_after_all(network):
    network = read_pixels(
        network.astype(np.float64), np.full(network.input_shape[0], 0.5), np.arange(network.input_shape[0]) - 2.0
    )
    x = np.random.default_rng(0).standard_normal((2, *network.input_shape))
    before = reference.run(network, x)
    for passes in [*([name] for name in PASSES), DEFAULT, tuple(PASSES)]:
        done = rewrite(network, passes).network
        assert infer_shapes(done)[done.output] == infer_shapes(network)[network.output]
        known = {INPUT: x, **{node.name: before[node.name] for node in done if node.name in before}}
        after, bounds = propagate(done, known, FLOAT64_UNIT)
        _, own = propagate(network, known, FLOAT64_UNIT)
        for name in known.keys() - {INPUT}:
            allowed = np.maximum(ALGEBRA * scale_of(before[name]), bounds[name] + own[name])
            assert after[name].shape == before[name].shape, (passes, name)
            assert (np.abs(after[name] - before[name]) <= allowed).all(), (passes, name)


@settings(max_examples=60)
@given(networks())
def test_by_default_nothing_costs_more_afterwards(network):
    done = rewrite(network.astype(np.float64)).network
    assert macs(done) <= macs(network)


def macs(network):
    """By `Op.macs`, and one a value for a norm, which multiplies and adds as well."""
    shapes = infer_shapes(network)
    return sum(
        prod(shapes[node.name]) if isinstance(node.op, BatchNorm) else node.op.macs(*(shapes[n] for n in node.inputs))
        for node in network
    )


def test_an_unknown_pass_is_named():
    with pytest.raises(PassError, match=rf"^rewrite: there is no pass 'fold'; use some of {', '.join(PASSES)}$"):
        rewrite(dropout_between(), ["fold"])


def test_fresh_names():
    assert fresh("w", {"v"}) == "w"
    assert fresh("w", {"w", "w.2"}) == "w.3"


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_says_when_it_is_legal_and_what_it_keeps_and_is_on_the_page(name):
    said = sys.modules[f"striate.rewrite.{name}"].__doc__
    assert "Legal: " in said
    assert "Keeps: function" in said
    page = (Path(__file__).parents[2] / "docs" / "math" / "rewrites.md").read_text(encoding="utf-8")
    assert f"| `{name}` |" in page


def test_folding_first_or_cleaning_first_ends_at_the_same_layers():
    """Not so a norm pushed down that could have been folded up: it lands in another layer.

    1834: a sum of two branches of which each is known once its two norms are one. 2235: a branch of which each norm
    holds some channels, together all.
    """
    for seed in (*range(40), 1834, 2235):
        exact = random_network(seed).astype(np.float64)
        at_once = [node.op.kind for node in rewrite(exact).network]
        for first in ("drop_identities", "merge_batch_norms", "fold_batch_norm"):
            begun = rewrite(exact, [first]).network
            assert [node.op.kind for node in rewrite(begun).network] == at_once, (seed, first)
