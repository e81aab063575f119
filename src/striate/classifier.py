"""The Python door: a network with fit, predict and score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from striate.data import Preprocessing, as_nchw, from_arrays, normalise
from striate.errors import UsageError
from striate.train.observer import Observer
from striate.train.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

    from striate.choice import Choice
    from striate.graph import Network
    from striate.train.result import Result

BATCH_IMAGES = 256


class Classifier:
    """An image classifier that trains on arrays.

    net: a notation, a family, or "package.module:callable"; chosen by the size of the images if left out
    recipe: any other key of a training recipe, such as epochs=10 or seed=1

    >>> model = Classifier("16C3-BN-R-MP2-32C3-BN-R-GAP-10", epochs=5).fit(X, y)      # doctest: +SKIP
    >>> model.predict(X[:3])                                                         # doctest: +SKIP

    After `fit`: `classes`, `preprocessing`, `choices` (each automatic decision with its reason), `result`.
    """

    def __init__(self, net: str = "", **recipe: Any) -> None:
        self.recipe = Recipe(net=net, data="arrays", **recipe)
        self.classes: tuple[str, ...] = ()
        self.preprocessing: Preprocessing | None = None
        self.choices: tuple[Choice, ...] = ()
        self.result: Result | None = None
        self._module: nn.Module | None = None

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        validation: tuple[ArrayLike, ArrayLike] | None = None,
        test: tuple[ArrayLike, ArrayLike] | None = None,
        out: str | Path | None = None,
        observer: Observer | None = None,
    ) -> Classifier:
        """Train on images X, uint8 (N, H, W), (N, H, W, C) or (N, C, H, W), with labels y, ints or strings (N,).

        Without `validation` a stratified share is held out of X to choose the best epoch. out: write a run folder.
        Raises: DataError, RecipeError, NotationError, ShapeError, RunError.
        """
        from striate.jobs import training
        from striate.train.loop import build, train
        from striate.train.run.state import Run

        share, seed = self.recipe.validation_share, self.recipe.seed
        dataset, choices = from_arrays(X, y, validation=validation, test=test, validation_share=share, seed=seed)
        prepared = training.tuned(training.prepare_for(dataset, self.recipe, choices))
        module = build(training.build_module, prepared.recipe, dataset.classes)
        run = None if out is None else Run(Path(out), prepared.choices)
        self.result = train(module, dataset, prepared.recipe, run, observer)
        self.recipe, self.choices = prepared.recipe, prepared.choices
        self.classes, self.preprocessing = dataset.classes, dataset.preprocessing
        self._module = module.eval()
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probabilities (N, classes) of images X, in the layout that `fit` takes, as a shipped model states them.

        They are the softmax of logits / T, with the temperature T that `fit` has found on validation.
        """
        import torch

        fitted = self.result.calibration if self.result else None
        temperature = fitted.fitted.temperature if fitted else 1.0
        module, preprocessing = self._fitted()
        images = as_nchw(X, None)
        if images.shape[1:] != preprocessing.shape:
            raise UsageError(f"predict: images are {images.shape[1:]}, training had {preprocessing.shape}; resize them")
        probabilities = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH_IMAGES):
                batch = torch.from_numpy(normalise(images[start : start + BATCH_IMAGES], preprocessing))
                probabilities.append(torch.softmax(module(batch).double() / temperature, dim=1).numpy())
        return np.concatenate(probabilities)

    def predict(self, X: ArrayLike) -> NDArray[np.str_]:
        """The most probable class name of each image, (N,)."""
        names: NDArray[np.str_] = np.array(self.classes)[self.predict_proba(X).argmax(axis=1)]
        return names

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Share of images whose predicted class is their label; y as in `fit`."""
        return float((self.predict(X) == np.asarray(y).astype(str)).mean())

    def network(self) -> Network:
        """The trained network as a value, for inspecting, rewriting and shipping."""
        from striate.graph.from_torch import capture
        from striate.graph.to_torch import NetworkModule

        module, preprocessing = self._fitted()
        if isinstance(module, NetworkModule):
            return module.trained()
        return capture(module, preprocessing.shape, name=self.recipe.net)

    def _fitted(self) -> tuple[nn.Module, Preprocessing]:
        if self._module is None or self.preprocessing is None:
            raise UsageError("this classifier is not trained yet; call fit(X, y) first")
        return self._module, self.preprocessing
