"""Every option of striate audit, each exit code, and the pictures it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from striate.cli import audit
from striate.data import write_sample_images
from striate.errors import DataError


@pytest.fixture
def run():
    """Run the command by itself, an exception of ours raised as it is."""
    app = typer.Typer()
    audit.register(app)

    def call(*arguments, **expected):
        return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False, **expected)

    return call


@pytest.fixture
def photos(tmp_path) -> Path:
    write_sample_images(tmp_path / "photos", 20)
    return tmp_path / "photos"


def spoil(photos):
    first = next(photos.glob("Coat/*.png"))
    shutil.copy(first, photos / "Bag" / "copy.png")
    return first.name


def test_sound_images_are_clean(run, photos):
    result = run(photos)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"{photos}: 20 images, 10 classes"
    assert lines[1] == "height 28 px, width 28 px, width/height 1.00 to 1.00"
    assert lines[2] == "stored as 20 PNG, 20 L"
    assert lines[-1] == "nothing found"


def test_faults_are_printed_with_what_to_do_and_give_exit_code_1(run, photos):
    name = spoil(photos)
    result = run(photos)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-3:] == [
        "fault: 1 picture carries different labels  [label-conflict]",
        f"    Bag/copy.png (Bag, whole) = Coat/{name} (Coat, whole): the same bytes",
        "    -> look at each and keep the right label: no network can learn both",
    ]


def test_json_is_one_value_and_keeps_the_exit_code(run, photos):
    spoil(photos)
    result = run(photos, "--json", "--threads", "1")
    assert result.exit_code == 1
    value = json.loads(result.stdout)
    assert [finding["kind"] for finding in value["findings"]] == ["label-conflict"]
    assert value["counts"]["whole"]["Bag"] == 3


def test_the_sheet_is_written_and_named(run, photos, tmp_path):
    spoil(photos)
    sheet = tmp_path / "sheet.png"
    result = run(photos, "--sheet", sheet)
    assert result.stderr.splitlines() == [f"contact sheet: {sheet}"]
    with Image.open(sheet) as page:
        assert page.format == "PNG"
        assert page.height > 5 * 144


def test_no_data_is_an_error_of_the_input(run, tmp_path):
    with pytest.raises(DataError, match=r"none: no such folder or file; give "):
        run(tmp_path / "none")
