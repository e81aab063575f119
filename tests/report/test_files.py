from __future__ import annotations

import re

import pytest

from striate.errors import UsageError
from striate.report.contact_sheet import draw
from striate.report.run_curves import draw_runs

HISTORY = [{"epoch": 1, "validation_loss": 0.5, "validation_accuracy": 0.75}]


@pytest.mark.parametrize("write", [lambda path: draw("t", [], path), lambda path: draw_runs({"a": HISTORY}, path)])
def test_a_picture_that_cannot_be_written_is_one_line(tmp_path, write):
    path = tmp_path / "none" / "p.png"
    message = f"{path}: cannot be written (No such file or directory); name a file in a folder that exists"
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        write(path)


def test_a_name_without_a_format_is_refused(tmp_path):
    message = r"c\.xyz: is no name of a picture; end it in one of .*pdf, .*png, .*svg"
    with pytest.raises(UsageError, match=message):
        draw_runs({"a": HISTORY}, tmp_path / "c.xyz")
