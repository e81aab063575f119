from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from striate.data import Preprocessing, normalise
from striate.errors import DataError

RGB = Preprocessing(3, 7, 11, "pad", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
shares = st.floats(-2, 2, allow_subnormal=False)
widths = st.floats(1e-3, 4)


@given(st.tuples(shares, shares, shares), st.tuples(widths, widths, widths))
def test_normalise_is_torchs_mul_and_add_to_the_bit(mean, std):
    torch = pytest.importorskip("torch")
    preprocessing = Preprocessing(3, 16, 16, "crop", mean, std)
    images = np.tile(np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16), (2, 3, 1, 1))
    scale, shift = (torch.from_numpy(v).view(1, 3, 1, 1) for v in (preprocessing.scale, preprocessing.shift))
    theirs = torch.from_numpy(images).float().mul(scale).add(shift).numpy()
    ours = normalise(images, preprocessing)
    assert ours.dtype == np.float32
    assert ours.tobytes() == theirs.tobytes()


def test_normalise_is_the_textbook_formula():
    images = np.arange(2 * 3 * 7 * 11).reshape(2, 3, 7, 11).astype(np.uint8)
    mean, std = (np.array(v)[:, None, None] for v in (RGB.mean, RGB.std))
    np.testing.assert_allclose(normalise(images, RGB), (images / 255 - mean) / std, rtol=0, atol=1e-6)


def test_normalise_refuses_other_shapes_and_types():
    with pytest.raises(DataError, match=r"^normalise: got uint8 \(2, 3, 11, 7\); expected uint8 \(N, 3, 7, 11\)$"):
        normalise(np.zeros((2, 3, 11, 7), np.uint8), RGB)
    with pytest.raises(DataError, match=r"^normalise: got float32 "):
        normalise(np.zeros((2, 3, 7, 11), np.float32), RGB)


@given(shares, widths)
def test_json_keeps_every_bit(mean, std):
    before = Preprocessing(1, 28, 30, "stretch", (mean,), (std,))
    assert Preprocessing.from_json(json.loads(json.dumps(before.to_json()))) == before


def test_json_refuses_unknown_and_missing_keys():
    values = RGB.to_json()
    values["heigth"] = values.pop("height")
    message = (
        r"^preprocessing: unknown keys \['heigth'\], missing \['height'\]; "
        r"use exactly channels, height, width, fit, mean, std$"
    )
    with pytest.raises(DataError, match=message):
        Preprocessing.from_json(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 4}, r"^preprocessing: channels is 4; use 1 \(gray\) or 3 \(RGB\)$"),
        ({"channels": True}, r"^preprocessing: channels is True; give an integer$"),
        ({"height": 0}, r"^preprocessing: height is 0 px; use 1 to 4096$"),
        ({"width": 5000}, r"^preprocessing: width is 5000 px; use 1 to 4096$"),
        ({"width": 7.0}, r"^preprocessing: width is 7\.0; give an integer$"),
        ({"fit": "letterbox"}, r"^preprocessing: fit is 'letterbox'; use one of crop, pad, stretch$"),
        ({"mean": [0.5]}, r"^preprocessing: mean is \(0\.5,\); give 3 finite number\(s\)$"),
        ({"mean": "abc"}, r"^preprocessing: mean is 'abc'; give a list of numbers$"),
        ({"std": [1, 1, float("nan")]}, r"^preprocessing: std is .*; give 3 finite number\(s\)$"),
        ({"std": [1, 0, 1]}, r"^preprocessing: std is \(1\.0, 0\.0, 1\.0\); every value must be above 0$"),
    ],
)
def test_json_refuses_impossible_values(change, message):
    with pytest.raises(DataError, match=message):
        Preprocessing.from_json(RGB.to_json() | change)


def test_json_refuses_what_is_not_an_object():
    with pytest.raises(DataError, match=r"^preprocessing: expected an object, got list$"):
        Preprocessing.from_json([])  # type: ignore[arg-type]
