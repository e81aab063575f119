from __future__ import annotations

import json

import numpy as np
import pytest

from striate.data import Preprocessing, decode, load, stream
from striate.data.find import find
from striate.errors import DataError

pa = pytest.importorskip("pyarrow", reason="needs pyarrow, the extra striate[parquet]")
pq = pytest.importorskip("pyarrow.parquet")

CLASSES = ["dog", "cat"]
RGB = Preprocessing(3, 7, 11, "crop", (0.0,) * 3, (1.0,) * 3)


def table(png, rows, **columns):
    """Images number 0 .. rows - 1 in Hugging Face's layout, labels 0, 1, 0, 1, ..."""
    images = pa.array([{"bytes": png(i), "path": f"{i}.png"} for i in range(rows)])
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": CLASSES}}
    made = pa.table({"image": images, "label": [i % 2 for i in range(rows)], **columns})
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def test_labels_carry_the_names_of_the_metadata_in_their_order(tmp_path, png):
    pq.write_table(table(png, 20), tmp_path / "a.parquet", row_group_size=7)
    dataset, _ = load(tmp_path / "a.parquet")
    assert dataset.classes == ("dog", "cat")
    assert dataset.train.images.shape[1:] == (3, 7, 11)


def test_every_row_keeps_its_pixels_whatever_the_row_groups(tmp_path, png, noise):
    pq.write_table(table(png, 20), tmp_path / "a.parquet", row_group_size=7)
    dataset, _ = load(tmp_path / "a.parquet")
    seen = []
    for part in dataset.parts.values():
        for image, label, name in zip(part.images, part.labels, part.names, strict=True):
            row = int(name.removeprefix("a.parquet/"))
            np.testing.assert_array_equal(image.transpose(1, 2, 0), np.asarray(noise(row)))
            assert label == row % 2
            seen.append(row)
    assert sorted(seen) == list(range(20))


def test_a_folder_of_files_is_parted_by_their_names(tmp_path, png):
    for name, rows in (("train-00000-of-00002", 6), ("train-00001-of-00002", 5), ("test", 4)):
        pq.write_table(table(png, rows), tmp_path / f"{name}.parquet")
    found = find(tmp_path)
    assert {part: len(raw) for part, raw in found.parts.items()} == {"train": 11, "test": 4}
    assert found.parts["train"].names[6] == "train-00001-of-00002.parquet/0"
    assert found.parts["test"].class_names.tolist() == ["dog", "cat", "dog", "cat"]


def test_plain_bytes_and_text_labels_splits_and_groups(tmp_path, png):
    made = pa.table({
        "image": [png(i) for i in range(4)],
        "label": ["b", "a", "b", "a"],
        "split": ["train", "train", "test", "test"],
        "group": [1, 1, 2, 2],
    })  # fmt: skip
    pq.write_table(made, tmp_path / "a.parquet")
    found = find(tmp_path / "a.parquet")
    assert found.classes is None
    assert found.parts["test"].names.tolist() == ["a.parquet/2", "a.parquet/3"]
    assert found.parts["test"].groups.tolist() == ["2", "2"]


def test_paths_lie_below_the_file(folder):
    made = pa.table({"path": ["cat/0.png", "dog/1.png"], "label": ["cat", "dog"]})
    pq.write_table(made, folder / "a.parquet")
    assert list(find(folder / "a.parquet").parts["whole"].pixels.read()) == [folder / "cat/0.png", folder / "dog/1.png"]
    pq.write_table(pa.table({"path": ["/etc/passwd", "dog/1.png"], "label": ["a", "b"]}), folder / "b.parquet")
    with pytest.raises(DataError, match=r"path '/etc/passwd' is not below "):
        decode(next(stream(folder / "b.parquet")), RGB)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [b"x"], "kind": [1]}, r"no column 'label' or 'class'; the columns are image, kind$"),
        ({"pixels": [b"x"], "label": [1]}, r"no column 'path' or .*; the columns are pixels, label$"),
        ({"image": [b"x"], "label": [None]}, r"row 0: label is None; give text or an integer in every row$"),
        ({"image": [b"x"], "label": [1.5]}, r"row 0: label is 1\.5; give text or an integer in every row$"),
    ],
)
def test_a_faulty_layout_is_named(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=rf"a\.parquet: {message}"):
        find(tmp_path / "a.parquet")


def test_a_label_outside_the_names_and_files_that_differ(tmp_path, png):
    bad = table(png, 2).set_column(1, "label", [[0, 2]])
    pq.write_table(bad, tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"train\.parquet: row 1: label is 2; the file names 2 classes$"):
        find(tmp_path / "train.parquet")
    pq.write_table(pa.table({"image": [png(0)], "label": [0]}), tmp_path / "test.parquet")
    with pytest.raises(DataError, match=r"test\.parquet: columns or class names differ from train\.parquet; write"):
        find(tmp_path)


@pytest.mark.parametrize("kept", [0, 0.4, 0.99])
def test_a_truncated_file_is_refused(tmp_path, png, kept):
    path = tmp_path / "a.parquet"
    pq.write_table(table(png, 9), path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(DataError, match=r"a\.parquet: unreadable Parquet \(.*\); write it again$"):
        load(path)


def test_streaming_needs_no_labels_read_and_gives_every_image(tmp_path, png):
    pq.write_table(table(png, 9), tmp_path / "a.parquet", row_group_size=4)
    assert [image.content for image in stream(tmp_path / "a.parquet")] == [png(i) for i in range(9)]


@pytest.mark.slow
def test_cifar_loads_as_published(shared_data):
    source = shared_data / "cifar10" / "test.parquet"
    if not source.is_file():
        pytest.skip("needs ../shared/data/cifar10")
    raw = find(source).parts["whole"]
    assert len(raw) == 10_000
    assert np.unique(raw.class_names, return_counts=True)[1].tolist() == [1000] * 10
    dataset, _ = load(shared_data / "cifar10")
    assert dataset.classes[:3] == ("airplane", "automobile", "bird")
    assert {name: len(part) for name, part in dataset.parts.items()} == {
        "train": 45000,
        "validation": 5000,
        "test": 10000,
    }
