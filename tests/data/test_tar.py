from __future__ import annotations

import io
import json
import tarfile
import tracemalloc

import numpy as np
import pytest

from striate.data import load, stream
from striate.data.find import find
from striate.errors import DataError


def shard(path, members, kind=tarfile.USTAR_FORMAT):
    """A tar of {name: bytes} or ready TarInfo objects."""
    with tarfile.open(path, "w", format=kind) as archive:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def pairs(png, numbers):
    """WebDataset's layout: the label of an even number is cat, of an odd one dog."""
    for i in numbers:
        yield f"{i:04d}.png", png(i)
        yield f"{i:04d}.cls", b"dog\n" if i % 2 else b"cat\n"


def test_shards_by_a_pattern_are_parts_by_their_names(tmp_path, png, noise):
    shard(tmp_path / "train-0.tar", pairs(png, range(6)))
    shard(tmp_path / "train-1.tar", pairs(png, range(6, 12)))
    shard(tmp_path / "val-0.tar", pairs(png, range(20, 24)))
    for source in (tmp_path, tmp_path / "*.tar"):
        dataset, _ = load(source)
        assert dataset.classes == ("cat", "dog")
        assert [len(part) for part in dataset.parts.values()] == [12, 4]
        assert dataset.train.names[6] == "train-1.tar/0006.png"
        np.testing.assert_array_equal(dataset.train.images[7].transpose(1, 2, 0), np.asarray(noise(7)))
        assert dataset.train.labels.tolist() == [0, 1] * 6


def test_labels_in_json_with_groups(tmp_path, png):
    members = []
    for i in range(3):
        members.append((f"a/{i}.json", json.dumps({"label": 7 + i, "group": f"g{i}"}).encode()))
        members.append((f"a/{i}.png", png(i)))
    raw = find(shard(tmp_path / "a.tar", members)).parts["whole"]
    assert raw.class_names.tolist() == ["7", "8", "9"]
    assert raw.groups.tolist() == ["g0", "g1", "g2"]
    assert list(raw.pixels.read()) == [png(i) for i in range(3)]


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_both_extensions(tmp_path, png, kind):
    name = "deep/" * 40 + "é" * 50
    raw = find(shard(tmp_path / "a.tar", [(f"{name}.png", png(1)), (f"{name}.cls", b"x")], kind)).parts["whole"]
    assert raw.names.tolist() == [f"a.tar/{name}.png"]
    assert next(raw.pixels.read()) == png(1)


def test_streaming_takes_images_without_labels_in_bounded_memory(tmp_path, png):
    blob = png(0) + bytes(200_000)  # what follows a PNG's end is not looked at
    shard(tmp_path / "a.tar", [(f"{i}.png", blob) for i in range(200)])
    tracemalloc.start()
    count = sum(len(image.content) for image in stream(tmp_path / "a.tar"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200 * len(blob)
    assert peak < 10 * len(blob)
    with pytest.raises(DataError, match=r"a\.tar: 0\.png has no label; add 0\.cls or 0\.json$"):
        load(tmp_path / "a.tar")


def entry(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_what_is_no_plain_file_is_refused(tmp_path, png, kind):
    shard(tmp_path / "a.tar", [*pairs(png, range(2)), (entry("x.png", kind, "/etc/passwd"), b"")])
    message = r"a\.tar: 'x\.png' is a link, device or sparse file; write the shard again with plain files$"
    with pytest.raises(DataError, match=message):
        load(tmp_path / "a.tar")


def test_a_name_that_climbs_out_stays_a_name(tmp_path, png):
    shard(tmp_path / "a.tar", [("../../evil.png", png(1)), ("../../evil.cls", b"x")])
    found = find(tmp_path / "a.tar")
    assert found.parts["whole"].names.tolist() == ["a.tar/../../evil.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_every_truncation_is_noticed(tmp_path, png):
    path = shard(tmp_path / "a.tar", pairs(png, range(4)))
    content = path.read_bytes()
    end = content.rstrip(b"\0")
    for kept in [1, 100, 511, 512, 700, *range(1024, len(end), 512)]:
        path.write_bytes(content[:kept])
        with pytest.raises(DataError, match=r"a\.tar: "):
            find(path)


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path, png):
    path = shard(tmp_path / "a.tar", pairs(png, range(4)))
    content = bytearray(path.read_bytes())
    place = content.index(b"0002.png")
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"a\.tar: no end mark after '0001\.cls'; the shard is truncated or damaged, copy"
    ):
        find(path)


@pytest.mark.parametrize("size", [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"77777777777\0"])
def test_an_impossible_size_is_refused(tmp_path, png, size):
    path = shard(tmp_path / "a.tar", pairs(png, range(2)))
    content = bytearray(path.read_bytes())
    content[124:136] = size
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tar: "):
        find(path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("1.png", b"x"), ("1.cls", b"\xff")], r"a\.tar: 1\.cls: holds no label; write the class's name or number as"),
        ([("1.png", b"x"), ("1.json", b"{")], r"a\.tar: 1\.json: is not JSON \(.*\); write it again$"),
        ([("1.png", b"x"), ("1.jpg", b"x")], r"a\.tar: 1 has two images, 1\.png and 1\.jpg; give each its own key$"),
        ([("1.png", b"x"), ("1.png", b"x")], r"a\.tar: 1\.png is there twice; write the shard again with plain"),
        ([("1.png", b"x"), ("1.cls", bytes(2**20 + 1))], r"1\.cls has 1,048,577 bytes; a label has at most 1,048,576"),
        ([("readme", b"x")], r"a\.tar: has no rows; add a row for each image$"),
    ],
)
def test_faulty_samples_are_named(tmp_path, members, message):
    with pytest.raises(DataError, match=message):
        find(shard(tmp_path / "a.tar", members))


def test_mutated_shards_give_images_or_one_line(tmp_path, png):
    content = shard(tmp_path / "a.tar", pairs(png, range(4)), tarfile.PAX_FORMAT).read_bytes()
    messages = []
    for number in range(300):
        rng = np.random.default_rng(number)
        data = bytearray(content)
        for place in rng.integers(0, len(data), 12):
            data[place] = rng.integers(0, 256)
        (tmp_path / "b.tar").write_bytes(data)
        try:
            list(find(tmp_path / "b.tar").parts["whole"].pixels.read())
        except DataError as fault:
            messages.append(str(fault))
    assert not [message for message in messages if "\n" in message]
