from __future__ import annotations

import shutil

import numpy as np
import pytest

from striate.data import Preprocessing, decode, load
from striate.data.audit import audit
from striate.data.audit.pictures import previews, sheet
from striate.errors import DataError


def test_a_sheet_has_the_pictures_of_findings_and_of_each_class(folder):
    shutil.copy(folder / "cat/0.png", folder / "dog/copy.png")
    (folder / "cat/1.png").write_text("text")
    found = audit(folder)
    pictures = sheet(folder, found).pictures
    conflict = found.finding("label-conflict").cases[0].images
    assert all(image in pictures for image in conflict)
    np.testing.assert_array_equal(pictures[conflict[0]], pictures[conflict[1]])
    assert pictures[conflict[0]].shape == (3, 7, 11)
    assert found.finding("unreadable").cases[0].images[0] not in pictures
    assert set(sheet(folder, found).samples) == {"cat", "dog"}


def test_a_preview_is_exactly_what_decoding_gives(folder):
    target = Preprocessing(3, 5, 6, "crop", (0.0,) * 3, (1.0,) * 3)
    names = ["dog/3.png", "cat/0.png"]
    shown = previews(folder, target, names)
    assert [one.image.name for one in shown] == names
    for preview in shown:
        for fit, pixels in preview.seen.items():
            same = Preprocessing(3, 5, 6, fit, (0.0,) * 3, (1.0,) * 3)
            np.testing.assert_array_equal(pixels, decode(folder / preview.image.name, same))


def test_a_preview_of_arrays_and_of_nothing(folder):
    target = Preprocessing(1, 28, 28, "crop", (0.0,), (1.0,))
    name = str(load("sample")[0].train.names[3])
    assert previews("sample", target, [name])[0].seen["pad"].shape == (1, 28, 28)
    for path in folder.glob("*/*.png"):
        path.write_text("text")
    with pytest.raises(DataError, match=r"photos: none of the 3 images named can be read; see the audit$"):
        previews(folder, target, ["cat/0.png", "cat/1.png", "none"])
