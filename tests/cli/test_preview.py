from __future__ import annotations

import json

from PIL import Image


def test_it_writes_a_picture_and_prints_what_was_decided(striate, tmp_path):
    answer = striate("preview", "sample", "-o", tmp_path / "p.png", "--samples", "3", "--epochs", "2", "--set", "hue=0")
    assert answer.code == 0
    assert answer.out == f"3 images as 1x28x28, fit crop: {tmp_path / 'p.png'}\n"
    assert "  auto: flip = True (the classes name no digits" in answer.err
    with Image.open(tmp_path / "p.png") as page:
        assert page.format == "PNG"
        assert 3 * 144 < page.height < 6 * 144


def test_json_names_the_images_and_their_targets(striate, tmp_path):
    out = tmp_path / "p.png"
    arguments = ("sample", "-o", out, "--samples", "2", "--epochs", "1", "-i", "3x40x30", "--fit", "pad", "--json")
    found = json.loads(striate("preview", *arguments).out)
    assert (found["input"], found["fit"], found["out"]) == ("3x40x30", "pad", str(out))
    assert all(image["name"].startswith("train/") and len(image["epochs"][0]) == 1 for image in found["images"])


def test_a_shape_without_channels_is_refused_as_training_refuses_it(striate, tmp_path):
    message = "striate: input '28x28' has 2 axes; images have three, as in 3x64x64\n"
    preview = striate("preview", "sample", "-i", "28x28", "-o", tmp_path / "p.png")
    train = striate("train", "sample", "-i", "28x28", "--out", tmp_path / "run")
    assert (preview.code, preview.err) == (train.code, train.err) == (2, message)
