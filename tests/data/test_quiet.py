from __future__ import annotations

import threading
import warnings

import numpy as np
from PIL import Image

from striate.data import Preprocessing, decode
from striate.data.quiet import quiet_pillow

GRAY = Preprocessing(1, 7, 11, "crop", (0.0,), (1.0,))


def from_pillow():
    """Warn as if from Pillow's module."""
    warnings.warn_explicit("corrupt", UserWarning, "PIL/Image.py", 1, module="PIL.Image")


def test_only_pillows_warnings_are_quiet_and_the_filters_come_back():
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with quiet_pillow:
            from_pillow()
            with quiet_pillow:
                from_pillow()
            from_pillow()
            warnings.warn_explicit("other", UserWarning, "x.py", 1, module="PILLOWS")
        from_pillow()
    assert [str(warning.message) for warning in seen] == ["other", "corrupt"]
    assert list(warnings.filters) == before


def test_many_threads_leave_the_filters_as_they_were():
    before = list(warnings.filters)

    def enter_often():
        for _ in range(300):
            with quiet_pillow:
                pass

    threads = [threading.Thread(target=enter_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_a_corrupt_exif_warns_nobody_and_the_picture_is_read(tmp_path):
    path = tmp_path / "a.jpg"
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x0e\x01\x02\0\xff\xff\xff\x00\x10\0\0\0"
    Image.fromarray(np.full((7, 11), 90, np.uint8)).save(path, exif=exif)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with Image.open(path) as image:
            image.getexif()
    assert seen, "Pillow itself should warn of this file, or the test shows nothing"
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert abs(int(decode(path, GRAY)[0, 3, 5]) - 90) < 3
    assert not seen
