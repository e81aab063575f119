from __future__ import annotations

import pytest
from PIL import Image

from striate.data.folders import list_folder
from striate.errors import DataError


def put(root, *files):
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 2)).save(path)


def listed(raw):
    return list(zip(raw.names.tolist(), raw.class_names.tolist(), strict=True))


def test_every_folder_is_a_class_and_files_sort_naturally(tmp_path):
    put(tmp_path, "10/b.png", "9/img10.PNG", "9/img9.jpg", "9/deeper/c.webp")
    found = list_folder(tmp_path)
    assert list(found.parts) == ["whole"]
    assert listed(found.parts["whole"]) == [
        ("9/deeper/c.webp", "9"),
        ("9/img9.jpg", "9"),
        ("9/img10.PNG", "9"),
        ("10/b.png", "10"),
    ]
    assert found.ignored == 0


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_parts_are_found_by_name(tmp_path, validation):
    put(tmp_path, "train/a/1.png", "train/b/1.png", f"{validation}/a/2.png", "test/b/3.png", "notes/x.png")
    found = list_folder(tmp_path)
    assert listed(found.parts["train"]) == [("train/a/1.png", "a"), ("train/b/1.png", "b")]
    assert listed(found.parts["validation"]) == [(f"{validation}/a/2.png", "a")]
    assert listed(found.parts["test"]) == [("test/b/3.png", "b")]
    assert found.ignored == 1


def test_a_class_may_be_called_train(tmp_path):
    put(tmp_path, "bus/1.png", "car/1.png", "train/1.png")
    assert set(list_folder(tmp_path).parts["whole"].class_names.tolist()) == {"bus", "car", "train"}


def test_what_is_not_an_image_is_ignored_and_counted(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png", "a/.hidden.png", ".cache/1.png")
    (tmp_path / "a" / "labels.txt").write_text("x")
    (tmp_path / "LICENSE").write_text("x")
    found = list_folder(tmp_path)
    assert len(found.parts["whole"]) == 2
    assert found.ignored == 4


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=rf"^{tmp_path}/none: no such folder; check the path$"):
        list_folder(tmp_path / "none")


def test_a_folder_without_classes_says_what_is_expected(tmp_path):
    put(tmp_path, "1.png")
    message = rf"^{tmp_path}: holds no class folders; put each class's images into a folder of its name$"
    with pytest.raises(DataError, match=message):
        list_folder(tmp_path)


def test_an_empty_class_is_named(tmp_path):
    put(tmp_path, "a/1.png")
    (tmp_path / "glass").mkdir()
    message = rf"^{tmp_path}/glass: class 'glass' has no images; add some or remove the folder$"
    with pytest.raises(DataError, match=message):
        list_folder(tmp_path)


def test_two_validation_folders_are_refused(tmp_path):
    put(tmp_path, "train/a/1.png", "val/a/1.png", "valid/a/1.png")
    with pytest.raises(DataError, match=rf"^{tmp_path}: both val/ and valid/; keep one of them$"):
        list_folder(tmp_path)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    put(tmp_path, "data/a/1.png", "data/b/1.png", "secret/2.png")
    link = tmp_path / "data" / "b" / "2.png"
    link.symlink_to(tmp_path / "secret" / "2.png")
    message = rf"^{link}: links to a folder or out of {tmp_path}/data; copy the images instead$"
    with pytest.raises(DataError, match=message):
        list_folder(tmp_path / "data")


@pytest.mark.parametrize("target", ["../secret", "a", ".."])
def test_a_link_to_a_folder_is_refused(tmp_path, target):
    put(tmp_path, "data/a/1.png", "data/b/1.png", "secret/2.png")
    (tmp_path / "data" / "c").symlink_to(target)
    with pytest.raises(DataError, match=rf"^{tmp_path}/data/c: links to a folder or out of "):
        list_folder(tmp_path / "data")


def test_a_link_inside_the_folder_and_a_linked_root_are_fine(tmp_path):
    put(tmp_path, "data/a/1.png", "data/b/1.png")
    (tmp_path / "data" / "b" / "2.png").symlink_to("1.png")
    (tmp_path / "shortcut").symlink_to("data")
    assert len(list_folder(tmp_path / "shortcut").parts["whole"]) == 3
