"""Keras' "Simple MNIST convnet": 32 and 64 filters, dropout, Adam, batches of 128, a tenth held out.

Source: https://keras.io/examples/vision/mnist_convnet/. KERAS_BACKEND in the environment names the backend. The first
compilation counts as training, as in the example; validation on what is held out does not.
"""

from __future__ import annotations

import keras
import numpy as np
from _peer import Clock, task
from keras import layers

BATCH, EPOCHS, HELD_OUT = 128, 15, 0.1


class Watch(keras.callbacks.Callback):
    """Tells the clock what `fit` does."""

    def __init__(self, clock: Clock, images_per_epoch: int) -> None:
        super().__init__()
        self._clock, self._images, self._left = clock, images_per_epoch, 0

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        """The epoch's images lie ahead."""
        self._left = self._images

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        """The last batch of an epoch may be smaller."""
        images = min(BATCH, self._left)
        self._left -= images
        self._clock.trained(images)

    def on_test_begin(self, logs: object = None) -> None:
        """Validation is no training."""
        self._clock.pause()

    def on_test_end(self, logs: object = None) -> None:
        """Training goes on."""
        self._clock.resume()


def network() -> keras.Sequential:
    """The example's network; input (N, 28, 28, 1), output (N, 10) probabilities."""
    return keras.Sequential(
        [
            keras.Input(shape=(28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )


def main() -> None:
    """Fit as the example does."""
    given = task()
    keras.utils.set_random_seed(given.seed)
    x, test = (pixels[..., None].astype(np.float32) / 255 for pixels in (given.train, given.test))
    model = network()
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])

    def accuracy() -> float:
        if keras.backend.backend() == "jax":
            model.jax_state_sync()  # within an epoch the weights live outside the model
        found = model.predict(test, batch_size=1000, verbose=0)
        return float((found.argmax(1) == given.test_labels).mean())

    kept = int(len(x) * (1 - HELD_OUT))  # as Keras rounds it
    clock = Clock(kept, accuracy)
    y = keras.utils.to_categorical(given.train_labels, 10)
    clock.start()
    watch = Watch(clock, kept)
    model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, validation_split=HELD_OUT, verbose=0, callbacks=[watch])


if __name__ == "__main__":
    main()
