from __future__ import annotations

import pytest

from striate.data import stream
from striate.data.find import find
from striate.errors import DataError


def test_a_folder_of_classes_stays_one_whatever_lies_beside(folder):
    (folder / "old.tar").write_bytes(b"")
    found = find(folder)
    assert len(found.parts["whole"]) == 10
    assert found.ignored == 1


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar.zst"])
def test_a_compressed_tar_says_what_to_write(tmp_path, name):
    message = rf"{name}: a compressed tar cannot be read in place; write a plain \.tar, images are compressed$"
    with pytest.raises(DataError, match=message):
        find(tmp_path / name)


def test_a_file_of_another_kind_lists_the_kinds(tmp_path):
    (tmp_path / "a.txt").touch()
    message = (
        r"a\.txt: not a kind of file that is read; give a folder, a \.csv, \.npz, \.parquet, \.tar, \.zip file, "
        r"sample or fashion-mnist$"
    )
    with pytest.raises(DataError, match=message):
        find(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), r"\*: no file fits this pattern; check it$"),
        (
            ("a.tar", "b.parquet"),
            r"\*: names \.parquet, \.tar files together; several may be \.parquet or \.tar files$",
        ),
        (("a.csv", "b.csv"), r"\*: names \.csv files together; several may be \.parquet or \.tar files$"),
    ],
)
def test_patterns_that_fit_nothing_or_too_much(tmp_path, names, message):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=message):
        find(tmp_path / "*")


def test_some_files_with_a_part_and_some_without_are_refused(tmp_path):
    for name in ("train-0.tar", "more.tar"):
        (tmp_path / name).touch()
    with pytest.raises(
        DataError, match=r"more\.tar names no part and others do; begin it with train, validation, test$"
    ):
        find(tmp_path)


def test_streams_of_folders_and_of_arrays(folder):
    assert [image.content for image in stream(folder)] == [
        folder / name / f"{i}.png" for name in ("cat", "dog") for i in range(5)
    ]
    with pytest.raises(DataError, match=r"^sample: holds arrays, which are in memory already; use load$"):
        next(stream("sample"))
