"""The Python door: fit, predict, score on arrays."""

from __future__ import annotations

import numpy as np
import pytest

import striate
from striate.data import load
from striate.errors import RunError, UsageError

NET = "4C3s2-BN-R-8C3-BN-R-MP2-F-10"


@pytest.fixture(scope="module")
def sample():
    dataset, _ = load("sample")
    return dataset


@pytest.fixture(scope="module")
def fitted(sample):
    return striate.Classifier(NET, epochs=1, threads=1).fit(sample.train.images[:, 0], sample.train.labels)


def test_it_learns_and_scores(fitted, sample):
    score = fitted.score(sample.test.images[:, 0], sample.test.labels)
    predicted = fitted.predict(sample.test.images[:, 0])
    assert score > 0.6
    assert score == (predicted == sample.test.labels.astype(str)).mean()
    assert fitted.classes == tuple(map(str, range(10)))


def test_probabilities_are_distributions_that_do_not_depend_on_batch_mates(fitted, sample):
    images = sample.test.images[:7, 0]
    together = fitted.predict_proba(images)
    alone = np.concatenate([fitted.predict_proba(images[i : i + 1]) for i in range(7)])
    assert together.shape == (7, 10)
    assert np.abs(together.sum(axis=1) - 1).max() < 1e-12
    assert np.abs(together - alone).max() < 1e-6


def test_every_choice_is_told_and_the_recipe_is_complete(fitted):
    assert {"validation", "input", "batch_images", "peak_lr", "flip", "shift_px"} <= {c.name for c in fitted.choices}
    assert fitted.recipe.unresolved() == ()
    assert fitted.recipe.flip is False  # arrays say nothing about mirrors


def test_the_same_seed_gives_the_same_network(fitted, sample):
    again = striate.Classifier(NET, epochs=1, threads=1).fit(sample.train.images[:, 0], sample.train.labels)
    one, two = fitted.network(), again.network()
    assert all(np.array_equal(one.weights[name], two.weights[name]) for name in one.weights)
    assert one.parameters() == 4278


def test_it_writes_a_run_and_will_not_overwrite_it(sample, tmp_path):
    images, labels = sample.train.images[:600], np.array(sample.classes)[sample.train.labels[:600]]
    model = striate.Classifier(NET, epochs=1, threads=1)
    model.fit(images, labels, out=tmp_path / "run")
    assert (tmp_path / "run" / "weights.safetensors").exists()
    assert set(model.classes) == set(sample.classes)
    with pytest.raises(RunError, match="holds a finished run; choose another --out"):
        striate.Classifier(NET, epochs=1, threads=1).fit(images, labels, out=tmp_path / "run")


def test_before_fit_it_says_so():
    with pytest.raises(UsageError, match=r"^this classifier is not trained yet; call fit\(X, y\) first$"):
        striate.Classifier(NET).predict(np.zeros((1, 28, 28), np.uint8))


def test_images_of_another_size_are_refused(fitted):
    with pytest.raises(UsageError, match=r"images are \(1, 30, 28\), training had \(1, 28, 28\)"):
        fitted.predict(np.zeros((1, 30, 28), np.uint8))


def test_inspect_takes_text_networks_and_modules(fitted):
    torch = pytest.importorskip("torch")
    of_text = striate.inspect(NET, (1, 28, 28))
    of_network = striate.inspect(fitted.network())
    with torch.device("meta"):
        module = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, stride=2, padding=1), torch.nn.ReLU())
    of_module = striate.inspect(module, (1, 28, 28))
    assert [layer.macs for layer in of_text.layers] == [layer.macs for layer in of_network.layers]
    assert of_module.layers[0].macs == of_text.layers[0].macs
    assert str(of_text).startswith(f"{NET}   input 1x28x28\n")
