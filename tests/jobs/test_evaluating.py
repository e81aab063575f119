from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data import load_part, normalise, sources
from striate.errors import UsageError

torch = pytest.importorskip("torch")

from striate.artifact import load  # noqa: E402 - only where torch is installed
from striate.jobs import evaluating, training  # noqa: E402
from striate.jobs.evaluating import evaluate  # noqa: E402
from striate.jobs.shipping import ship_run  # noqa: E402
from striate.train.evaluation.calibration import reliability  # noqa: E402
from striate.train.observer import Observer  # noqa: E402
from striate.train.recipe import Recipe  # noqa: E402
from striate.train.run.state import Run  # noqa: E402


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Two epochs on photographs in one folder, which training has split into three parts."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("photos")
    labels = np.arange(600) % 3
    images = rng.integers(0, 90, (600, 1, 9, 11), np.uint8)
    images[np.arange(600), 0, :, 2 + 3 * labels] += rng.integers(0, 150, (600, 9), np.uint8)
    for k, (image, label) in enumerate(zip(images, labels, strict=True)):
        (folder / "abc"[label]).mkdir(exist_ok=True)
        Image.fromarray(image[0]).save(folder / "abc"[label] / f"{k}.png")
    out = tmp_path_factory.mktemp("runs") / "one"
    recipe = Recipe(
        data=str(folder),
        net="4C3-BN-R-MP2-F-3",
        epochs=2,
        threads=1,
        flip=False,
        target_accuracy=0.8,
        validation_share=0.2,
    )
    training.run(training.prepare(recipe), out, Observer())
    return out


def test_a_run_is_measured_on_its_own_test_part_not_on_what_it_saw(run):
    recorded = Run(run).read("result.json")
    for data in ("", Run(run).recipe().data):
        found = evaluate(run, data)
        assert found.measured_on == "the run's own test part, as it was split for training"
        assert found.scores.images == recorded["test"]["images"] == 120
        assert found.scores.confusion.tolist() == recorded["test"]["confusion"]
        assert found.calibration.to_json() == recorded["calibration"]["test"]


def test_temperature_and_threshold_go_from_validation_into_run_and_artifact(run, tmp_path):
    recorded = Run(run).read("result.json")["calibration"]
    assert recorded["fitted_on"] == "validation"
    assert recorded["target_accuracy"] == 0.8
    ship_run(run, tmp_path / "m.onnx")
    manifest = load(tmp_path / "m.onnx").manifest
    assert (manifest.temperature, manifest.abstain_below) == Run(run).fitted()
    assert manifest.temperature == recorded["temperature"] != 1.0
    source = Run(run).recipe().data
    of_model, of_run = evaluate(tmp_path / "m.onnx", source), evaluate(run)
    assert of_model.measured_on == source
    assert of_model.temperature == of_run.temperature
    assert of_model.scores.images == 600  # an artifact cannot know what it was trained on


def test_the_mirror_image_is_averaged_in_and_told_apart(run):
    found = evaluate(run, tta="flip")
    assert found.scores.confusion.tolist() == evaluate(run).scores.confusion.tolist()
    module, preprocessing = training.trained(run), Run(run).preprocessing()
    images = normalise(found.part.images, preprocessing)
    with torch.inference_mode():
        logits = [module(torch.from_numpy(x.copy())).double() for x in (images, images[..., ::-1])]
    predicted = (logits[0] + logits[1]).argmax(1).numpy()
    assert found.mirrored.right == (predicted == found.part.labels).sum()
    assert evaluate(run).mirrored is None


def test_images_on_disk_are_answered_as_in_memory_and_the_choice_is_told(run, tmp_path, monkeypatch):
    photos = shutil.copytree(Run(run).recipe().data, tmp_path / "photos")
    memory = evaluate(run, str(photos), tta="flip")
    monkeypatch.setattr(sources, "free_bytes", lambda: 2 * memory.part.images.nbytes - 1)
    monkeypatch.setattr(evaluating, "MIRRORED_IMAGES", 32)
    disk = evaluate(run, str(photos), tta="flip", pixels_folder=tmp_path / "pixels")
    assert isinstance(disk.part.images, np.memmap)
    assert disk.answers.logits.tobytes() == memory.answers.logits.tobytes()
    assert disk.mirrored.confusion.tolist() == memory.mirrored.confusion.tolist()
    assert ([c.name for c in disk.choices], disk.choices[0].value, memory.choices) == (["pixels"], "disk", ())


def test_the_answers_are_those_scored(run):
    found = evaluate(run)
    assert found.calibration.as_trained == reliability(found.answers)
    assert found.calibration.at_temperature.nll <= reliability(found.answers).nll + 0.05
    part, _ = load_part(Run(run).recipe().data, ("a", "b", "c"), Run(run).preprocessing())
    assert set(found.part.names) < set(part.names)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("m.onnx", {}, "m.onnx: holds no images; name labelled ones, as in `striate evaluate m.onnx photos/`"),
        ("m.pt", {"data": "x"}, "m.pt: is neither a run folder nor an .onnx file; give one of them"),
        ("m.onnx", {"tta": "crop"}, "tta is 'crop'; use none or flip"),
    ],
)
def test_what_cannot_be_evaluated_is_told(target, options, message):
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        evaluate(Path(target), **options)
