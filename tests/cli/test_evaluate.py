"""Every option of striate evaluate, and what it prints."""

from __future__ import annotations

import json
import re

from PIL import Image


def test_text_names_parts_classes_and_what_probabilities_are_worth(striate, finished):
    answer = striate("evaluate", finished, "--tta", "flip")
    lines = answer.out.splitlines()
    headline = r"[\d,]+ of 1,000 right: [\d.]+ % \(95 % interval [\d.]+ % to [\d.]+ %, balanced [\d.]+ %\)"
    assert re.fullmatch(headline + ", on the run's own test part, as it was split for training", lines[0])
    apart = r"apart from that, averaged with the mirror image \(twice the work\): "
    assert re.fullmatch(apart + headline, lines[1])
    assert lines[2].split() == ["class", "images", "recall", "precision", "F1"]
    assert [line.split()[0] for line in lines[3:13]][::9] == ["T-shirt/top", "Ankle"]
    assert re.fullmatch(r"  most often taken: .+ for .+ \(\d+\), .+ for .+ \(\d+\), .+ for .+ \(\d+\)", lines[13])
    assert lines[14].startswith("  probabilities")
    names = ["calibration error, 15 bins", "bins of equal size", "Brier score, 0 to 2", "cross-entropy, nats"]
    assert [line[:28].strip() for line in lines[15:19]] == names
    assert answer.code == 0


def test_json_holds_every_number(striate, finished):
    found = json.loads(striate("evaluate", finished, "--json", "--tta", "flip").out)
    assert found["measured_on"] == "the run's own test part, as it was split for training"
    assert found["calibration"]["bins"] == 15
    assert found["calibration"]["as_trained"].keys() == {"nll", "brier", "ece", "adaptive_ece"}
    assert found["tta_flip"]["images"] == found["images"] == 1000
    assert found["calibration"]["at_temperature"]["nll"] <= found["calibration"]["as_trained"]["nll"] + 0.01
    assert len(found["f1"]) == len(found["classes"]) == 10
    counts = [[r["true"], r["answer"], r["count"]] for r in found["confusions"]]
    assert sum(count for _, _, count in counts) == found["images"] - found["right"]
    assert json.loads(striate("evaluate", finished, "--json").out)["tta_flip"] is None


def test_mistakes_become_a_picture(striate, finished, tmp_path):
    answer = striate("evaluate", finished, "--mistakes", tmp_path / "m.png")
    assert answer.err == f"mistakes: {tmp_path / 'm.png'}\n"
    with Image.open(tmp_path / "m.png") as page:
        assert page.format == "PNG"
        assert page.height > 6 * 144  # six confusions and the worst
