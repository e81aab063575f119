"""Are the probabilities true? How far they are off, the temperature that mends most of it, and when to abstain.

Everything is fitted on answers that chose the weights (validation) and reported on those that did not (test).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.train.evaluation.answers import Answers
from striate.train.evaluation.metrics import wilson_interval

BINS = 15  # Guo et al. 2017, arXiv:1706.04599, and most since
TEMPERATURES = (0.05, 20.0)  # beyond lie networks that are always right, or worse than chance
LEAST_FITTED = 50  # validation images; fewer fit chance
LEAST_ANSWERED = 20  # images above a threshold; fewer say nothing of its accuracy
NEWTON_STEPS = 100  # about 6 are needed; halving alone would take 60


@dataclass(frozen=True, slots=True)
class Reliability:
    """How well probabilities fit what happened, at one temperature; 0 is perfect in each.

    nll: mean -log p of the label, nats; brier: mean squared distance of the probabilities from the label, 0 .. 2
    (Brier 1950); ece: mean |accuracy - confidence| over 15 bins of equal width, weighted by their images (Naeini et
    al. 2015); adaptive_ece: the same over 15 bins of equally many images (Nixon et al. 2019, arXiv:1904.01685).
    """

    nll: float
    brier: float
    ece: float
    adaptive_ece: float


@dataclass(frozen=True, slots=True)
class Answered:
    """What is left of a part when the network abstains below a probability."""

    answered: int
    images: int
    right: int

    @property
    def share(self) -> float:
        """Share of the images that get an answer."""
        return self.answered / self.images

    @property
    def accuracy(self) -> float | None:
        """Share of the answers that are right; None without answers."""
        return self.right / self.answered if self.answered else None

    def to_json(self) -> dict[str, Any]:
        """A mapping of plain JSON values."""
        interval = list(wilson_interval(self.right, self.answered)) if self.answered else None
        counts = {"answered": self.answered, "images": self.images, "right": self.right}
        return {**counts, "share": self.share, "accuracy": self.accuracy, "interval_95": interval}


@dataclass(frozen=True, slots=True)
class Calibration:
    """What validation says of the probabilities, and the use that can be made of them.

    temperature: what logits are to be divided by; abstain_below: the probability, at that temperature, under which to
    give no answer so that those given are right as often as target_accuracy; None where all answers meet it already
    (is_reached) or no threshold does. images: how many validation had; with fewer than 50 nothing is fitted.
    """

    temperature: float
    target_accuracy: float
    abstain_below: float | None
    is_reached: bool
    images: int

    @property
    def is_fitted(self) -> bool:
        """Whether validation had enough images."""
        return self.images >= LEAST_FITTED

    def to_json(self) -> dict[str, Any]:
        """A mapping of plain JSON values."""
        return {
            "fitted_on": "validation" if self.is_fitted else None,
            "validation_images": self.images,
            "temperature": self.temperature,
            "target_accuracy": self.target_accuracy,
            "abstain_below": self.abstain_below,
            "is_reached": self.is_reached,
        }


def calibrate(validation: Answers, target_accuracy: float) -> Calibration:
    """Fit the temperature, then the threshold, on answers to images that no weight was trained on."""
    if len(validation) < LEAST_FITTED:
        return Calibration(1.0, target_accuracy, None, is_reached=False, images=len(validation))
    temperature = fit_temperature(validation)
    below, is_reached = fit_threshold(validation.confidence(temperature), validation.is_right, target_accuracy)
    return Calibration(temperature, target_accuracy, below, is_reached, len(validation))


def reliability(answers: Answers, temperature: float = 1.0) -> Reliability:
    """Measure the probabilities at a temperature."""
    log_p = answers.log_probabilities(temperature)
    rows = np.arange(len(answers))
    missed = np.exp(log_p)
    missed[rows, answers.labels] -= 1
    confidence, is_right = answers.confidence(temperature), answers.is_right
    return Reliability(
        nll=float(-log_p[rows, answers.labels].mean()),
        brier=float((missed**2).sum(axis=1).mean()),
        ece=_error(confidence, is_right, np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)),
        adaptive_ece=_error(confidence, is_right, _equal_bins(confidence)),
    )


def fit_temperature(answers: Answers) -> float:
    """The temperature of least cross-entropy on these answers and one more, within 0.05 .. 20.

    With b = 1 / T, the loss mean(log sum exp(b z) - b y . z) is convex in b: its slope is mean(E[z] - y . z) and its
    curvature mean(Var[z]), E and Var under the softmax. Newton's steps, halving where one leaves the bracket.
    y is the label but for a share 1 / (N + 1) spread over all classes: as if one image more had been seen, of any
    class. Without it, N right answers would ask for probabilities of 1.
    Source: Guo et al. 2017, arXiv:1706.04599, sec. 4.2; the share as Platt 1999, sec. 2.2 has it for two classes.
    """
    z = answers.logits - answers.logits.max(axis=1, keepdims=True)
    spread_share = 1 / (len(z) + 1)
    own = (1 - spread_share) * z[np.arange(len(z)), answers.labels] + spread_share * z.mean(axis=1)

    def slope_and_curvature(b: float) -> tuple[float, float]:
        weights = np.exp(b * z)
        weights /= weights.sum(axis=1, keepdims=True)
        mean = (weights * z).sum(axis=1)
        spread = (weights * (z - mean[:, None]) ** 2).sum(axis=1)
        return float((mean - own).mean()), float(spread.mean())

    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    falls_at_end, rises_at_start = slope_and_curvature(high)[0] <= 0, slope_and_curvature(low)[0] >= 0
    if falls_at_end or rises_at_start:
        return 1.0 if falls_at_end and rises_at_start else 1 / (high if falls_at_end else low)
    b = 1.0
    for _ in range(NEWTON_STEPS):
        slope, curvature = slope_and_curvature(b)
        low, high = (low, b) if slope > 0 else (b, high)
        new = b - slope / curvature if curvature > 0 else low
        new = new if low < new < high else (low + high) / 2
        if abs(new - b) <= 1e-12 * b:
            break
        b = new
    return 1 / b


def fit_threshold(
    confidence: NDArray[np.float64], is_right: NDArray[np.bool_], target_accuracy: float
) -> tuple[float | None, bool]:
    """The lowest threshold at which the answers given reach the target, and whether the target can be reached.

    The threshold lies halfway between two confidences that occur. (None, True): all answers together meet the target;
    (None, False): no 20 or more of the most confident do.
    """
    order = np.argsort(-confidence, kind="stable")
    sorted_confidence = confidence[order]
    accuracies = np.cumsum(is_right[order]) / np.arange(1, len(order) + 1)
    can_end = np.append(sorted_confidence[:-1] > sorted_confidence[1:], True)  # equal confidences stay together
    meets = np.flatnonzero((accuracies >= target_accuracy) & can_end) + 1  # how many are answered
    meets = meets[(meets >= LEAST_ANSWERED) | (meets == len(order))]
    if not len(meets):
        return None, False
    count = int(meets[-1])
    if count == len(order):
        return None, True
    return float((sorted_confidence[count - 1] + sorted_confidence[count]) / 2), True


@dataclass(frozen=True, slots=True)
class Checked:
    """The probabilities of one part: as trained, at the fitted temperature, and what abstaining leaves."""

    as_trained: Reliability
    at_temperature: Reliability
    answered: Answered

    def to_json(self) -> dict[str, Any]:
        """A mapping of plain JSON values."""
        pairs = {"as_trained": asdict(self.as_trained), "at_temperature": asdict(self.at_temperature)}
        return {"bins": BINS, **pairs, "answered": self.answered.to_json()}


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """What was fitted on validation, and how it does there and on the test part, which had no say in it."""

    fitted: Calibration
    validation: Checked
    test: Checked | None

    @property
    def headline(self) -> Checked:
        """Test where there is one, else validation, which flatters a little."""
        return self.test or self.validation

    def to_json(self) -> dict[str, Any]:
        """A mapping of plain JSON values."""
        test = self.test.to_json() if self.test else None
        return {**self.fitted.to_json(), "validation": self.validation.to_json(), "test": test}


def report(validation: Answers, test: Answers | None, target_accuracy: float) -> CalibrationReport:
    """Fit on the first, measure both."""
    fitted = calibrate(validation, target_accuracy)
    values = fitted.temperature, fitted.abstain_below
    return CalibrationReport(fitted, check(validation, *values), check(test, *values) if test else None)


def check(answers: Answers, temperature: float, abstain_below: float | None) -> Checked:
    """Measure the probabilities of one part."""
    before, after = reliability(answers), reliability(answers, temperature)
    return Checked(before, after, answered(answers, temperature, abstain_below))


def answered(answers: Answers, temperature: float, abstain_below: float | None) -> Answered:
    """How many of these images get an answer, and how many of those are right."""
    gives = answers.confidence(temperature) >= (abstain_below or 0.0)
    return Answered(int(gives.sum()), len(answers), int((answers.is_right & gives).sum()))


def _equal_bins(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each image (N,), as many images in each as can be, in the order of confidence."""
    bins = np.empty(len(confidence), np.int64)
    order = np.argsort(confidence, kind="stable")
    for number, members in enumerate(np.array_split(order, min(BINS, len(order)))):
        bins[members] = number
    return bins


def _error(confidence: NDArray[np.float64], is_right: NDArray[np.bool_], bins: NDArray[np.int64]) -> float:
    """Sum over the bins of |sum of (right - confidence)|, by the number of images."""
    gaps = np.bincount(bins, weights=is_right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))
