"""Every option of striate inspect; the plain table and JSON are in test_commands.py."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import pytest

NET = "6C3x5s2x1p1:0x2-BN-R-MP2-F-7"
HERE = ("inspect", NET, "--input", "3x11x13")


def fault(answer) -> str:
    assert answer.code == 2
    assert answer.out == ""
    return answer.err.strip()


def test_columns_are_chosen_and_ordered(striate):
    answer = striate(*HERE, "--columns", "layer,flops,padding")
    assert answer.out.splitlines()[2].split() == ["layer", "FLOPs", "padding"]
    assert answer.code == 0


def test_columns_can_be_listed(striate):
    lines = striate(*HERE, "--columns", "help").out.splitlines()
    assert lines[0].split() == ["layer", "its", "name"]
    assert any(line.startswith("intensity") for line in lines)


def test_an_unknown_column(striate):
    assert fault(striate(*HERE, "--columns", "layer,speed")).startswith("striate: no column is called speed; ")


def test_a_tree_groups_by_module_path(striate):
    lines = striate("inspect", "resnet18", "--input", "3x64x64", "--tree", "--depth", "1").out.splitlines()
    assert [line.split()[0] for line in lines[3:13]] == [
        "conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc",
    ]  # fmt: skip
    assert lines[7].split()[1:3] == ["14", "layers"]


def test_one_unit_and_its_picture(striate):
    answer = striate(*HERE, "--at", "conv1", "--unit", "0,3", "--picture")
    lines = answer.out.splitlines()
    assert lines[0] == "conv1: unit 0, 3 of 5x13"
    assert lines[-11:-9] == [".#####.......", ".#####......."]
    assert lines[-9] == "." * 13


def test_one_unit_as_json(striate):
    found = json.loads(striate(*HERE, "--at", "conv1", "--unit", "4,0", "--json").out)
    assert found["reach"] == [[7, 9], [-2, 2]]
    assert found["pixels_seen"] == 9
    assert "local" not in found


def test_many_sizes(striate):
    answer = striate("inspect", "4C3-MP2-F-5", "--input", "1x8x8", "--sizes", "8..11:1")
    rows = [line.split() for line in answer.out.splitlines()[3:]]
    assert [row[:2] for row in rows] == [[f"1x{n}x{n}", f"4x{n // 2}x{n // 2}"] for n in range(8, 12)]
    found = json.loads(striate("inspect", "4C3-MP2-F-5", "-i", "1x8x8", "--sizes", "8..11:1", "--json").out)
    assert [size["dropped"] for size in found["sizes"]] == [[], [{"layer": "pool1", "units": [1, 1]}]] * 2


def test_a_file_is_one_network_at_all_sizes(striate, model):
    answer = striate("inspect", model, "--sizes", "26..28:2")
    lines = answer.out.splitlines()
    assert lines[-1].startswith("1x26x26: ")
    assert "needs" in lines[-1]
    assert lines[3].startswith("1x28x28")


def test_two_networks_side_by_side(striate):
    answer = striate("inspect", "resnet18", "--input", "3x64x64", "--compare", "resnet34")
    assert "resnet18 (3x64x64)  resnet34 (3x64x64)  ratio" in answer.out
    found = json.loads(striate("inspect", "resnet18", "-i", "3x64x64", "--compare", "resnet34", "--json").out)
    assert found["right"]["totals"]["parameters"] == 21_797_672


def test_csv_has_a_row_a_layer_and_a_column_a_number(striate):
    rows = list(csv.DictReader(io.StringIO(striate(*HERE, "--csv").out)))
    assert [row["name"] for row in rows] == ["conv1", "bn1", "relu1", "pool1", "flatten1", "fc1"]
    assert (rows[0]["receptive_field.size.0"], rows[0]["receptive_field.size.1"]) == ("3", "5")
    assert rows[0]["output"] == "6x5x13"
    assert int(rows[0]["macs"]) == 6 * 5 * 13 * 45


def test_svg_is_written_beside_the_table(striate, tmp_path):
    answer = striate(*HERE, "--svg", tmp_path / "net.svg")
    assert answer.err == f"drawn to {tmp_path}/net.svg\n"
    assert answer.out.startswith(NET)
    assert (tmp_path / "net.svg").read_text().startswith("<svg ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--at", "conv1", "--sizes", "8..9"),
            "striate: --at, --sizes and --compare answer different questions; give one of them",
        ),
        (("--unit", "0,0"), "striate: --unit and --picture belong to a layer; name it with --at"),
        (("--depth", "2"), "striate: --depth counts levels of the tree; give --tree as well"),
        (
            ("--at", "conv1", "--unit", "a,b"),
            "striate: unit 'a,b' is not a place; write row and column, as in --unit 3,5",
        ),
        (
            ("--at", "conv1", "--unit", "5,0"),
            "striate: conv1 has 5x13 units and none at 5,0; they go from 0,0 to 4,12",
        ),
        (
            ("--sizes", "9..8"),
            "striate: sizes '9..8' are not a range; write it as in --sizes 128..256 or 128..256:16",
        ),
        (
            ("--sizes", "1..5000:1"),
            "striate: sizes '1..5000:1' are 5,000 sizes; take at most 1,000, by a larger step",
        ),
    ],
)
def test_what_does_not_go_together(striate, arguments, message):
    assert fault(striate(*HERE, *arguments)) == message


def test_an_unknown_layer(striate):
    assert fault(striate(*HERE, "--at", "conv9")).startswith(f"striate: {NET} has no layer 'conv9'; its layers are ")


def test_sizes_of_a_notation_need_the_channels(striate):
    message = fault(striate("inspect", NET, "--sizes", "8..9"))
    assert message == (
        "striate: --sizes: how many channels the images have is not known; give --input, as in 3x224x224"
    )


def test_inspecting_a_notation_never_loads_torch():
    code = (
        "import sys; from striate.cli.app import main; "
        "main(['inspect', 'resnet18', '--input', '3x64x64', '--at', 'layer4.1.add']); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
