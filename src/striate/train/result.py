"""What a finished run has to say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from striate.train.evaluation.calibration import CalibrationReport
from striate.train.evaluation.metrics import Evaluation


@dataclass(frozen=True, slots=True)
class Gap:
    """The same training images normalised by their batches, as in training, and by the running statistics.

    Losses are mean cross-entropies in nats; a large difference means that the statistics do not fit the weights.
    """

    images: int
    batch_images: int
    batch_loss: float
    batch_accuracy: float
    running_loss: float
    running_accuracy: float

    def __str__(self) -> str:
        return (
            f"loss {self.running_loss:.3f} by running statistics, {self.batch_loss:.3f} by those of batches of "
            f"{self.batch_images}, on {self.images} training images"
        )

    def to_json(self) -> dict[str, int | float]:
        """Its part of result.json."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """Scores of the kept weights: by default those of the best epoch on validation. Test was looked at once."""

    validation: Evaluation
    test: Evaluation | None
    kept_epoch: int  # from 1
    epochs: int  # that were done
    train_seconds: float  # steps and checkpoints; without validation and test
    images_per_s: float  # shown in training, per train second
    history: tuple[dict[str, Any], ...]
    calibration: CalibrationReport | None = None
    gap: Gap | None = None  # of batch normalisation's two modes; None without it
    recoveries: tuple[dict[str, Any], ...] = ()  # epochs that diverged and were begun anew at a lower rate

    @property
    def headline(self) -> Evaluation:
        """Test where there is one, else validation (which has chosen the epoch, and so flatters a little)."""
        return self.test or self.validation

    def to_json(self) -> dict[str, Any]:
        """The content of result.json."""
        return {
            "accuracy": self.headline.accuracy,
            "interval_95": list(self.headline.interval_95),
            "measured_on": "test" if self.test else "validation",
            "validation_accuracy": self.validation.accuracy,
            "kept_epoch": self.kept_epoch,
            "epochs": self.epochs,
            "train_seconds": round(self.train_seconds, 3),
            "images_per_s": round(self.images_per_s, 1),
            "train_eval_gap": self.gap.to_json() if self.gap else None,
            "recoveries": list(self.recoveries),
            "calibration": self.calibration.to_json() if self.calibration else None,
            "test": self.test.to_json() if self.test else None,
            "validation": self.validation.to_json(),
        }
