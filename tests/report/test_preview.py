from __future__ import annotations

import numpy as np
from PIL import Image

from striate.data.audit.pictures import Preview
from striate.data.audit.report import Image as Named
from striate.report.contact_sheet import GAP_PX, MARGIN_PX, SIDE_PX
from striate.report.preview import draw_previews


def level(value):
    return np.full((1, 36, 48), value, np.uint8)


def test_stored_fits_and_epochs_stand_in_one_line(tmp_path):
    fits = {"crop": level(60), "pad": level(90), "stretch": level(120)}
    preview = Preview(Named("a.png", "train", "cat"), level(30), fits)
    draw_previews(
        [(preview, [(level(150), ("cat",)), (level(180), ("70 % cat", "30 % dog"))])], "pad", "t", tmp_path / "p"
    )
    assert centres(tmp_path / "p", 6) == [30, 60, 90, 120, 150, 180]


def test_fits_that_agree_are_drawn_once(tmp_path):
    preview = Preview(Named("a.png", "train", "cat"), level(30), dict.fromkeys(("crop", "pad", "stretch"), level(60)))
    draw_previews([(preview, [])], "crop", "t", tmp_path / "p")
    assert centres(tmp_path / "p", 2) == [30, 60]


def centres(path, count):
    """The level in the middle of each picture of the first line."""
    with Image.open(path) as page:
        seen = np.asarray(page.convert("L"))
    step = SIDE_PX + GAP_PX // 3
    columns = [seen[:, MARGIN_PX + k * step + SIDE_PX // 2] for k in range(count)]
    return [int(np.bincount(column[column < 200], minlength=256).argmax()) for column in columns]
