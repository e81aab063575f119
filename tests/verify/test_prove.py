from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from strategies import random_network, with_random_weights
from striate.errors import ProofError
from striate.geometry import Window
from striate.graph import INPUT, Builder
from striate.ops import Activation, BatchNorm, Conv, Dropout, GlobalAvgPool, Linear
from striate.rewrite import rewrite
from striate.verify import Proof, input_cases, prove, require
from striate.verify.proof import Worst
from striate.verify.tally import Squares, Tally, scale_of, share, worst_of


def small():
    b = Builder("small", (2, 6, 9))
    b.add(Conv(2, 4, (Window(3, pad_lo=1, pad_hi=1), Window(2))), INPUT, name="conv")
    b.add(BatchNorm(4), "conv", name="bn")
    b.add(Activation("relu"), "bn", name="relu")
    b.add(GlobalAvgPool(), "relu", name="gap")
    b.add(Linear(4, 3), "gap", name="fc")
    b.add(Dropout(), "fc", name="drop")
    return with_random_weights(b.build(), 11)


def cases_for(network, seed=0, images=None):
    channels = np.arange(1.0, network.input_shape[0] + 1)
    return input_cases(network.input_shape, -channels, 2 * channels, seed, images)


def proof_of(network, engine, images=None, batch_sizes=(1, 2, 7)):
    original = network.astype(np.float64)
    rewritten = rewrite(original).network
    cases = cases_for(network, images=images)
    return prove(original, rewritten, engine(rewritten), engine(network), cases, batch_sizes)


@pytest.mark.parametrize("chunk", range(10))
def test_no_false_alarm(chunk, engine):
    """Over 200 random networks, 100 by each engine."""
    for i in range(10):
        seed = 20 * chunk + 2 * i + (engine.__name__ == "run_by_numpy")
        assert proof_of(random_network(seed), engine).fault == "", seed


def test_what_a_proof_says(engine):
    real = np.random.default_rng(0).standard_normal((3, 2, 6, 9)).astype(np.float32)
    proof = require(proof_of(small(), engine, real))
    assert proof.verdict == "proved"
    assert proof.inputs == {
        "zeros": 1, "maxima": 1, "hot pixel": 9, "one channel": 2, "checkerboard": 1, "random": 5, "image": 3
    }  # fmt: skip
    assert proof.batch_sizes == (1, 2, 7)
    assert [layer.name for layer in proof.layers] == ["bn", "relu", "gap", "fc", "drop"]
    assert [layer.kind for layer in proof.layers] == [
        "batch_norm",
        "activation",
        "global_avg_pool",
        "linear",
        "dropout",
    ]
    assert proof.decisions.inputs == 22
    assert proof.decisions.unexplained == 0
    bn = proof.layers[0]
    assert 0 < bn.algebra.value < 1e-14
    assert 0 < bn.rounding_after <= bn.rounding_allowed < 1e-5
    assert 0.001 < bn.of_bound.value <= 1
    assert bn.of_bound.case in cases_for(small(), images=real).names


def test_the_table_names_every_part(numpy_engine):
    head, *rows = proof_of(small(), numpy_engine).lines()
    assert head == "proved on 19 inputs: 1 zeros, 1 maxima, 9 hot pixel, 2 one channel, 1 checkerboard, 5 random"
    assert max(map(len, rows)) <= 120
    assert [row.split()[0] for row in rows] == ["algebra", "rounding", "bound", "decisions"]


def test_the_layers_nearest_to_a_limit(numpy_engine):
    proof = refuted(numpy_engine)
    short, every = proof.table(2), proof.table()
    assert short[0] == "shares of what is allowed, 100 % being the limit, the 2 of 5 layers nearest to one:"
    assert every[0] == "shares of what is allowed, 100 % being the limit:"
    assert [row.split()[0] for row in every[1:]] == ["layer", "bn", "relu", "gap", "fc", "drop"]
    assert len(short) == 4
    assert "fc" in [row.split()[0] for row in every if row.endswith("  FAILS")]
    assert set(short[2:]) <= set(every[2:])


def test_what_is_served_is_judged_and_decides(numpy_engine):
    original = small().astype(np.float64)
    rewritten = rewrite(original).network
    run = numpy_engine(rewritten)
    engines = run, numpy_engine(original)
    right = prove(original, rewritten, *engines, cases_for(original), served=lambda x: run(x)["fc"])
    assert (right.fault, 0 < right.served_error < 1e-6) == ("", True)
    assert "as served; a layer uses at most" in right.lines()[2]
    wrong = prove(original, rewritten, *engines, cases_for(original), served=lambda x: run(x)["fc"][:, ::-1])
    assert wrong.fault.startswith("drop: as the engine serves it, the float32 error is ")
    assert wrong.decisions.flips > 0
    broken = prove(original, rewritten, *engines, cases_for(original), served=lambda x: run(x)["fc"] * np.nan)
    assert broken.fault.startswith("drop: as the engine serves it, the float32 error is nan of its scale")


def test_json_there_and_back(numpy_engine):
    proof = proof_of(small(), numpy_engine)
    assert Proof.from_json(proof.to_json()) == proof


def test_json_with_a_field_too_many_is_refused(numpy_engine):
    text = proof_of(small(), numpy_engine).to_json()
    with pytest.raises(ValidationError):
        Proof.from_json(text.replace('{"network"', '{"verdict":"proved","network"', 1))


def test_a_refutation_survives_json_with_its_infinities(numpy_engine):
    proof = refuted(numpy_engine)
    worst = proof.layers[0].model_copy(update={"of_bound": Worst(value=float("inf"), case="zeros")})
    proof = proof.model_copy(update={"layers": (worst, *proof.layers[1:])})
    assert Proof.from_json(proof.to_json()) == proof


def refuted(engine):
    """A proof that fails at `fc`: its weights were changed after rewriting."""
    original = small().astype(np.float64)
    rewritten = rewrite(original).network
    weights = {**rewritten.weights, "fc.bias": rewritten.weights["fc.bias"] + 1e-3}
    return prove(original, rewritten, engine(rewritten.with_weights(weights)), engine(original), cases_for(original))


def test_a_refutation_names_the_first_layer_and_ships_nothing(numpy_engine):
    proof = refuted(numpy_engine)
    assert proof.verdict == "refuted"
    assert proof.lines()[1].startswith("  fault      fc: rounding: float32 error is ")
    with pytest.raises(
        ProofError,
        match=r"^small is not the network it was made from: fc: rounding: float32 error is [0-9.]+ times its bound "
        r"\(.+\); nothing is shipped$",
    ):
        require(proof)


def test_a_missing_tensor_is_named(numpy_engine):
    original = small().astype(np.float64)
    rewritten = rewrite(original).network
    run = numpy_engine(rewritten)
    only_result = lambda x: {"fc": run(x)["fc"]}  # noqa: E731 - one line says it
    message = r"^bn: the shipped engine did not return this tensor; let it return every layer's result$"
    with pytest.raises(ProofError, match=message):
        prove(original, rewritten, only_result, numpy_engine(original), cases_for(original))


def test_a_flip_that_rounding_cannot_explain_is_a_fault(numpy_engine):
    """Tensors agree but for the result, where two classes change places."""
    original = small().astype(np.float64)
    rewritten = rewrite(original).network
    run = numpy_engine(rewritten)
    swapped = lambda x: {**run(x), "fc": run(x)["fc"][:, [1, 0, 2]]}  # noqa: E731 - one line says it
    proof = prove(original, rewritten, swapped, numpy_engine(original), cases_for(original))
    assert proof.decisions.unexplained > 0
    assert proof.decisions.flips >= proof.decisions.unexplained
    assert proof.decisions.flips_before == 0
    assert proof.fault.startswith("fc: ")


def test_an_uncertain_flip_is_none(numpy_engine):
    """Two classes with equal weights: the margin is zero, and whichever wins is right."""
    network = small().astype(np.float64)
    weights = dict(network.weights)
    for name in ("fc.weight", "fc.bias"):
        weights[name] = np.stack([weights[name][0]] * 3)
    network = network.with_weights(weights)
    rewritten = rewrite(network).network
    run = numpy_engine(rewritten)
    nudge = np.array([0, 0, 1e-9], np.float32)
    proof = prove(
        network, rewritten, lambda x: {**run(x), "fc": run(x)["fc"] + nudge}, numpy_engine(network), cases_for(network)
    )
    assert proof.decisions.certain == 0
    assert proof.decisions.smallest_margin == 0
    assert proof.verdict == "proved"


def test_an_original_that_overflows_proves_nothing(numpy_engine):
    network = small()
    weights = {**network.weights, "fc.weight": np.full((3, 4), 3e38, np.float32)}
    huge = network.with_weights(weights).astype(np.float64)
    rewritten = rewrite(huge).network
    with np.errstate(over="ignore", invalid="ignore"):
        proof = prove(huge, rewritten, numpy_engine(rewritten), numpy_engine(huge), cases_for(huge))
    assert proof.fault.startswith("fc: the original in float32 gives values that are not finite on ")


def test_an_error_of_the_result_beyond_the_factor_is_a_fault():
    """Each layer may be within its own allowance and the sum of luck still too much."""
    tally = Tally("fc", "linear", is_result=True)
    want = np.array([[1.0, 0.5]])
    tally.compare_errors(want, want + 1e-7, want + 1e-5, np.ones((1, 2)), ("a",))
    assert tally.fault() == "rounding: float32 error of the result grew from 1.0e-07 to 1.0e-05 of its scale"
    tally.is_result = False
    assert tally.fault() == ""


def test_a_result_taken_from_the_wrong_layer_is_named(numpy_engine):
    b = Builder("twice", (2, 6, 9))
    b.add(GlobalAvgPool(), INPUT, name="gap")
    b.add(Linear(2, 2), "gap", name="fc")
    b.add(Linear(2, 2), "fc", name="result")
    original = with_random_weights(b.build(), 0).astype(np.float64)
    wrong = replace(original, output="fc")
    proof = prove(original, wrong, numpy_engine(wrong), numpy_engine(original), cases_for(original))
    assert [layer.name for layer in proof.layers] == ["gap", "fc", "result", "result"]
    assert [bool(layer.fault) for layer in proof.layers] == [False, False, False, True]


def test_small_parts():
    assert share(np.array([0.0, 1.0, 1.0]), np.array([0.0, 0.0, 4.0])).tolist() == [0.0, np.inf, 0.25]
    assert scale_of(np.array([[1.0, -3.0], [0.0, 0.0]])).tolist() == [[3.0], [2.0**-76]]
    assert worst_of(np.array([[1.0], [5.0]]), ("a", "b"), Worst(value=2, case="z")) == Worst(value=5, case="b")
    squares = Squares()
    squares.add(np.array([[3.0]]))
    squares.add(np.array([[4.0], [5.0]]))
    assert squares.root_mean() == pytest.approx((50 / 3) ** 0.5)
    squares.add(np.array([[[6.0, 8.0]], [[0.0, 9.0]]]), scale=np.array([[[2.0]], [[3.0]]]))
    assert squares.root_mean() == pytest.approx(((50 + 25 + 9) / 7) ** 0.5)
    assert worst_of(np.array([[1.0], [np.nan]]), ("a", "b"), Worst()) == Worst(value=np.inf, case="b")
