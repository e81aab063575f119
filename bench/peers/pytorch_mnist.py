"""PyTorch's basic MNIST example with its defaults: two convolutions, dropout, Adadelta, batches of 64.

Source: https://github.com/pytorch/examples/blob/main/mnist/main.py. As there on a CPU, images are made from arrays one
by one in the main process, in the file's order. Mean and deviation stay MNIST's, as whoever changes only the data has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from _peer import Clock, task
from PIL import Image
from torch import nn
from torch.nn.functional import nll_loss
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEAN, DEVIATION, BATCH = 0.1307, 0.3081, 64
TRANSFORM = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (DEVIATION,))])


class Images(Dataset):
    """Arrays read as torchvision's MNIST reads them: an image object, then the transform."""

    def __init__(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        self._pixels, self._labels = pixels, labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return TRANSFORM(Image.fromarray(self._pixels[index])), int(self._labels[index])


def network() -> nn.Sequential:
    """The example's network; input (N, 1, 28, 28), output (N, 10) log probabilities."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),  # (N, 9216)
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
        nn.LogSoftmax(1),
    )


def main() -> None:
    """14 epochs, the learning rate falling by 0.7 after each."""
    given = task()
    torch.manual_seed(given.seed)
    model = network()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    train = DataLoader(Images(given.train, given.train_labels), batch_size=BATCH)
    test = list(DataLoader(Images(given.test, given.test_labels), batch_size=1000))

    def accuracy() -> float:
        model.eval()
        with torch.no_grad():
            right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in test)
        model.train()
        return right / len(given.test)

    clock = Clock(len(given.train), accuracy)
    clock.start()
    for _ in range(14):
        for images, labels in train:
            optimizer.zero_grad()
            nll_loss(model(images), labels).backward()
            optimizer.step()
            clock.trained(len(labels))
        scheduler.step()


if __name__ == "__main__":
    main()
