from __future__ import annotations

import numpy as np
from PIL import Image

from striate.report.contact_sheet import COLUMNS, MARGIN_PX, SIDE_PX, Cell, Section, draw


def flat(level, height=30, width=40):
    """A picture of one colour, which no letter has."""
    return np.tile(np.array([level, 255, 0], np.uint8)[:, None, None], (1, height, width))


def drawn(tmp_path, strips, **options):
    path = draw("a title", [Section("fault: something", "do this", tuple(strips))], tmp_path / "a.png", **options)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def places(page, level):
    """The boxes (top, left, height, width) of flat pictures of one level."""
    rows, columns = np.nonzero((page == (level, 255, 0)).all(axis=2))
    return rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1


def test_a_picture_keeps_its_shape_and_its_pixels_are_repeated(tmp_path):
    page = drawn(tmp_path, [(Cell(flat(77), ("a", "b")),)])
    _, left, height, width = places(page, 77)
    assert (height, width) == (90, 120)  # three times: the most that fits into 144
    assert left == MARGIN_PX + (SIDE_PX - 120) // 2


def test_pictures_of_a_strip_stand_in_one_line_and_strips_wrap_whole(tmp_path):
    strips = [tuple(Cell(flat(10 * k + j), ("x",)) for j in range(3)) for k in range(1, 4)]
    page = drawn(tmp_path, strips, columns=7)
    tops = [[places(page, 10 * k + j)[0] for j in range(3)] for k in range(1, 4)]
    assert tops[0] == tops[1] == [tops[0][0]] * 3
    assert len(set(tops[2])) == 1
    assert tops[2][0] > tops[0][0] + SIDE_PX


def test_nothing_is_cut_off_at_the_page_end(tmp_path):
    strips = [(Cell(flat(50 + k), ("x" * 200, "y")),) for k in range(2 * COLUMNS + 1)]
    page = drawn(tmp_path, strips)
    top, _, height, _ = places(page, 50 + 2 * COLUMNS)
    below = page[top + height :]
    assert (below[-MARGIN_PX // 2 :] == 255).all()
    assert (below < 255).any(), "the text under the last picture"
    assert (page[:, -MARGIN_PX // 2 :] == 255).all(), "a long name stays in its column"


def test_a_picture_that_cannot_be_read_has_a_box(tmp_path):
    page = drawn(tmp_path, [(Cell(None, ("x",)), Cell(flat(9), ("y",)))])
    assert ((page == 0xEE).all(axis=2)).sum() > SIDE_PX * SIDE_PX * 0.8
