from __future__ import annotations

import stat
import zipfile

import numpy as np
import pytest

from striate.data import load, load_part
from striate.data.find import find
from striate.errors import DataError


def zipped(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("top", ["", "photos/"])
def test_class_folders_with_and_without_one_above(tmp_path, png, noise, top):
    members = [(f"{top}{name}/{i}.png", png(i + 10 * k)) for k, name in enumerate(("cat", "dog")) for i in range(6)]
    extra = [(f"{top}cat/notes.txt", b"x"), (f"__MACOSX/{top}cat/._0.png", b"x")]
    found = find(zipped(tmp_path / "a.zip", [*members, *extra]))
    assert found.ignored == 2
    assert found.parts["whole"].names[0] == f"a.zip/{top}cat/0.png"
    dataset, _ = load(tmp_path / "a.zip")
    for part in dataset.parts.values():
        for image, label, name in zip(part.images, part.labels, part.names, strict=True):
            number = int(name[-5]) + 10 * int(label)
            np.testing.assert_array_equal(image.transpose(1, 2, 0), np.asarray(noise(number)))


def test_parts_are_found_by_name(tmp_path, png):
    members = [(f"{part}/{name}/1.png", png(1)) for part in ("train", "val", "test") for name in "ab"]
    found = find(zipped(tmp_path / "a.zip", members))
    assert {part: raw.class_names.tolist() for part, raw in found.parts.items()} == {
        "train": ["a", "b"],
        "validation": ["a", "b"],
        "test": ["a", "b"],
    }


def refused(path, message):
    with pytest.raises(DataError, match=message):
        find(path)


def test_a_bomb_is_refused_before_it_expands(tmp_path):
    refused(
        zipped(tmp_path / "a.zip", [("a/1.png", bytes(2**22))]),
        r"a\.zip: 'a/1\.png' expands more than 200 times; no image file does, remove it$",
    )


def test_a_small_flat_bitmap_is_no_bomb(tmp_path):
    assert len(find(zipped(tmp_path / "a.zip", [("a/1.bmp", bytes(2**19))])).parts["whole"]) == 1


@pytest.mark.parametrize("name", ["../a/1.png", "/a/1.png", "a\\..\\1.png"])
def test_paths_out_of_the_archive_are_refused(tmp_path, name):
    refused(zipped(tmp_path / "a.zip", [(name, b"x")]), r"leads out of the archive; make it again from a folder$")


def test_links_and_rare_compression_are_refused(tmp_path):
    link = zipfile.ZipInfo("a/1.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    refused(zipped(tmp_path / "a.zip", [(link, b"/etc/passwd")]), r"'a/1\.png' is a link or device; make the archive")
    rare = zipped(tmp_path / "b.zip", [("a/1.png", b"x")], zipfile.ZIP_BZIP2)
    refused(rare, r"'a/1\.png' is encrypted or of a rare compression; use stored or deflate$")


def test_images_beside_the_class_folders_and_none_at_all_are_refused(tmp_path):
    refused(zipped(tmp_path / "a.zip", [("1.png", b"x")]), r"'1\.png' lies in no class folder; put each class's images")
    refused(zipped(tmp_path / "b.zip", [("a/1.txt", b"x")]), r"b\.zip: holds no images; put each class's images into")


def test_a_damaged_member_is_one_bad_image(tmp_path, png):
    members = [(f"{name}/{i}.png", png(i)) for name in "ab" for i in range(3)]
    path = zipped(tmp_path / "a.zip", members, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 30] ^= 0xFF
    path.write_bytes(content)
    dataset, _ = load(zipped(tmp_path / "good.zip", members))
    part, _ = load_part(path, dataset.classes, dataset.preprocessing, on_bad="skip")
    assert [image.name for image in part.skipped] == ["a.zip/a/0.png"]
    assert part.skipped[0].reason.startswith(f"{path}/a/0.png: damaged in the archive (Bad CRC-32")
    assert len(part) == 5


@pytest.mark.parametrize("kept", [0, 0.5, 0.95])
def test_a_truncated_file_is_refused(tmp_path, png, kept):
    path = zipped(tmp_path / "a.zip", [("a/1.png", png(1)), ("b/1.png", png(2))])
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    refused(path, r"a\.zip: not a complete zip file \(.*\); make it again$")


def test_mutated_archives_give_images_or_one_line(tmp_path, png):
    content = zipped(tmp_path / "a.zip", [(f"{name}/{i}.png", png(i)) for name in "ab" for i in range(3)]).read_bytes()
    messages = []
    for number in range(300):
        rng = np.random.default_rng(number)
        data = bytearray(content)
        for place in rng.integers(0, len(data), 9):
            data[place] = rng.integers(0, 256)
        (tmp_path / "b.zip").write_bytes(data)
        try:
            for raw in find(tmp_path / "b.zip").parts.values():
                list(raw.pixels.read())
        except DataError as fault:
            messages.append(str(fault))
    assert not [message for message in messages if "\n" in message]
