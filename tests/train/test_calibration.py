from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy.optimize import minimize_scalar
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from striate.errors import RunError
from striate.train.evaluation.answers import Answers
from striate.train.evaluation.calibration import (
    BINS,
    Answered,
    answered,
    calibrate,
    fit_temperature,
    fit_threshold,
    reliability,
)


def answers_of(seed, images=211, classes=5, scale=2.0, strength=1.5):
    """Logits that know something of random labels, and too much or too little of how much."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    logits = rng.normal(size=(images, classes))
    logits[np.arange(images), labels] += strength
    return Answers(scale * logits, labels)


@given(st.integers(0, 10**6), st.integers(2, 200), st.integers(2, 7), st.sampled_from([0.3, 1.0, 4.0]))
def test_the_scores_are_scikit_learns(seed, images, classes, scale):
    answers = answers_of(seed, images, classes, scale)
    p = np.exp(answers.log_probabilities(1.7))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    ours = reliability(answers, 1.7)
    assert ours.nll == pytest.approx(oracle.log_loss(answers.labels, p, labels=range(classes)), rel=1e-9)
    brier = sum(oracle.brier_score_loss(answers.labels == k, p[:, k]) for k in range(classes))
    assert ours.brier == pytest.approx(brier, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_calibration_error_is_that_of_scikit_learns_bins(seed):
    answers = answers_of(seed, images=500)
    confidence, is_right = answers.confidence(), answers.is_right
    ours = reliability(answers)
    true, said = calibration_curve(is_right, confidence, n_bins=BINS, strategy="uniform")
    counts = np.histogram(confidence, np.linspace(0, 1, BINS + 1))[0]
    assert ours.ece == pytest.approx(np.average(np.abs(true - said), weights=counts[counts > 0]), rel=1e-9)
    order = np.argsort(confidence)
    gaps = [abs(is_right[m].mean() - confidence[m].mean()) * len(m) / 500 for m in np.array_split(order, BINS)]
    assert ours.adaptive_ece == pytest.approx(sum(gaps), rel=1e-9)


def test_bins_end_at_their_upper_edge():
    """Confidences at multiples of 1/15 are in the lower of the two bins; here two that cancel in one bin only."""
    labels = np.array([0, 1])
    p = np.array([[9 / 15, 6 / 15], [8.5 / 15, 6.5 / 15]])
    off = reliability(Answers(np.log(p), labels))
    assert off.ece == pytest.approx(abs((1 - 9 / 15) + (0 - 8.5 / 15)) / 2)


@given(st.integers(0, 10**6), st.integers(30, 200), st.integers(2, 6), st.floats(0.2, 5))
def test_the_temperature_is_where_scipy_finds_the_least_loss(seed, images, classes, scale):
    answers = answers_of(seed, images, classes, scale)
    found = fit_temperature(answers)

    def loss_at(log_t):
        log_p = answers.log_probabilities(np.exp(log_t))
        return images / (images + 1) * reliability(answers, np.exp(log_t)).nll - log_p.mean() / (images + 1)

    loss = minimize_scalar(loss_at, bounds=np.log([0.05, 20]), method="bounded")
    assert loss_at(np.log(found)) <= loss.fun + 1e-12
    if 0.06 < found < 19:
        assert np.log(found) == pytest.approx(loss.x, abs=1e-3)


@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_logits_scaled_need_a_temperature_scaled(factor):
    answers = answers_of(8)
    scaled = Answers(factor * answers.logits, answers.labels)
    assert fit_temperature(scaled) == pytest.approx(factor * fit_temperature(answers), rel=1e-9)


def test_a_fitted_temperature_makes_confidence_true_on_other_images():
    answers, others = answers_of(1, 2000, scale=4.0), answers_of(2, 2000, scale=4.0)
    temperature = fit_temperature(answers)
    assert reliability(others, temperature).ece < 0.3 * reliability(others).ece
    assert reliability(others, temperature).ece < 0.03


@pytest.mark.parametrize(
    ("logits", "labels", "temperature"),
    [
        ([[900.0, 0.0], [0.0, 900.0]], [0, 1], 20.0),  # right beyond reason
        ([[0.01, 0.0], [0.0, 0.01]], [0, 1], 0.05),  # right, and far too shy
        ([[3.0, 0.0], [0.0, 2.0]], [1, 0], 20.0),  # always wrong: the warmer
        ([[1.0, 1.0], [2.0, 2.0]], [0, 1], 1.0),  # knows nothing, at any temperature
    ],
)
def test_without_a_minimum_the_temperature_ends_at_a_bound(logits, labels, temperature):
    assert fit_temperature(Answers(np.array(logits), np.array(labels))) == pytest.approx(temperature)


def test_a_faultless_part_does_not_ask_for_certainty():
    """Of 99 right answers and one of either class, 99.5 % are the first class: that is the probability then stated."""
    logits = np.tile([4.0, 0.0], (99, 1))
    temperature = fit_temperature(Answers(logits, np.zeros(99, np.int64)))
    assert np.exp(Answers(logits, np.zeros(99, np.int64)).log_probabilities(temperature))[0, 0] == pytest.approx(0.995)


def test_few_images_fit_nothing():
    found = calibrate(answers_of(4, images=49), 0.6)
    assert (found.temperature, found.abstain_below, found.is_fitted, found.images) == (1.0, None, False, 49)
    assert found.to_json()["fitted_on"] is None
    assert calibrate(answers_of(4, images=50), 0.6).is_fitted


def by_trying(confidence, is_right, target):
    """The most images that can be answered, over every threshold there is."""
    counts = [int((confidence >= c).sum()) for c in confidence]
    meets = [n for n, c in zip(counts, confidence, strict=True) if is_right[confidence >= c].mean() >= target]
    return max((n for n in meets if n >= 20 or n == len(confidence)), default=0)


@given(st.integers(0, 10**6), st.sampled_from([0.5, 0.7, 0.9, 0.99, 1.0]))
def test_the_threshold_answers_as_much_as_any_that_meets_the_target(seed, target):
    rng = np.random.default_rng(seed)
    confidence = rng.integers(1, 30, 60) / 30  # with equal ones
    is_right = rng.random(60) < confidence
    below, is_reached = fit_threshold(confidence, is_right, target)
    best = by_trying(confidence, is_right, target)
    assert is_reached is (best > 0)
    assert (below is None) is (best in (0, 60))
    if below is not None:
        assert (confidence >= below).sum() == best
        assert below not in confidence


def test_a_few_lucky_answers_reach_no_target():
    confidence, is_right = np.linspace(1, 0.1, 50), np.arange(50) < 19
    assert fit_threshold(confidence, is_right, 0.99) == (None, False)


def test_calibration_is_fitted_first_and_told_apart_on_other_images():
    validation, test = answers_of(1, 800, scale=3.0), answers_of(2, 800, scale=3.0)
    found = calibrate(validation, 0.9)
    assert found.temperature == fit_temperature(validation)
    on_validation, on_test = (answered(part, found.temperature, found.abstain_below) for part in (validation, test))
    assert on_validation.accuracy >= 0.9
    assert on_test.accuracy == pytest.approx(0.9, abs=0.04)
    gives = test.confidence(found.temperature) >= found.abstain_below
    assert (on_test.answered, on_test.right) == (gives.sum(), (gives & test.is_right).sum())
    assert found.to_json() == {
        "fitted_on": "validation",
        "validation_images": 800,
        "temperature": found.temperature,
        "target_accuracy": 0.9,
        "abstain_below": found.abstain_below,
        "is_reached": True,
    }


def test_no_answers_have_no_accuracy():
    nothing = Answered(0, 7, 0).to_json()
    assert nothing == {"answered": 0, "images": 7, "right": 0, "share": 0.0, "accuracy": None, "interval_95": None}
    always = answered(answers_of(3), 1.0, None)
    assert always.answered == always.images == 211


def test_answers_that_are_no_numbers_are_told():
    logits = np.array([[0.0, np.nan], [1.0, 0.0]])
    with pytest.raises(RunError, match=r"^evaluation: the loss is nan on 2 images; the network has diverged$"):
        Answers(logits, np.array([0, 1])).evaluation()
