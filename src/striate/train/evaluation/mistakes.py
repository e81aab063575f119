"""Which images were answered wrongly, how sure the network was, and which classes it takes for which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from striate.train.evaluation.answers import Answers
from striate.train.evaluation.metrics import Counts


@dataclass(frozen=True, slots=True)
class Mistake:
    """One wrong answer: the image's row in its part, both classes by number, and the probability of the wrong one."""

    row: int
    true: int
    predicted: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """One class taken for another one."""

    true: int
    predicted: int
    count: int


def mistakes(answers: Answers, temperature: float = 1.0) -> tuple[Mistake, ...]:
    """Every wrong answer, the most confident first; of equal ones in the order of the part."""
    confidence, predicted = answers.confidence(temperature), answers.predicted
    rows = np.flatnonzero(~answers.is_right)
    rows = rows[np.argsort(-confidence[rows], kind="stable")]
    return tuple(Mistake(int(r), int(answers.labels[r]), int(predicted[r]), float(confidence[r])) for r in rows)


def confusions(confusion: Counts) -> tuple[Confusion, ...]:
    """Each pair of classes that was confused, the most frequent first; of equal ones in the order of the classes."""
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")
    pairs = np.stack(np.unravel_index(order, wrong.shape), axis=1)
    return tuple(
        Confusion(int(true), int(other), int(wrong[true, other])) for true, other in pairs if wrong[true, other]
    )
