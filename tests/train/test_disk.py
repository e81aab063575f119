"""Images mapped from files train to the bits of images in memory, and are not copied into it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from striate.data.sources import load
from striate.train.feed import Pixels
from striate.train.loop import build, resume, train
from striate.train.run.state import Run
from watching import StopAfter, Stopped

COMPARED = ("weights.safetensors", "metrics.jsonl", "dataset.json")


@pytest.fixture
def photos(tmp_path, dataset):
    """The images of the training part as class folders of PNG files."""
    root = tmp_path / "photos"
    for i, (pixels, label) in enumerate(zip(dataset.train.images, dataset.train.labels, strict=True)):
        folder = root / dataset.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / f"{i}.png")
    return root


@pytest.mark.parametrize("workers", [0, 2])
def test_disk_and_memory_train_and_resume_to_the_same_bits(photos, tmp_path, recipe, builder, workers):
    def loaded(place):
        return load(photos, pixels=place, pixels_folder=tmp_path / "pixels")[0]

    memory, disk = Run(tmp_path / "memory"), Run(tmp_path / "disk")
    data = loaded("memory")
    train(build(builder, recipe, data.classes), data, recipe, memory)
    asked, data = recipe.changed(pixels="disk", loader_workers=workers), loaded("disk")
    with pytest.raises(Stopped):
        train(build(builder, asked, data.classes), data, asked, disk, StopAfter(5))
    result = resume(disk.path, builder, lambda recipe: loaded(recipe.pixels))
    assert result.test is not None
    for name in COMPARED:
        assert (memory.path / name).read_bytes() == (disk.path / name).read_bytes(), name


def test_a_mapped_part_is_shared_and_not_copied(photos, tmp_path):
    part = load(photos, pixels="disk", pixels_folder=tmp_path / "pixels")[0].train
    pixels = Pixels.of(part)
    assert pixels.images.data_ptr() == part.images.ctypes.data
    assert pixels.to("cpu", is_whole=False).images is pixels.images
    assert torch.equal(pixels.images[3:5], torch.from_numpy(np.array(part.images[3:5])))
