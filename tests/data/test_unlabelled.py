"""Images for prediction: every container gives the pixels that training sees, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

import predicted
from striate.data import decoded_or_fault, load
from striate.data import unlabelled as module
from striate.data.unlabelled import batches, find_units
from striate.errors import DataError

COUNT = 10
SIZE = (11, 7)


@pytest.fixture
def photos(tmp_path):
    """The same ten images in class folders, a CSV, a tar, a zip and two Parquet files, by their path below."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    root = tmp_path / "photos"
    paths = predicted.write_pictures(root, COUNT)
    names = [path.relative_to(root).as_posix() for path in paths]
    labels = [path.parent.name for path in paths]
    contents = [path.read_bytes() for path in paths]
    predicted.write_csv(root / "labels.csv", [["path", "label"], *zip(names, labels, strict=True)])
    keyed = zip(names, labels, contents, strict=True)
    members = {name: data for path, label, image in keyed for name, data in
               ((path, image), (f"{path.removesuffix('.jpg')}.cls", label.encode()))}  # fmt: skip
    predicted.write_tar(tmp_path / "shard.tar", members)
    predicted.write_zip(tmp_path / "all.zip", dict(zip(names, contents, strict=True)))
    pq.write_table(pa.table({"image": contents, "label": labels}), tmp_path / "bytes.parquet", row_group_size=3)
    pq.write_table(pa.table({"path": names, "label": labels}), root / "paths.parquet")
    return tmp_path


def streamed(source, batch_images=3):
    return [
        image
        for unit in find_units([source], batch_images)
        for image in (i for b in batches(unit, batch_images) for i in b)
    ]


@pytest.mark.parametrize(
    "source", ["photos", "photos/labels.csv", "shard.tar", "all.zip", "bytes.parquet", "photos/paths.parquet"]
)
def test_predicting_decodes_what_training_decodes_to_the_byte(photos, source):
    dataset, _ = load(photos / source, image_size=SIZE, channels=3)
    trained = {}
    for part in dataset.parts.values():
        trained |= {Path(str(name)).stem: image for name, image in zip(part.names, part.images, strict=True)}
    found = streamed(photos / source)
    assert len(found) == len(trained) == COUNT
    for number, image in enumerate(found):
        pixels = decoded_or_fault(image, dataset.preprocessing)
        assert pixels.tobytes() == trained[str(number)].tobytes()
        assert pixels.shape == (3, *SIZE)


def test_names_lead_to_the_images(photos):
    assert [image.name for image in streamed(photos / "photos" / "labels.csv")][:1] == [f"{photos}/photos/cat/0.jpg"]
    assert [image.name for image in streamed(photos / "shard.tar")][9:] == [f"{photos}/shard.tar/dog/9.jpg"]
    assert [image.name for image in streamed(photos / "all.zip")][:2] == [
        f"{photos}/all.zip/cat/{i}.jpg" for i in (0, 1)
    ]
    assert [image.name for image in streamed(photos / "bytes.parquet")][:1] == [f"{photos}/bytes.parquet/0"]


def test_labels_are_not_needed(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    image = predicted.picture(1)
    sources = [
        predicted.write_tar(
            tmp_path / "a.tar", {"IMG.1.jpg": image, "IMG.2.jpg": image, ".h.jpg": image, "note.json": b"{"}
        ),
        predicted.write_zip(tmp_path / "a.zip", {"1.jpg": image, "deep/2.jpg": image, "__MACOSX/3.jpg": b""}),
    ]
    (tmp_path / "1.jpg").write_bytes(image)
    sources.append(
        predicted.write_csv(tmp_path / "a.csv", [["width", "file_name"], ["3", "1.jpg"], [], ["4", "1.jpg"]])
    )
    pq.write_table(pa.table({"image": [image, image], "width": [3, 4]}), tmp_path / "a.parquet")
    sources.append(tmp_path / "a.parquet")
    assert [len(streamed(source)) for source in sources] == [2, 2, 2, 2]


def test_units_keep_the_order_and_containers_apart(photos):
    root = photos / "photos"
    given = [root / "cat", root / "dog" / "5.jpg", photos / "shard.tar", root / "dog"]
    units = list(find_units(given, 4))
    assert [len(unit) for unit in units] == [4, 2, 1, 4, 1]
    assert units[2] == (photos / "shard.tar",)
    assert [path.name for unit in units[:2] for path in unit] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"]


def test_patterns_take_images_or_the_containers_they_name(photos, monkeypatch):
    monkeypatch.chdir(photos)
    assert [str(u[0]) for u in find_units(["*.tar", "s*d.tar"], 4)] == ["shard.tar"] * 2
    assert sum(len(unit) for unit in find_units(["photos/**"], 4)) == COUNT
    assert [str(u[0]) for u in find_units(["photos/*.csv"], 4)] == ["photos/labels.csv"]
    (photos / "odd[1].jpg").write_bytes(predicted.picture(1))
    assert [str(u[0]) for u in find_units(["odd[1].jpg"], 4)] == ["odd[1].jpg"]


def test_bytes_bound_a_batch(photos, monkeypatch):
    sizes = [len(image.content) for image in streamed(photos / "shard.tar")]
    monkeypatch.setattr(module, "MAX_BATCH_BYTES", 2 * min(sizes))
    cut = list(batches((photos / "shard.tar",), 100))
    assert 1 < len(cut) <= COUNT
    assert [image.name for batch in cut for image in batch] == [image.name for image in streamed(photos / "shard.tar")]
    for batch in cut[:-1]:
        assert sum(len(image.content) for image in batch) >= 2 * min(sizes) > sum(len(i.content) for i in batch[:-1])


def test_a_row_that_leads_elsewhere_is_that_rows_fault(tmp_path):
    (tmp_path / "1.jpg").write_bytes(predicted.picture(1))
    source = predicted.write_csv(tmp_path / "a.csv", [["path"], ["1.jpg"], ["../x.jpg"], ["/etc/passwd"], ["gone.jpg"]])
    good, out, absolute, gone = streamed(source)
    assert isinstance(good.content, Path)
    assert str(out.content).startswith(f"{source}: row 3: path '../x.jpg' is not below {tmp_path}; give paths relative")
    assert isinstance(absolute.content, DataError)
    assert isinstance(gone.content, Path)  # decoding says that it is not there


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"label,kind\nx,y\n", r"a\.csv: no column 'path' or 'file_name' or .*; the columns are label, kind$"),
        ("a.csv", b"path\n", r"a\.csv: holds no images; check it$"),
        ("a.csv", b"path\n\xff\xfe\n", r"a\.csv: is not UTF-8 at byte 5; save it as UTF-8$"),
        ("a.tar", b"no tar at all", r"a\.tar: not a complete tar file \(truncated header\); write the shard again"),
        ("a.zip", b"no zip at all", r"a\.zip: not a complete zip file \(File is not a zip file\); make it again$"),
        ("a.parquet", b"no parquet", r"a\.parquet: unreadable Parquet \(.*\); write it again$"),
        (
            "a.tar.gz",
            b"",
            r"a\.tar\.gz: a compressed tar cannot be read in place; write a plain \.tar, images are comp",
        ),
    ],
)
def test_a_broken_container_is_one_line(tmp_path, name, content, message):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        streamed(tmp_path / name)


def test_archives_that_lead_out_or_hold_nothing(tmp_path):
    image = predicted.picture(1)
    with pytest.raises(
        DataError, match=r"a\.zip: '\.\./a\.jpg' leads out of the archive; make it again from a folder$"
    ):
        streamed(predicted.write_zip(tmp_path / "a.zip", {"../a.jpg": image}))
    with pytest.raises(DataError, match=r"b\.zip: holds no images; check it$"):
        streamed(predicted.write_zip(tmp_path / "b.zip", {"a.txt": b""}))
    with pytest.raises(DataError, match=r"b\.tar: holds no images; check it$"):
        streamed(predicted.write_tar(tmp_path / "b.tar", {"a.txt": b""}))
    cut = predicted.write_tar(tmp_path / "c.tar", {"1.jpg": image, "2.jpg": image})
    cut.write_bytes(cut.read_bytes()[: 512 + len(image) // 2])
    with pytest.raises(DataError, match=r"c\.tar: ends inside '1\.jpg'; the shard is truncated, copy it again$"):
        streamed(cut)


def test_what_is_not_there_is_said_before_anything_is_read(tmp_path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "1.jpg").write_bytes(predicted.picture(1))
    for source, message in (
        ("none.jpg", r"none\.jpg: no such file or folder; check the path$"),
        ("s-{1..3}.tar", r"s-1\.tar: no such file or folder; check the path$"),
        ("*.png", r"\*\.png: no image or container of images fits this pattern; check it$"),
        ("bare", r"bare: holds no images \(\.jpg, .*\); check the path, or name archives by a pattern$"),
        ("x" * 300, r"x: cannot be read \(File name too long\); check it$"),
    ):
        with pytest.raises(DataError, match=message):
            find_units([tmp_path / "1.jpg", tmp_path / source], 4)


def test_one_folders_names_are_held_at_a_time(tmp_path, monkeypatch):
    """The walk is lazy: what lies in a later folder is not looked at before the images of earlier ones are taken."""
    predicted.write_pictures(tmp_path, 6)
    units = find_units([tmp_path], 2)
    assert next(units) == (tmp_path / "cat" / "0.jpg", tmp_path / "cat" / "1.jpg")
    (tmp_path / "dog" / "9.jpg").write_bytes(predicted.picture(9))
    assert [path.name for unit in units for path in unit][-1] == "9.jpg"
