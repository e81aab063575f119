"""Every augmentation at once: a stopped run still ends in the same bits, and a batch may be cut anywhere."""

from __future__ import annotations

import pytest
import torch

from striate.train.feed import Feed, Normaliser, Pixels, augmentation_of
from striate.train.loop import build, resume, train
from striate.train.observer import Observer
from striate.train.run.state import Run

ALL = {
    "crop_area": 0.5, "flip": True, "shift_px": 1, "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1,
    "randaugment_ops": 2, "cutout_px": 2, "erase_share": 0.3, "mixup": 0.5, "cutmix": 1.0,
}  # fmt: skip


class Stop(Observer):
    def on_step(self, step):
        if step.done_steps == 13:
            raise KeyboardInterrupt


def test_a_stopped_run_ends_in_the_same_bits(tmp_path, dataset, recipe, builder):
    augmented = recipe.changed(**ALL)
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    train(build(builder, augmented, dataset.classes), dataset, augmented, whole)
    module = build(builder, augmented, dataset.classes)
    with pytest.raises(KeyboardInterrupt):
        train(module, dataset, augmented, stopped, Stop())
    resume(stopped.path, builder, lambda _: dataset)
    for name in ("weights.safetensors", "metrics.jsonl"):
        assert (whole.path / name).read_bytes() == (stopped.path / name).read_bytes()
    plain = Run(tmp_path / "plain")
    train(build(builder, recipe, dataset.classes), dataset, recipe, plain)
    assert plain.weights_path.read_bytes() != whole.weights_path.read_bytes()


def test_two_processes_with_half_a_batch_each_see_the_images_of_one(dataset, recipe):
    feed = Feed(
        Pixels.of(dataset.train),
        Normaliser.of(dataset.preprocessing, channels_last=True),
        augmentation_of(recipe.changed(**ALL), 3),
        recipe.seed,
        8,
    )
    rows = torch.tensor([3, 60, 17, 41, 0, 22, 9])
    images, targets = feed.shown(rows, rows, 5)
    parts = [feed.shown(part, part, 5) for part in (rows[:3], rows[3:])]
    assert torch.equal(torch.cat([part[0] for part in parts]), images)
    assert torch.equal(torch.cat([part[1] for part in parts]), targets)
