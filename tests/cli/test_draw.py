"""striate draw: the file it writes and what it says."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
import typer

from striate.cli import draw
from striate.cli.app import _Commands


@pytest.fixture
def run(capsys):
    """The command by itself, as `striate draw`."""
    app = typer.Typer(cls=_Commands)
    app.callback()(lambda: None)
    draw.register(app)

    def invoke(*arguments):
        try:
            app(args=["draw", *map(str, arguments)], prog_name="striate")
        except SystemExit as done:
            captured = capsys.readouterr()
            return done.code, captured.out, captured.err

    return invoke


def test_a_network_is_drawn(run, tmp_path):
    path = tmp_path / "net.svg"
    code, out, err = run("4C3-BN-R-MP2-2x([4C3-BN-R-4C3-BN]-R)-GAP-5", "--input", "1x12x14", "-o", path)
    assert (code, out, err) == (0, "", f"drawn to {path}\n")
    texts = ["".join(e.itertext()) for e in ET.fromstring(path.read_text()).iter() if e.tag.endswith("text")]  # noqa: S314 - our own text
    assert "× 2" in texts
    assert "4x12x14" in texts
    assert "field 3, jump 1" in texts


def test_json(run, tmp_path):
    path = tmp_path / "net.svg"
    _, out, _ = run("4C3-GAP-5", "--input", "1x12x14", "-o", path, "--json")
    assert json.loads(out) == {"drawing": str(path), "bytes": path.stat().st_size}


def test_another_ending_is_refused(run, tmp_path):
    code, _, err = run("4C3-GAP-5", "--input", "1x12x14", "-o", tmp_path / "net.png")
    assert code == 2
    assert err == f"striate: {tmp_path}/net.png: a drawing is SVG; name the file with .svg at its end\n"


def test_a_folder_that_is_not_there_is_refused(run, tmp_path):
    code, _, err = run("4C3-GAP-5", "--input", "1x12x14", "-o", tmp_path / "no" / "net.svg")
    assert code == 2
    assert err == (
        f"striate: {tmp_path}/no/net.svg: cannot be written (No such file or directory); "
        "name a file in a folder that exists\n"
    )
