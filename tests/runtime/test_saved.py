"""The choice saved beside a model: used where it holds, named where it does not, and never a crash."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from striate.errors import UsageError
from striate.runtime import Setting
from striate.runtime.engines import version
from striate.runtime.saved import MAX_BYTES, Fastest, Machine, read, save, saved_path, saved_setting, this_machine


def fastest(use="alone", batch_images=4, threads=3, **changes):
    values = {
        "engine": "onnxruntime", "version": version("onnxruntime"), "spinning": False, "part_images": 2,
        "images_per_s": 1234.5,
    }  # fmt: skip
    return Fastest(use=use, batch_images=batch_images, threads=threads, **(values | changes))


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"a model")
    return tmp_path / "model.onnx"


def change(model, **values):
    content = json.loads(saved_path(model).read_text())
    saved_path(model).write_text(json.dumps(content | values))


def test_what_was_saved_is_found_and_said(model):
    path = save(model, "2026-01-31T12:00:00+00:00", [fastest(), fastest("beside", threads=1, part_images=None)])
    assert path == model.with_name("model.bench.json")
    setting, line = saved_setting(model, 4, "alone")
    assert setting == Setting("onnxruntime", 3, part_images=2)
    measured = f"(measured fastest here on 2026-01-31, 1,234 images/s at batch 4: {path})"
    assert line == f"onnxruntime, 3 threads, parts of 2 {measured}"
    assert saved_setting(model, 4, "beside")[0] == Setting("onnxruntime", 1)


@pytest.mark.parametrize(("wanted", "found"), [(1, 2), (2, 2), (6, 2), (7, 7), (31, 7), (500, 32)])
def test_the_nearest_batch_below_counts(model, wanted, found):
    save(model, "2026-01-31", [fastest(batch_images=n, threads=n) for n in (32, 2, 7)])
    assert saved_setting(model, wanted, "alone")[0].threads == found


def test_nothing_saved_is_nothing_said(model):
    assert saved_setting(model, 1, "alone") == (None, "")
    assert saved_setting(model.with_name("absent.onnx"), 1, "alone") == (None, "")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model_sha256": "0" * 64}, "it was measured for another model"),
        ({"machine": {"cpu": "Z80", "cores": 1}}, "it was measured on Z80, 1 cores; this is HERE"),
        ({"fastest": [fastest(version="0.1").model_dump()]}, "it was measured with onnxruntime 0.1; installed is NOW"),
        ({"fastest": [fastest(engine="abacus").model_dump()]}, "it was measured with abacus NOW; installed is none"),
        ({"fastest": [fastest("beside").model_dump()]}, "nothing was measured for callers alone"),
        ({"fastest": []}, "fastest: Tuple should have at least 1 item after validation, not 0"),
        ({"format": 2}, "format: Input should be 1"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
    ],
)
def test_what_does_not_hold_is_named_and_not_used(model, changes, why):
    path = save(model, "2026-01-31", [fastest()])
    change(model, **changes)
    here = this_machine()
    why = why.replace("HERE", f"{here.cpu}, {here.cores}").replace("NOW", version("onnxruntime"))
    setting, line = saved_setting(model, 4, "alone")
    assert setting is None
    assert line.startswith(f"{path} is not used: {why}")
    assert line.endswith("; run striate bench --save again")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b" " * (MAX_BYTES + 1)])
def test_damaged_files_are_named(model, text):
    saved_path(model).write_bytes(text)
    setting, line = saved_setting(model, 4, "alone")
    assert setting is None
    assert line.startswith(f"{saved_path(model)} is not used: ")
    assert "\n" not in line


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("saved") / "model.bench.json"
    path.write_bytes(text)
    with pytest.raises(UsageError):
        read(path)


def test_a_folder_that_cannot_be_written_to(tmp_path, model):
    saved_path(model).mkdir()
    with pytest.raises(
        UsageError, match=r"model.bench.json: cannot be written \(.*\); choose a folder you may write to$"
    ):
        save(model, "2026-01-31", [fastest()])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.bench.json", "model.onnx"]
    assert saved_setting(model, 1, "alone")[1].startswith(f"{saved_path(model)} is not used: it cannot be read (Is a")


def test_a_machine_is_its_processor_and_its_cores():
    assert this_machine() == this_machine()
    assert Machine(cpu="Z80", cores=1) != Machine(cpu="Z80", cores=2)
