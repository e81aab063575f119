from __future__ import annotations

import errno
import os
import threading
import time
import tracemalloc
import zipfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from striate.data import load, pixels, raw, sources
from striate.errors import DataError

SIZE = {"image_size": (13, 9), "channels": 3}  # not what the images have: they are resized too


def tar_of(folder, path):
    import tarfile

    with tarfile.open(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            for name, source in (
                (f"{file.parent.name}{file.stem}.png", file),
                (f"{file.parent.name}{file.stem}.cls", None),
            ):
                info = tarfile.TarInfo(name)
                label = folder.parent / f"{file.parent.name}.cls"
                label.write_text(file.parent.name)
                info.size = (source or label).stat().st_size
                with (source or label).open("rb") as content:
                    archive.addfile(info, content)
    return path


def zip_of(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder))
    return path


def csv_of(folder, path):
    rows = [f"{file.relative_to(path.parent)},{file.parent.name}" for file in sorted(folder.rglob("*.png"))]
    path.write_text("\n".join(["path,label", *rows]) + "\n")
    return path


def parquet_of(folder, path, as_paths=False):
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow, the extra striate[parquet]")
    import pyarrow.parquet as pq

    files = sorted(folder.rglob("*.png"))
    images = [str(file.relative_to(path.parent)) if as_paths else file.read_bytes() for file in files]
    column = "path" if as_paths else "image"
    pq.write_table(pa.table({column: images, "label": [file.parent.name for file in files]}), path, row_group_size=3)
    return path


SOURCES = {
    "folder": lambda folder, root: folder,
    "tar": lambda folder, root: tar_of(folder, root / "a.tar"),
    "zip": lambda folder, root: zip_of(folder, root / "a.zip"),
    "csv": lambda folder, root: csv_of(folder, root / "a.csv"),
    "parquet": lambda folder, root: parquet_of(folder, root / "a.parquet"),
    "parquet of paths": lambda folder, root: parquet_of(folder, root / "a.parquet", as_paths=True),
}


def on_disk(source, folder, **options):
    return load(source, pixels="disk", pixels_folder=folder, **SIZE | options)[0]


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def no_decoding(monkeypatch):
    """Whoever decodes after this is found out."""

    def forbid():
        def decode(*_):
            raise AssertionError("decoded again")

        monkeypatch.setattr(raw, "decode_each", decode)

    return forbid


def same(one, other):
    assert one.fingerprint == other.fingerprint
    assert one.preprocessing == other.preprocessing
    assert one.skipped == other.skipped
    for name, part in one.parts.items():
        for field in ("images", "labels", "names"):
            np.testing.assert_array_equal(getattr(part, field), getattr(other.parts[name], field))


@pytest.mark.parametrize("kind", SOURCES)
def test_disk_holds_what_memory_holds_and_is_used_again(tmp_path, folder, kind, no_decoding):
    source, kept = SOURCES[kind](folder, tmp_path), tmp_path / "runs" / "pixels"
    memory, _ = load(source, pixels="memory", **SIZE)
    disk = on_disk(source, kept)
    same(disk, memory)
    assert all(isinstance(part.images, np.memmap) and not part.images.flags.writeable for part in disk.parts.values())
    assert [name.split("-")[0] for name in files(kept)] == ["test", "train", "validation"]
    no_decoding()
    same(on_disk(source, kept), memory)


@pytest.mark.parametrize("kind", SOURCES)
def test_another_source_target_or_split_is_decoded_anew(tmp_path, folder, kind, png):
    kept = tmp_path / "pixels"
    source = SOURCES[kind](folder, tmp_path)
    before = on_disk(source, kept)
    for options in ({"image_size": (9, 13)}, {"fit": "stretch"}, {"seed": 1}):
        count = len(files(kept))
        same(on_disk(source, kept, **options), load(source, pixels="memory", **SIZE | options)[0])
        assert len(files(kept)) > count
    for name in ("0.png", "1.png", "2.png"):
        (folder / "cat" / name).write_bytes(png(77))
    SOURCES[kind](folder, tmp_path)
    after = on_disk(source, kept)
    assert after.fingerprint != before.fingerprint
    same(after, load(source, pixels="memory", **SIZE)[0])


def test_a_damaged_file_is_decoded_anew(tmp_path, folder):
    kept = tmp_path / "pixels"
    memory, _ = load(folder, pixels="memory", **SIZE)
    on_disk(folder, kept)
    path = next(kept.glob("train-*"))
    whole = path.read_bytes()
    for damaged in (
        whole[:5],
        whole[:-1],
        b"\x00" + whole[1:],
        whole[:100] + bytes([whole[100] ^ 1]) + whole[101:],
        b"",
    ):
        path.write_bytes(damaged)
        same(on_disk(folder, kept), memory)
        assert path.read_bytes() == whole


def test_what_cannot_be_read_is_left_out_and_told_each_time(tmp_path, folder, png):
    kept = tmp_path / "pixels"
    (folder / "dog" / "3.png").write_bytes(png(3)[:60])
    memory, _ = load(folder, pixels="memory", on_bad="skip", **SIZE)
    assert len(memory.skipped) == 1
    for _ in range(2):
        same(on_disk(folder, kept, on_bad="skip"), memory)
    with pytest.raises(DataError) as in_memory:
        load(folder, pixels="memory", **SIZE)
    for place in (kept, tmp_path / "other"):  # decoded before, and never
        with pytest.raises(DataError) as fault:
            on_disk(folder, place)
        assert str(fault.value) == str(in_memory.value)
    assert not list((tmp_path / "other").glob("*.unfinished"))


def test_a_small_disk_is_refused_before_it_is_filled(tmp_path, folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(pixels.shutil, "disk_usage", lambda _: usage(10**6, 10**6, 1000))
    with pytest.raises(DataError) as fault:
        on_disk(folder, tmp_path / "pixels", image_size=1000)
    assert str(fault.value) == (
        f"{tmp_path / 'pixels'}: 0.018 GB of pixels, 1e-06 GB free on its disk; "
        "make room, name another pixels_folder, or use a smaller image_size"
    )
    assert files(tmp_path / "pixels") == []


def test_a_disk_that_becomes_full_is_one_line_and_nothing_is_left(tmp_path, folder, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pixels.os, "fsync", full)
    with pytest.raises(
        DataError, match=r"^\S*/pixels/train-\w{12}\.pixels: cannot be written \(No space left on device\); "
    ):
        on_disk(folder, tmp_path / "pixels")
    assert files(tmp_path / "pixels") == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, folder):
    (tmp_path / "pixels").write_text("")
    with pytest.raises(DataError, match=r"cannot be written \(File exists\); make room, name another pixels_folder"):
        on_disk(folder, tmp_path / "pixels")


def test_the_disk_is_chosen_where_memory_would_fill(tmp_path, folder, monkeypatch):
    needed = 10 * 3 * 13 * 9
    for free, kind in ((2 * needed - 1, np.memmap), (2 * needed, np.ndarray), (None, np.ndarray)):
        monkeypatch.setattr(sources, "free_bytes", lambda free=free: free)
        dataset, choices = load(folder, pixels_folder=tmp_path / "pixels", **SIZE)
        assert type(dataset.train.images) is kind
        said = [str(choice) for choice in choices if choice.name == "pixels"]
        reason = (
            "3.5e-06 GB decoded, more than 0.5 of the 7e-06 GB of free memory; "
            f"kept in {tmp_path / 'pixels'} for later runs, and may be deleted when none trains"
        )
        assert said == ([f"pixels = disk ({reason})"] if kind is np.memmap else [])


def test_arrays_and_unknown_places_are_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"^sample: holds arrays, which are in memory already; leave pixels = 'disk' out$"
    ):
        load("sample", pixels="disk")
    with pytest.raises(DataError, match=r"^pixels is 'tape'; use auto, memory, disk$"):
        load("sample", pixels="tape")


def test_memory_is_bounded_while_decoding(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})  # two threads
    for image in list(folder.rglob("*.png")):
        for copy in "ab":
            (image.parent / f"{image.stem}{copy}.png").write_bytes(image.read_bytes())

    def peak(place):
        tracemalloc.start()
        load(folder, pixels=place, pixels_folder=tmp_path / "pixels", image_size=1200, channels=3)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    one = 3 * 1200**2
    assert peak("memory") > 30 * one
    # four images ahead, two in work and one being written, and counts of one channel of one image in 64 bits
    assert peak("disk") < (4 + 2 + 1 + 3) * one


def test_of_two_that_need_the_same_pixels_one_decodes(tmp_path, folder, monkeypatch):
    calls, decode = [], raw.decode_each

    def slow(*arguments):
        calls.append(threading.get_ident())
        time.sleep(0.05)
        return decode(*arguments)

    monkeypatch.setattr(raw, "decode_each", slow)
    found = []
    threads = [threading.Thread(target=lambda: found.append(on_disk(folder, tmp_path / "pixels"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(*found)
    assert len(calls) == 3  # one for each part


def test_a_name_tells_places_apart_and_an_absent_file_has_one_too():
    places = [(Path("nowhere"), 0)]
    target = pixels.Preprocessing(3, 7, 11, "crop", (0.0,) * 3, (1.0,) * 3)
    assert pixels.key_of(iter(places), target) == pixels.key_of(iter(places), target)
    assert pixels.key_of(iter([(Path("nowhere"), 1)]), target) != pixels.key_of(iter(places), target)
