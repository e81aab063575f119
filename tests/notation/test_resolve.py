from __future__ import annotations

import subprocess
import sys

import pytest

from striate.errors import NotationError
from striate.graph import infer_shapes
from striate.notation import FAMILIES, read

FAMILY_NAMES = ", ".join(FAMILIES)
PHOTO = (3, 20, 33)


def result(network):
    return infer_shapes(network)[network.output]


def test_a_notation_is_read_and_keeps_its_text_as_name():
    network = read(" 8C3-BN-R-GAP-10 ", PHOTO)
    assert (network.name, network.input_shape, result(network)) == ("8C3-BN-R-GAP-10", PHOTO, (10,))


@pytest.mark.parametrize(
    ("name", "classes", "outputs"), [("resnet18", None, 1000), ("resnet18", 7, 7), ("resnet20", None, 10)]
)
def test_a_family_is_built_with_the_classes_asked_for(name, classes, outputs):
    network = read(name, PHOTO, classes)
    assert (network.name, result(network)) == (name, (outputs,))


@pytest.mark.parametrize("text", ["8C3-GAP-7", "8C3-GAP-7-SM", "7C1-GAP", "7C1-GAP-SM"])
def test_a_notation_that_ends_in_the_classes_agrees(text):
    assert result(read(text, PHOTO, 7)) == (7,)


@pytest.mark.parametrize(
    ("text", "classes", "message"),
    [
        (
            "8C3-GAP-10-SM",
            7,
            "notation: the last dense layer '10' gives 10 scores for 7 classes; write 7 in its place",
        ),
        (
            "8C3-BN-R",
            7,
            "notation: 'R' at the end gives 8x20x33, and 7 classes need a vector of 7 scores; end with GAP-7",
        ),
        ("8C3-GAP", 7, "notation: 'GAP' at the end gives 8, and 7 classes need a vector of 7 scores; end with 7"),
        ("8C3-GAP-10", 0, "8C3-GAP-10: 0 classes are no network's output; give at least 1"),
        (
            "resnet19",
            None,
            "notation: no network is called 'resnet19'; did you mean resnet18 or resnet152? The families are "
            + FAMILY_NAMES,
        ),
        (
            "MobileNetV2",
            None,
            "notation: no network is called 'MobileNetV2'; did you mean mobilenet_v2 or mobilenet_v2_1.4? The "
            "families are " + FAMILY_NAMES,
        ),
        (
            "vgg11",
            None,
            (
                "vgg11 does not fit an input of 3x20x33 (features.20: a window of 2 px does not fit 1 px padded by 0 "
                "and 0; the input must be at least 2 px); give it at least 32x32"
            ),
        ),
    ],
)
def test_a_fault_says_what_to_write(text, classes, message):
    with pytest.raises(NotationError) as caught:
        read(text, PHOTO, classes)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["8C3-BN-Q", "relu", "Xception-like"])
def test_what_is_no_familys_name_keeps_its_caret(text):
    with pytest.raises(NotationError, match=r"^notation: unknown layer '(.|\n)*\^$"):
        read(text, PHOTO)


def test_a_family_on_no_image_is_refused():
    message = r"^resnet18: input shape \(3, 224\) is not \(channels, height, width\), each at least 1$"
    with pytest.raises(NotationError, match=message):
        read("resnet18", (3, 224))


def test_reading_needs_no_torch():
    code = (
        "import sys; from striate.notation import read; read('resnet18', (3, 32, 32)); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
