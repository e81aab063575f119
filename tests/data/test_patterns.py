"""Patterns of names, against what a shell and the standard library make of them."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from striate.data.patterns import has_wildcards, matches, without_braces
from striate.errors import DataError

NAMES = (
    "a1.jpg",
    "a10.jpg",
    "a9.jpg",
    "b/a2.jpg",
    "b/c/a3.jpg",
    "b/c/a3.png",
    ".h/a4.jpg",
    "b/.a5.jpg",
    "x/b/c/a6.jpg",
)


@pytest.fixture
def tree(tmp_path):
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("s-{000..003}.tar", ["s-000.tar", "s-001.tar", "s-002.tar", "s-003.tar"]),
        ("{8..10}", ["8", "9", "10"]),
        ("{08..10}", ["08", "09", "10"]),
        ("{10..08}", ["10", "09", "08"]),
        ("{a,b}/{1,2}", ["a/1", "a/2", "b/1", "b/2"]),
        ("x{,y}", ["x", "xy"]),
        ("{a}{}..{1..}", ["{a}{}..{1..}"]),
        ("plain", ["plain"]),
    ],
)
def test_braces_are_spelled_out_as_in_bash(text, spelled):
    assert list(without_braces(text)) == spelled


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 4))
def test_counting_keeps_its_ends_and_its_width(first, last, width):
    names = list(without_braces(f"{{{first:0{width}}..{last:0{width}}}}"))
    assert [int(name) for name in names] == list(
        range(first, last + 1) if first <= last else range(first, last - 1, -1)
    )
    if width > 2:
        assert {len(name) for name in names} == {max(width, len(str(first)), len(str(last)))}


def test_a_huge_count_takes_no_memory():
    assert next(without_braces("{1..99999999999999}")) == "1"


@pytest.mark.parametrize(
    "pattern",
    ["*.jpg", "a?.jpg", "a[19].jpg", "**/*.jpg", "b/**", "*/*", "**/b/**/*.jpg", "b/*/a3.*", "no*", "*.jpg/x"],
)
def test_the_same_files_as_glob(tree, pattern):
    found = matches(str(tree / pattern))
    theirs = {Path(name) for name in glob.glob(str(tree / pattern), recursive=True) if not Path(name).is_dir()}  # noqa: PTH207
    assert len(found) == len(set(found))
    assert set(found) == theirs


def test_natural_order_a_folders_files_first(tree):
    names = [path.relative_to(tree).as_posix() for path in matches(f"{tree}/**/*.jpg")]
    assert names == ["a1.jpg", "a9.jpg", "a10.jpg", "b/a2.jpg", "b/c/a3.jpg", "x/b/c/a6.jpg"]


def test_relative_patterns(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert [str(path) for path in matches("a?.jpg")] == ["a1.jpg", "a9.jpg"]
    assert has_wildcards("a?")
    assert not has_wildcards("a{1,2}")


def test_a_loop_of_links_ends(tree):
    (tree / "b" / "again").symlink_to(tree / "b")
    (tree / "b" / "one.jpg").symlink_to(tree / "a1.jpg")
    names = [path.relative_to(tree).as_posix() for path in matches(f"{tree}/b/**/*.jpg")]
    assert names == ["b/a2.jpg", "b/one.jpg", "b/c/a3.jpg"]


def test_a_folder_that_cannot_be_listed_is_named(tree, monkeypatch):
    listed = os.listdir

    def refuse(path):
        if Path(path).name == "c":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(DataError, match=r"/b/c: cannot be listed \(Permission denied\); check it$"):
        matches(f"{tree}/**/*.jpg")
