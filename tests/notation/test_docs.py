"""Every example of docs/notation.md is executed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from striate.errors import NotationError
from striate.notation import FAMILIES, canonical, from_network, parse, read, write
from striate.notation.syntax import MAX_COUNT, MAX_DEPTH, MAX_LAYERS, MAX_PX, WORDS

PAGE = (Path(__file__).parents[2] / "docs" / "notation.md").read_text(encoding="utf-8")
PHOTO = (3, 64, 64)


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)


def section(title):
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def first_cells(title):
    """The notations in the first column of a section's table."""
    return [
        code
        for row in re.findall(r"^\| (`[^|]*)\|", section(title), re.MULTILINE)
        for code in re.findall("`(.*?)`", row)
    ]


@pytest.mark.parametrize("text", [line for block in blocks("notation") for line in block.split("\n")])
def test_an_example_builds_and_is_written_as_it_stands(text):
    assert write(parse(text)) == text
    assert write(from_network(read(text, PHOTO))) == write(canonical(parse(text)))


@pytest.mark.parametrize("block", blocks("error"))
def test_an_error_is_as_shown(block):
    text, _, message = block.partition("\n")
    with pytest.raises(NotationError) as caught:
        read(text, PHOTO)
    assert str(caught.value) == message


@pytest.mark.parametrize("block", blocks("python"))
def test_python_runs(block):
    exec(compile(block, "docs/notation.md", "exec"), {})  # noqa: S102 - the page's own examples


def test_the_tables_list_every_word_and_they_parse():
    listed = first_cells("Layers")
    assert set(WORDS) <= set(listed)
    assert [write(parse(text)) for text in listed] == listed


@pytest.mark.parametrize("suffix", first_cells("Suffixes"))
def test_a_suffix_of_the_table_is_read(suffix):
    for head in {"d": ["8C3", "MP3"], "g": ["8C3"], "b": ["8C3", "DW3", "8"], "n": ["8C3", "DW3", "8"]}.get(
        suffix[0], ["8C3", "DW3", "MP4", "AP4", "BP4"] if suffix[0] == "p" else ["8C3", "DW3", "MP4", "AP4", "BP3"]
    ):
        parse(head + suffix)


def test_the_grammars_words_are_the_words():
    (grammar,) = blocks("ebnf")
    (rule,) = re.findall(r"^word +=(.*);$", grammar, re.MULTILINE)
    assert re.findall('"(.*?)"', rule) == list(WORDS)


def test_the_families_are_all_named():
    """Each by its full name; the widths, `_bn` and the middle of the `_cifar` row by their suffixes."""
    named = set(re.findall("`((?:plain|resnet|vgg|cifar_fast|mobilenet).*?)`", section("Families")))
    by_suffix = {n for n in FAMILIES if re.search(r"_(bn|cifar|[0-9.]+)$", n)}
    assert set(FAMILIES) - by_suffix <= named <= set(FAMILIES)
    widths = re.findall("`_([0-9.]+)`", section("Families"))
    assert [f"mobilenet_v2_{w}" for w in widths] == [n for n in FAMILIES if n.startswith("mobilenet_v2_")]


def test_the_limits_are_as_stated():
    for number in (f"{MAX_LAYERS:,} layers", f"{MAX_COUNT:,} channels", f"{MAX_PX:,} px", f"{MAX_DEPTH} deep"):
        assert number in section("Groups")
