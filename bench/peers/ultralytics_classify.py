"""Ultralytics' documented training on Fashion-MNIST: a nano classifier, 100 epochs, 28 px (which it rounds to 32).

Source: https://docs.ultralytics.com/datasets/classify/fashion-mnist/. The page starts from fetched weights; here
nothing is fetched, so that the same model is built from the yaml file that the package brings. Batch, optimizer and
augmentation stay as they come. Looked at is the averaged model, which is what Ultralytics validates and saves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from _peer import Clock, task
from ultralytics import YOLO

if TYPE_CHECKING:
    from ultralytics.engine.trainer import BaseTrainer

MODEL = "yolo26n-cls.yaml"


class Watch:
    """Tells the clock what the trainer does."""

    def __init__(self, train_images: int) -> None:
        self._images, self._left = train_images, 0
        self._trainer: BaseTrainer | None = None
        self._test: list[dict[str, torch.Tensor]] = []
        self._clock = Clock(train_images, self._accuracy)

    def on_train_start(self, trainer: BaseTrainer) -> None:
        """All is loaded; the test part is read once, before the clock starts."""
        self._trainer, self._test = trainer, list(trainer.test_loader)
        self._clock.start()

    def on_train_epoch_start(self, trainer: BaseTrainer) -> None:
        """The epoch's images lie ahead."""
        self._left = self._images

    def on_train_batch_end(self, trainer: BaseTrainer) -> None:
        """The last batch of an epoch may be smaller."""
        images = min(trainer.batch_size, self._left)
        self._left -= images
        self._clock.trained(images)

    def _accuracy(self) -> float:
        model = self._trainer.ema.ema.eval()
        right = images = 0
        with torch.no_grad():
            for batch in self._test:
                found = model(batch["img"])
                scores = found[0] if isinstance(found, (list, tuple)) else found
                right += int((scores.argmax(1) == batch["cls"]).sum())
                images += len(scores)
        return right / images


def main() -> None:
    """Train as the page does; without validation and plots of its own, which are not asked about."""
    given = task()
    model = YOLO(MODEL, task="classify")
    watch = Watch(len(given.train))
    for event in ("on_train_start", "on_train_epoch_start", "on_train_batch_end"):
        model.add_callback(event, getattr(watch, event))
    model.train(
        data=str(given.folder / "images"),
        epochs=100,
        imgsz=28,
        seed=given.seed,
        device="cpu",
        project=str(given.folder / "runs"),
        val=False,
        plots=False,
        verbose=False,
    )


if __name__ == "__main__":
    main()
