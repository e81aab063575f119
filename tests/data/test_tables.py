from __future__ import annotations

import pytest

from striate.data.tables import read_csv
from striate.errors import DataError


def csv(root, text, name="labels.csv"):
    path = root / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_of_paths_gives_one_part_in_its_order(folder):
    found = read_csv(csv(folder, "path,label\ndog/1.png,dog\ncat/0.png,cat\n"))
    raw = found.parts["whole"]
    assert raw.names.tolist() == ["dog/1.png", "cat/0.png"]
    assert raw.class_names.tolist() == ["dog", "cat"]
    assert list(raw.pixels.read()) == [folder / "dog/1.png", folder / "cat/0.png"]
    assert raw.groups is None


def test_splits_groups_and_other_names_for_columns(folder):
    text = (
        "\ufeffID,file_name, Class ,split,group\n1,dog/1.png,d,test,x\n\n2,cat/0.png,c,valid,y\n3,cat/1.png,c,train,z\n"
    )
    found = read_csv(csv(folder, text))
    assert {part: raw.names.tolist() for part, raw in found.parts.items()} == {
        "train": ["cat/1.png"],
        "validation": ["cat/0.png"],
        "test": ["dog/1.png"],
    }
    assert found.parts["test"].groups.tolist() == ["x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,kind\na,b\n", r"labels\.csv: no column 'label' or 'class'; the columns are path, kind$"),
        ("", r"labels\.csv: no column 'path' or 'file_name' or .*; the columns are none$"),
        ("path,label\n", r"labels\.csv: has no rows; add a row for each image$"),
        ("path,label,class\na,b,c\n", r"labels\.csv: columns 'label' and 'class' both give the label; keep one$"),
        ("path,label\na.png\n", r"labels\.csv: row 2: has 1 cells under 2 columns; quote commas inside a cell$"),
        ("path,label\na.png,\n", r"row 2: no label for 'a\.png'; fill it in or remove the row$"),
        ("path,label,group\na,b,g\nc,d,\n", r"row 3: no group; fill in the column group in every row or remove it$"),
        ("path,label,split\na,b,dev\n", r"image 0 has split 'dev'; allowed are train, val, valid, validation, test$"),
        ('path,label\n"a,b\n', r"labels\.csv: is not CSV \(.*\); write a header and a row for each image$"),
        ("path,label\n/etc/passwd,x\n", r"row 2: path '/etc/passwd' is not below .*; give paths relative to that"),
        ("path,label\n../a.png,x\n", r"row 2: path '\.\./a\.png' is not below .*; give paths relative to that"),
    ],
)
def test_a_faulty_table_is_refused_with_its_row(folder, text, message):
    with pytest.raises(DataError, match=message):
        read_csv(csv(folder, text))


def test_bytes_that_are_no_text_are_refused(folder):
    path = folder / "a.csv"
    path.write_bytes(b"path,label\n\xff\xfe,x\n")
    with pytest.raises(DataError, match=r"a\.csv: is not UTF-8 at byte 11; save it as UTF-8$"):
        read_csv(path)


def test_a_link_out_of_the_folder_is_refused(folder):
    (folder / "out").symlink_to(folder.parent)
    with pytest.raises(DataError, match=r"row 2: path 'out/x\.png' links out of .*; copy the images instead$"):
        read_csv(csv(folder, "path,label\nout/x.png,x\n"))
