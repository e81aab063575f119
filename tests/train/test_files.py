from __future__ import annotations

import pytest

from striate.errors import RunError
from striate.train.run import files


class Died(BaseException):
    """Nothing in the code under test may catch this: a killed process runs no handler."""


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_dies_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "a.json"
    files.write_atomic(path, b"old")

    def die(*_):
        raise Died

    monkeypatch.setattr(*{"fsync": (files.os, "fsync"), "replace": (files.Path, "replace")}[step], die)
    with pytest.raises(Died):
        files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_disk_that_refuses_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    files.write_atomic(tmp_path / "a.json", b"old")
    monkeypatch.setattr(files.os, "fsync", full)
    message = r"a\.json: cannot be written \(No space left on device\); mend that, then `striate resume` the run$"
    with pytest.raises(RunError, match=message):
        files.write_atomic(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"old"


def test_rows_are_written_as_a_whole(tmp_path):
    files.write_json_lines(tmp_path / "m.jsonl", [{"a": 1}, {"a": 0.1}])
    assert (tmp_path / "m.jsonl").read_text() == '{"a": 1}\n{"a": 0.1}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["m.jsonl"]


def test_a_number_json_does_not_have_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []
