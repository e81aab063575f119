from __future__ import annotations

import json
import re

import pytest
import torch

from striate.errors import RunError
from striate.train.progress import Progress
from striate.train.run.checkpoint import Checkpoint, load_newest, save

TENSORS = {"weights/a": torch.tensor([[1.5, -2.0, 3.0]]), "best/n": torch.tensor(7)}


@pytest.fixture
def folder(tmp_path):
    for serial in range(5):
        progress = Progress(epoch=serial, step=2, loss_sum=0.1 * serial, history=[{"epoch": 1, "x": 1 / 3}])
        save(tmp_path, Checkpoint(serial, progress, {**TENSORS, "serial": torch.tensor(serial)}))
    return tmp_path


def test_what_is_saved_is_what_is_loaded(folder):
    checkpoint, faults = load_newest(folder)
    assert faults == ()
    assert checkpoint.serial == 4
    assert checkpoint.progress == Progress(epoch=4, step=2, loss_sum=0.4, history=[{"epoch": 1, "x": 1 / 3}])
    assert checkpoint.tensors.keys() == {*TENSORS, "serial"}
    assert all(torch.equal(checkpoint.tensors[name], tensor) for name, tensor in TENSORS.items())


def test_two_generations_are_kept_and_nothing_else(folder):
    (folder / "000004.json.unfinished").write_text("of a process killed in writing")
    (folder / "000001.safetensors.unfinished").write_text("of another")
    save(folder, Checkpoint(5, Progress(), TENSORS))
    names = sorted(path.name for path in folder.iterdir() if path.suffix != ".unfinished")
    assert names == ["000004.json", "000004.safetensors", "000005.json", "000005.safetensors"]
    assert not (folder / "000001.safetensors.unfinished").exists()


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


DAMAGES = {
    "altered tensors": (
        "000004.safetensors",
        flip_a_bit,
        "is damaged, its hash is not the one recorded",
    ),
    "cut tensors": ("000004.safetensors", lambda p: p.write_bytes(p.read_bytes()[:-1]), "its hash is not the one"),
    "no tensors": ("000004.safetensors", lambda p: p.unlink(), "000004.safetensors: cannot be read (No such file"),
    "empty note": ("000004.json", lambda p: p.write_text(""), "000004.json: is damaged"),
    "other note": ("000004.json", lambda p: p.write_text('{"sha256": ""}'), "000004.json: is damaged"),
    "no object": ("000004.json", lambda p: p.write_text("[]"), "000004.json: is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_generation_falls_back_to_the_one_before(folder, damage):
    name, harm, message = DAMAGES[damage]
    harm(folder / name)
    checkpoint, faults = load_newest(folder)
    assert checkpoint.serial == 3
    assert int(checkpoint.tensors["serial"]) == 3
    assert len(faults) == 1
    assert message in faults[0]


def test_the_next_save_replaces_the_damaged_generation(folder):
    flip_a_bit(folder / "000004.safetensors")
    checkpoint, _ = load_newest(folder)
    save(folder, Checkpoint(checkpoint.serial + 1, Progress(epoch=9), TENSORS))
    checkpoint, faults = load_newest(folder)
    assert (checkpoint.serial, checkpoint.progress.epoch, faults) == (4, 9, ())


def test_without_an_intact_one_each_reason_is_told(folder):
    for serial in (3, 4):
        (folder / f"{serial:06d}.json").write_text("{")
    message = (
        f"{folder}: no intact checkpoint ({folder}/000004.json: is damaged; {folder}/000003.json: is damaged); "
        "train again into another --out"
    )
    with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
        load_newest(folder)


def test_an_empty_folder_says_none_was_written(tmp_path):
    with pytest.raises(RunError, match=r"no intact checkpoint \(none was written\); train again into another --out$"):
        load_newest(tmp_path)


def test_a_hash_that_fits_is_not_enough_where_the_content_is_no_safetensors(folder):
    import hashlib

    (folder / "000004.safetensors").write_bytes(b"no tensors")
    note = json.loads((folder / "000004.json").read_text())
    note["sha256"] = hashlib.sha256(b"no tensors").hexdigest()
    (folder / "000004.json").write_text(json.dumps(note))
    checkpoint, faults = load_newest(folder)
    assert checkpoint.serial == 3
    assert "000004.safetensors: is no intact safetensors file" in faults[0]
