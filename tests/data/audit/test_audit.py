from __future__ import annotations

import json
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from striate.data.audit import audit
from striate.data.find import find
from striate.errors import DataError


def cases(found, kind):
    """The names in each case of a finding."""
    finding = found.finding(kind)
    return [] if finding is None else [tuple(image.name for image in case.images) for case in finding.cases]


def kinds(found):
    return [finding.kind for finding in found.findings]


def test_a_sound_folder_is_clean(folder):
    found = audit(folder)
    assert found.findings == ()
    assert found.counts == {"whole": {"cat": 5, "dog": 5}}
    assert (found.heights.low, found.widths.high, found.images) == (7, 11, 10)
    assert str(found).endswith("nothing found")


def test_files_that_cannot_be_used_are_told_apart_as_decoding_tells_them(folder, noise):
    (folder / "cat" / "0.png").write_text("text")
    content = (folder / "cat" / "1.png").read_bytes()
    (folder / "cat" / "1.png").write_bytes(content[:-60])
    noise(50).save(folder / "cat" / "2.png", save_all=True, append_images=[noise(51)])
    Image.fromarray(np.ones((7, 11), np.float32)).save(folder / "cat" / "float.tif")
    found = audit(folder)
    assert cases(found, "unreadable") == [("cat/0.png",)]
    assert cases(found, "damaged") == [("cat/1.png",)]
    assert cases(found, "animated") == [("cat/2.png",)]
    assert cases(found, "refused") == [("cat/float.tif",)]
    assert found.finding("animated").cases[0].detail == (
        f"{folder}/cat/2.png: holds 2 frames; save the one that matters as its own file"
    )
    assert len(found.faults) == 4


def png_file(width, height, bits, colour_type, content):
    """A PNG whose header may claim more than its content holds."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side_px", [9000, 60_000])  # the second is beyond what Pillow opens
def test_a_picture_beyond_the_size_limit_is_refused_by_its_header(folder, side_px):
    (folder / "cat" / "large.png").write_bytes(png_file(side_px, side_px, 8, 0, b"too little to decode"))
    found = audit(folder)
    assert cases(found, "refused") == [("cat/large.png",)]
    assert found.finding("refused").cases[0].detail.endswith("more than 67,108,864 pixels; make it smaller first")


def test_copies_are_conflicts_leaks_or_duplicates(tmp_path, folder):
    for part in ("train", "test"):
        shutil.copytree(folder, tmp_path / "split" / part)
    root = tmp_path / "split"
    for name in ("cat", "dog"):
        for i in range(5):
            pixels = np.random.default_rng([9, i, ord(name[0])]).integers(0, 256, (7, 11, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(root / "test" / name / f"{i}.png")
    shutil.copy(root / "train/cat/0.png", root / "test/cat/copy.png")  # a leak
    shutil.copy(root / "train/cat/1.png", root / "train/dog/copy.png")  # a conflict
    shutil.copy(root / "train/dog/2.png", root / "train/dog/again.png")  # a duplicate
    with Image.open(root / "train/dog/3.png") as image:
        image.save(root / "test/cat/other.bmp")  # the same pixels in other bytes: a conflict and a leak
    found = audit(root)
    assert cases(found, "leak") == [("train/cat/0.png", "test/cat/copy.png"), ("train/dog/3.png", "test/cat/other.bmp")]
    assert cases(found, "label-conflict") == [
        ("train/cat/1.png", "train/dog/copy.png"),
        ("train/dog/3.png", "test/cat/other.bmp"),
    ]
    assert cases(found, "duplicate") == [("train/dog/2.png", "train/dog/again.png")]
    details = [case.detail for case in found.finding("leak").cases]
    assert details == ["the same bytes", "the same pixels"]
    assert kinds(found) == ["label-conflict", "leak", "duplicate"]


def test_unreadable_copies_are_found_by_their_bytes(folder):
    for name in ("cat/0.png", "dog/0.png"):
        (folder / name).write_text("the same text")
    found = audit(folder)
    assert cases(found, "label-conflict") == [("cat/0.png", "dog/0.png")]
    assert found.finding("label-conflict").cases[0].detail == "the same bytes, unreadable"


def smooth(number, size=(160, 120)):
    pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def test_near_copies_are_sorted_by_what_they_spoil(tmp_path):
    number = 0
    for part in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(4):
                smooth(number).save(tmp_path / part / name / f"{i}.png")
                number += 1
    smooth(0, (80, 60)).save(tmp_path / "test/a/near.jpg")
    smooth(1, (80, 60)).save(tmp_path / "train/b/near.jpg")
    smooth(2, (80, 60)).save(tmp_path / "train/a/near.jpg")
    found = audit(tmp_path)
    assert cases(found, "near-leak") == [("train/a/0.png", "test/a/near.jpg")]
    assert cases(found, "near-conflict") == [("train/a/1.png", "train/b/near.jpg")]
    assert cases(found, "near-duplicate") == [("train/a/2.png", "train/a/near.jpg")]
    assert [finding.level for finding in found.findings] == ["fault", "fault", "note"]
    assert found.near_correlation == 0.97


def test_pictures_alike_by_nature_are_notes_above_a_higher_level():
    found = audit("sample")
    assert found.near_correlation == 0.995
    assert found.faults == ()
    assert sum(map(len, (cases(found, "near-leak"), cases(found, "near-duplicate")))) < 60


def test_what_headers_tell(folder, noise):
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(60).save(folder / "cat" / "turned.jpg", exif=exif)
    noise(61).convert("CMYK").save(folder / "cat" / "print.jpg")
    wide = np.random.default_rng(0).integers(0, 65536, (7, 11)).astype(np.uint16)
    Image.fromarray(wide).save(folder / "cat" / "deep.png")
    noise(62).convert("P").save(folder / "cat" / "clear.png", transparency=0)
    found = audit(folder)
    assert cases(found, "orientation") == [("cat/turned.jpg",)]
    assert cases(found, "cmyk") == [("cat/print.jpg",)]
    assert cases(found, "deep") == [("cat/deep.png",)]
    assert cases(found, "transparent") == [("cat/clear.png",)]
    assert found.modes == {"RGB": 11, "CMYK": 1, "I;16": 1, "P": 1}
    assert found.heights.high == 11, "a turned photograph counts as it is seen"
    assert found.faults == ()


def test_sixteen_bit_colour_is_deep_though_pillow_narrows_it(folder):
    rows = b"".join(b"\0" + bytes(range(66)) for _ in range(7))
    (folder / "cat" / "deep.png").write_bytes(png_file(11, 7, 16, 2, rows))
    assert audit(folder).finding("deep").cases[0].detail == "16 bits"


def test_classes_and_shapes(folder, noise):
    for i in range(20):
        noise(100 + i).save(folder / "dog" / f"more{i}.png")
    noise(99, size=(40, 4)).save(folder / "cat" / "long.png")
    found = audit(folder)
    assert found.finding("imbalance").cases[0].detail == "'dog' has 25 images and 'cat' 6"
    assert cases(found, "aspect")[0][1] == "cat/long.png"
    assert found.faults == ()


def test_a_class_missing_in_a_part_and_groups_across_parts(folder):
    rows = ["path,label,split,group", "cat/0.png,cat,train,x", "dog/0.png,dog,train,y", "cat/1.png,cat,test,x"]
    (folder / "a.csv").write_text("\n".join(rows))
    found = audit(folder / "a.csv")
    assert [str(case) for case in found.finding("missing-class").cases] == ["no image of class 'dog' in test"]
    assert [str(case) for case in found.finding("group-leak").cases] == [
        "cat/0.png (cat, train), cat/1.png (cat, test): group x"
    ]


def test_json_is_plain_and_complete(folder):
    shutil.copy(folder / "cat/0.png", folder / "dog/copy.png")
    value = json.loads(json.dumps(audit(folder).to_json()))
    assert value["findings"][0]["kind"] == "label-conflict"
    assert value["findings"][0]["cases"][0]["images"][1] == {
        "name": "dog/copy.png",
        "part": "whole",
        "class_name": "dog",
    }


def test_a_source_that_is_none_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"none: no such folder or file; "):
        audit(tmp_path / "none")


def test_threads_change_nothing(folder):
    assert audit(folder, threads=1) == audit(folder, threads=4)


def test_trashnets_conflicts_are_found(shared_data):
    source = shared_data / "trashnet" / "splits.csv"
    if not source.is_file():
        pytest.skip("needs ../shared/data/trashnet")
    assert {part: len(raw) for part, raw in find(source).parts.items()} == {
        "train": 1768,
        "validation": 328,
        "test": 431,
    }
    found = audit(source)
    pairs = [
        ("glass/glass115.jpg", "metal/metal91.jpg"),
        ("glass/glass176.jpg", "plastic/plastic152.jpg"),
        ("glass/glass389.jpg", "plastic/plastic332.jpg"),
    ]
    assert cases(found, "label-conflict") == pairs
    assert cases(found, "leak") == pairs[1:]
    assert {case.detail for case in found.finding("label-conflict").cases} == {"the same bytes"}
    assert [len(cases(found, kind)) for kind in ("near-conflict", "near-leak", "near-duplicate")] == [0, 14, 12]
    assert sum(found.counts[part]["trash"] for part in found.counts) == 137
