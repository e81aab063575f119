from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from striate.data import sources
from striate.data.sources import from_arrays
from striate.errors import RecipeError
from striate.jobs import training
from striate.ops import GroupNorm
from striate.train.binding import prepare, stepper_for
from striate.train.loop import build
from striate.train.machine import quiet_machine
from striate.train.observer import Observer
from striate.train.recipe import Recipe, load_recipe

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "recipes").glob("*.toml"))


def dataset(channels: int, side: int, images: int = 70):
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (images, channels, side, side + 1), dtype=np.uint8)
    return from_arrays(pixels, np.arange(images) % 10, layout="NCHW")[0]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_recipe_is_complete_and_its_network_takes_a_step(path):
    data = dataset(1 if "fashion" in path.stem else 3, 28 if "fashion" in path.stem else 32)
    prepared = training.prepare_for(data, load_recipe(path).changed(batch_images=35, threads=1))
    assert prepared.recipe.unresolved() == ()
    module = prepare(build(training.build_module, prepared.recipe, data.classes), prepared.recipe)
    stepper = stepper_for(module, data, prepared.recipe)
    with quiet_machine(1):
        module.train()
        assert 2.2 < stepper(0, 0).loss < 2.4  # ln 10 = 2.303: the logits start small


def test_weights_of_a_callable_start_from_the_recipes_seed(monkeypatch, tmp_path):
    (tmp_path / "own_net.py").write_text(
        "from torch import nn\n"
        "def net():\n"
        "    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)\n"
        "    return nn.Sequential(*layers)\n"
    )
    monkeypatch.chdir(tmp_path)
    recipe = Recipe(net="own_net:net", input="1x9x9", norm="group", epochs=1, threads=1)
    starts = [build(training.build_module, recipe.changed(seed=seed), ("a",) * 10) for seed in (1, 2, 1)]
    assert torch.equal(starts[0][0].weight, starts[2][0].weight)
    assert not torch.equal(starts[0][0].weight, starts[1][0].weight)
    assert isinstance(starts[0][1], nn.GroupNorm)


def test_a_planned_time_becomes_epochs_that_are_recorded(tmp_path):
    asked = Recipe(net="4C3-BN-R-GAP-10", time_seconds=1.5, averaging="ema", threads=1, batch_images=32)
    prepared = training.tuned(training.prepare_for(dataset(1, 9), asked))
    names = {choice.name: choice for choice in prepared.choices}
    assert prepared.recipe.epochs == names["epochs"].value
    assert [choice.name for choice in prepared.choices].count("epochs") == 1
    training.run(prepared, tmp_path / "run", Observer())
    assert load_recipe(tmp_path / "run" / "recipe.json") == prepared.recipe


def test_group_norm_is_one_key_away_and_stays_in_the_network(tmp_path):
    asked = Recipe(net="8C3-BN-R-GAP-10", epochs=1, norm="group", batch_images=4, threads=1)
    training.run(training.prepare_for(dataset(1, 9), asked), tmp_path / "run", Observer())
    network = training.trained_network(tmp_path / "run")
    assert [type(node.op) for node in network][1] is GroupNorm


def test_micro_batches_of_batch_norm_are_spoken_of():
    asked = Recipe(net="8C3-BN-R-GAP-10", epochs=1, batch_images=4, threads=1)
    said = [str(choice) for choice in training.prepare_for(dataset(1, 9), asked).choices]
    assert "norm = network (batch statistics of 4 images are noisy; --norm group needs no batch)" in said


def test_an_automatic_batch_fits_the_memory(monkeypatch):
    monkeypatch.setattr(training, "free_bytes", lambda: 2_000_000)
    prepared = training.prepare_for(dataset(1, 30, 1500), Recipe(net="8C3-BN-R-GAP-10", epochs=1, threads=1))
    batches = [choice for choice in prepared.choices if choice.name == "batch_images"]
    assert prepared.recipe.batch_images == batches[-1].value < 16
    assert prepared.recipe.peak_lr == pytest.approx(0.1 * prepared.recipe.batch_images / 128)
    given = training.prepare_for(dataset(1, 30), Recipe(net="8C3-BN-R-GAP-10", epochs=1, threads=1, batch_images=64))
    assert given.recipe.batch_images == 64


def test_where_the_pixels_are_is_recorded(monkeypatch, tmp_path):
    for i in range(20):
        folder = tmp_path / "photos" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (9, 7), dtype=np.uint8)).save(folder / f"{i}.png")
    asked = Recipe(data=str(tmp_path / "photos"), pixels_folder=str(tmp_path / "pixels"))
    assert training.prepare(asked).recipe.pixels == "memory"
    monkeypatch.setattr(sources, "free_bytes", lambda: 2000)
    on_disk = training.prepare(asked)
    assert on_disk.recipe.pixels == "disk"
    assert "pixels" in [choice.name for choice in on_disk.choices]
    assert isinstance(on_disk.dataset.train.images, np.memmap)
    in_memory = training.prepare(asked.changed(pixels="memory")).dataset
    with pytest.raises(RecipeError) as fault:
        training.prepare_for(in_memory, asked.changed(pixels="disk"))
    assert str(fault.value) == "recipe: pixels = 'disk', and these images are arrays in memory already; use 'auto'"
