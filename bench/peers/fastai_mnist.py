"""fastai's MNIST example: ResNet-18 by `vision_learner`, batches of 256, one cycle of one epoch to a rate of 0.01.

Source: https://github.com/fastai/fastai/blob/main/nbs/examples/mnist_blocks.py. The example starts from weights of
ImageNet; here nothing is fetched, so that `pretrained=False`, and the network takes the one channel there is. The cycle
is repeated until the limit.
"""

from __future__ import annotations

import numpy as np
import torch
from _peer import Clock, task
from fastai.vision.all import (
    Callback,
    CategoryBlock,
    DataBlock,
    GrandparentSplitter,
    ImageBlock,
    PILImageBW,
    get_image_files,
    parent_label,
    resnet18,
    vision_learner,
)

BATCH, RATE, CYCLES = 256, 1e-2, 100


class Watch(Callback):
    """Tells the clock what `fit` does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def after_batch(self) -> None:
        """Of training and of validation alike."""
        if self.training:
            self._clock.trained(len(self.yb[0]))

    def before_validate(self) -> None:
        """Validation is no training."""
        self._clock.pause()

    def after_validate(self) -> None:
        """Training goes on."""
        self._clock.resume()


def main() -> None:
    """Cycles as the example makes one."""
    given = task()
    torch.manual_seed(given.seed)
    block = DataBlock(
        blocks=(ImageBlock(PILImageBW), CategoryBlock),
        get_items=get_image_files,
        splitter=GrandparentSplitter(train_name="train", valid_name="test"),
        get_y=parent_label,
    )
    loaders = block.dataloaders(given.folder / "images", bs=BATCH, device=torch.device("cpu"))
    learner = vision_learner(loaders, resnet18, pretrained=False, n_in=1)
    test = torch.from_numpy(given.test[:, None].astype(np.float32) / 255)
    labels = torch.from_numpy(given.test_labels)

    def accuracy() -> float:
        learner.model.eval()
        with torch.no_grad():
            right = sum(
                int((learner.model(x).argmax(1) == y).sum())
                for x, y in zip(test.split(1000), labels.split(1000), strict=True)
            )
        learner.model.train()
        return right / len(labels)

    # fastai leaves out the last, smaller batch.
    clock = Clock(len(given.train) // BATCH * BATCH, accuracy)
    clock.start()
    with learner.no_bar(), learner.no_logging():
        for _ in range(CYCLES):
            learner.fit_one_cycle(1, RATE, cbs=Watch(clock))


if __name__ == "__main__":
    main()
