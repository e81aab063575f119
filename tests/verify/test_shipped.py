from __future__ import annotations

import numpy as np
import pytest

from strategies import random_network
from striate.graph import reference
from striate.rewrite import rewrite
from striate.verify import prove_shipped
from striate.verify.tally import Squares, scale_of


def shipped_and_golden(seed=0):
    original = random_network(seed).astype(np.float64)
    shipped = rewrite(original).network.astype(np.float32)
    golden = np.random.default_rng(seed).uniform(-1, 2, (5, *original.input_shape)).astype(np.float32)
    return shipped, golden, reference.output(original, golden.astype(np.float64))


def recheck(shipped, golden, logits, run):
    """With the error that a proof would have on record: of the shipped weights in float32, against the answers."""
    squares = Squares()
    squares.add(reference.output(shipped, golden) - logits, scale_of(logits))
    return prove_shipped(shipped, golden, logits, squares.root_mean(), run)


def test_a_sound_file_passes(engine):
    for seed in range(8):
        shipped, golden, logits = shipped_and_golden(seed)
        found = recheck(shipped, golden, logits, engine(shipped))
        assert found.fault == "", seed
        assert set(found.of_bound) == {node.name for node in shipped}
        assert 0 < found.golden.value < 1


def test_the_result_alone_is_enough(numpy_engine):
    shipped, golden, logits = shipped_and_golden()
    run = numpy_engine(shipped)
    found = recheck(shipped, golden, logits, lambda x: {shipped.output: run(x)[shipped.output]})
    assert list(found.of_bound) == [shipped.output]
    assert found.fault == ""


def test_an_engine_that_computes_something_else_is_named(numpy_engine):
    shipped, golden, logits = shipped_and_golden()
    layer = next(node for node in shipped if "weight" in node.weights)
    name = layer.weights["weight"]
    other = shipped.with_weights({**shipped.weights, name: shipped.weights[name] * np.float32(1.01)})
    fault = recheck(shipped, golden, logits, numpy_engine(other)).fault
    assert fault.startswith(f"{layer.name}: float32 error is ")


def test_an_engine_that_gives_no_number_is_named(numpy_engine):
    shipped, golden, logits = shipped_and_golden()
    run = numpy_engine(shipped)
    broken = lambda x: {**run(x), shipped.output: run(x)[shipped.output] * np.nan}  # noqa: E731 - one line says it
    assert recheck(shipped, golden, logits, broken).fault.startswith(f"{shipped.output}: float32 error is inf")


def test_weights_changed_after_the_answers_were_recorded_are_found(numpy_engine):
    shipped, golden, logits = shipped_and_golden()
    bias = shipped.node(shipped.output).weights["bias"]
    other = shipped.with_weights({**shipped.weights, bias: shipped.weights[bias] + np.float32(1e-2)})
    fault = prove_shipped(other, golden, logits, 1e-7, numpy_engine(other)).fault
    assert fault.startswith("recorded results differ by ")


def test_more_inputs_than_recorded_answers(numpy_engine):
    shipped, golden, logits = shipped_and_golden()
    run = numpy_engine(shipped)
    few, all_at_once = (prove_shipped(shipped, golden, logits[:2], 1e-6, run, batch) for batch in (1, 5))
    assert (few.fault, few.inputs) == ("", 5)
    assert few.golden.value == pytest.approx(all_at_once.golden.value, rel=1e-3)
    spoilt = lambda x: {**run(x), shipped.output: run(x)[shipped.output] + np.float32(x[0].sum() == golden[4].sum())}  # noqa: E731 - one line says it
    fault = prove_shipped(shipped, golden, logits[:2], 1e-6, spoilt).fault
    assert fault.startswith(f"{shipped.output}: float32 error is ")
    assert fault.endswith("(image 2)")
