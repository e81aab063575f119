"""A claim made up for tests."""

from __future__ import annotations

from striate.claims import Claim, Finding


def made(*, holds=True, quick=True, asked=None, missing="", number=5, caption=""):
    def run(**options):
        if asked is not None:
            asked.append(options)
        if missing:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return Finding(holds, "7 drops: wet")

    return Claim(
        number=number,
        title="Water",
        statement="Water is wet.",
        formula="H2O",
        method="Touch it.",
        expected="wet",
        run=run,
        quick=quick,
        caption=caption,
    )
