from __future__ import annotations

from striate.choice import Choice


def test_a_choice_prints_name_value_and_reason():
    assert str(Choice("channels", 1, "all 7 images are gray")) == "channels = 1 (all 7 images are gray)"
