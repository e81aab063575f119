"""What a network answered, image by image: the raw material of every score that needs more than counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from striate.errors import DivergedError
from striate.train.evaluation.metrics import Evaluation, confusion_matrix


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """logits (N, K) float64 and labels (N,) int64 in 0 .. K - 1, in the order of the part they belong to."""

    logits: NDArray[np.float64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class of the largest logit (N,); of equal ones the first."""
        largest: NDArray[np.int64] = self.logits.argmax(axis=1)
        return largest

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether that is the label (N,)."""
        equal: NDArray[np.bool_] = self.predicted == self.labels
        return equal

    def log_probabilities(self, temperature: float = 1.0) -> NDArray[np.float64]:
        """z - log sum of exp z for z = logits / temperature, (N, K)."""
        z = self.logits / temperature
        result: NDArray[np.float64] = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
        return result

    def confidence(self, temperature: float = 1.0) -> NDArray[np.float64]:
        """The probability of the predicted class (N,)."""
        largest: NDArray[np.float64] = self.log_probabilities(temperature).max(axis=1)
        return np.exp(largest)

    def evaluation(self) -> Evaluation:
        """The scores that counts and loss give.  Raises: DivergedError if the loss is not finite."""
        rows = np.arange(len(self))
        with np.errstate(invalid="ignore"):  # infinite logits: said below
            loss = float(-self.log_probabilities()[rows, self.labels].mean())
        if not np.isfinite(loss):
            raise DivergedError(f"evaluation: the loss is {loss} on {len(self):,} images; the network has diverged")
        return Evaluation(confusion_matrix(self.labels, self.predicted, self.logits.shape[1]), loss)
