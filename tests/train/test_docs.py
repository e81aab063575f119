from __future__ import annotations

import json
from pathlib import Path

from striate.train.recipe import keys

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def test_the_page_lists_every_key_as_the_recipe_has_it():
    rows = [line for line in PAGE.read_text(encoding="utf-8").split("## ")[3].splitlines() if line.startswith("| `")]
    assert rows == [f"| `{k.name}` | {json.dumps(k.default)} | {k.allowed} | {k.description} |" for k in keys()]
