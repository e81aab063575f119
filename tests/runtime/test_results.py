"""Results on disk: lines that come back bit for bit, and tables that another reader reads."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from striate.errors import UsageError
from striate.runtime import Prediction, Unreadable
from striate.runtime import results as module
from striate.runtime.results import WRITERS, check_out, from_line, to_line, without_probabilities

CLASSES = ("ant", 'b,"e\ne', "größe")
RESULTS = (
    Prediction("a/1.jpg", CLASSES[1], 0.1 + 0.2, (0.1, 0.1 + 0.2, 0.6), abstains=True),
    Unreadable('b, "2"\n.jpg', "unreadable image (truncated); replace or remove it"),
    Prediction("größe.jpg", "ant", 1 / 3, (1 / 3, 1e-300, 5e-324)),
)
numbers = st.floats(0, 1)
results = st.one_of(
    st.builds(Unreadable, st.text(), st.text()),
    st.builds(Prediction, st.text(), st.text(), numbers, st.lists(numbers).map(tuple), st.booleans()),
)


@given(st.lists(results).map(tuple))
def test_a_line_comes_back_bit_for_bit(batch):
    line = to_line(batch)
    assert from_line(line) == batch
    assert "\n" not in line


@pytest.mark.parametrize("line", ["", "[", "3", "[3]", '[["a"]]', '[["a","b","c"]]', "null", "[" * 10_000])
def test_what_is_no_line_is_refused(line):
    with pytest.raises(ValueError, match=r"\w"):
        from_line(line)


def test_kept_without_probabilities():
    kept = without_probabilities(RESULTS)
    assert [one.path for one in kept] == [one.path for one in RESULTS]
    assert kept[0] == Prediction("a/1.jpg", CLASSES[1], 0.1 + 0.2, (), abstains=True)
    assert kept[1] == RESULTS[1]


def test_csv_is_read_back_by_csv(tmp_path):
    WRITERS[".csv"](tmp_path / "r.csv", iter(RESULTS), CLASSES)
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["path", "label", "probability", "abstain", "error", "p_ant", 'p_b,"e\ne', "p_größe"],
        ["a/1.jpg", CLASSES[1], "0.30000000000000004", "true", "", "0.1", "0.30000000000000004", "0.6"],
        ['b, "2"\n.jpg', "", "", "", "unreadable image (truncated); replace or remove it", "", "", ""],
        ["größe.jpg", "ant", repr(1 / 3), "false", "", repr(1 / 3), "1e-300", "5e-324"],
    ]


def test_json_lines_are_read_back_by_json(tmp_path):
    WRITERS[".jsonl"](tmp_path / "r.jsonl", iter(RESULTS), CLASSES)
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[0] == {
        "path": "a/1.jpg", "label": CLASSES[1], "probability": 0.1 + 0.2, "abstain": True, "error": None,
        "probabilities": dict(zip(CLASSES, RESULTS[0].probabilities, strict=True)),
    }  # fmt: skip
    assert rows[1] == {
        "path": RESULTS[1].path, "label": None, "probability": None, "abstain": None, "error": RESULTS[1].reason,
        "probabilities": None,
    }  # fmt: skip
    WRITERS[".jsonl"](tmp_path / "r.jsonl", iter(RESULTS), ())
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [list(row) for row in rows] == [list(module.COLUMNS)] * 3


@pytest.mark.parametrize("classes", [(), CLASSES])
def test_parquet_is_read_back_by_pyarrow_in_row_groups(tmp_path, monkeypatch, classes):
    pq = pytest.importorskip("pyarrow.parquet")
    names = [*module.COLUMNS, *(f"p_{name}" for name in classes)]
    monkeypatch.setattr(module, "GROUP_CELLS", 2 * len(names) + 1)
    WRITERS[".parquet"](tmp_path / "r.parquet", iter(RESULTS * 3), classes)
    file = pq.ParquetFile(tmp_path / "r.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [2, 2, 2, 2, 1]
    assert file.schema_arrow.names == names
    assert [str(file.schema_arrow.field(name).type) for name in names[:5]] == [
        "string", "string", "double", "bool", "string",
    ]  # fmt: skip
    rows = file.read().to_pylist()
    for row, result in zip(rows, RESULTS * 3, strict=True):
        if isinstance(result, Unreadable):
            assert row == dict.fromkeys(names) | {"path": result.path, "error": result.reason}
            continue
        flat = dict(zip(names[5:], result.probabilities, strict=False))
        assert row == {
            "path": result.path, "label": result.label, "probability": result.probability,
            "abstain": result.abstains, "error": None, **flat,
        }  # fmt: skip


def test_names_that_cannot_be_written(tmp_path):
    for out, message in (
        (tmp_path, r": is a folder; name a file in it that ends in \.csv, \.jsonl, \.parquet$"),
        (tmp_path / "r.txt", r"r\.txt: results are written by suffix; end the name in \.csv, \.jsonl, \.parquet$"),
        (tmp_path / "no" / "r.csv", r"no/r\.csv: there is no folder .*/no; make it first$"),
    ):
        with pytest.raises(UsageError, match=message):
            check_out(out)
    check_out(tmp_path / "r.CSV")


def test_parquet_without_pyarrow_is_one_line(tmp_path):
    code = (
        "import sys; sys.modules['pyarrow'] = None\nfrom pathlib import Path\n"
        "from striate.runtime.results import check_out\ncheck_out(Path(sys.argv[1]))"
    )
    out = tmp_path / "r.parquet"
    done = subprocess.run([sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        f"striate.errors.UsageError: {out}: writing Parquet needs pyarrow; install it with "
        "pip install 'striate[parquet]', or name a .csv"
    )
