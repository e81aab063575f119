from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from claims.made import made
from striate.claims import CLAIMS, INSTRUMENT, examine
from striate.report.claim_figures import DRAW, draw_claim
from striate.report.claims_page import page, write_page

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "docs" / "theory.md"
DRAWN = [claim for claim in (INSTRUMENT, *CLAIMS) if claim.caption and claim.quick]


def anchors(text):
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_a_statement_has_a_figure_exactly_where_it_has_a_caption():
    assert {claim.number for claim in (INSTRUMENT, *CLAIMS) if claim.caption} == set(DRAW)


@pytest.mark.parametrize("claim", DRAWN, ids=lambda claim: str(claim.number))
def test_a_figure_is_drawn_from_the_finding(claim, tmp_path):
    path = draw_claim(examine(claim), tmp_path / "figure.png")
    with Image.open(path) as picture:
        shades = picture.convert("L").getextrema()
        width, height, _ = DRAW[claim.number]
        assert picture.size == (round(120 * width), round(120 * height))
    darkest, brightest = shades
    assert (darkest < 80, brightest > 240) == (True, True)  # something is drawn, on white


def test_a_statement_without_figure_draws_none(tmp_path):
    assert draw_claim(examine(made(number=4)), tmp_path / "figure.png") is None
    assert list(tmp_path.iterdir()) == []


def test_a_page_says_what_was_found():
    text = page([examine(made(holds=False, number=4))], {4: "theory/claim-04.png"}, "striate claims 4")
    assert "1 do not hold here" in text
    for words in ("**Water is wet.**", "    H2O", "*Measured:* 7 drops: wet.", "*Verdict:* **fails**", "claim-04.png"):
        assert words in text


def test_a_written_page_has_its_figures_beside_it(tmp_path):
    outcome = examine(next(claim for claim in CLAIMS if claim.number == 11))
    path = write_page([outcome], tmp_path / "docs" / "notes.md", "striate claims 11")
    (link,) = re.findall(r"!\[.*?\]\((.+?)\)", path.read_text(encoding="utf-8"))
    assert link == "notes/claim-11.png"
    assert (path.parent / link).is_file()


@pytest.fixture(scope="module")
def committed():
    return COMMITTED.read_text(encoding="utf-8")


def test_the_committed_page_is_of_the_statements_of_now(committed):
    for claim in (INSTRUMENT, *CLAIMS):
        for words in (claim.title, claim.statement, claim.formula, claim.method, claim.expected, claim.caption):
            assert words in committed, f"{claim.number}: run striate claims --full --page docs/theory.md"


def test_the_committed_page_was_made_in_full(committed):
    assert "`striate claims --full --page docs/theory.md`" in committed
    assert len(re.findall(r"^\*Verdict:\* \*\*(?:holds|fails)\*\*\.$", committed, re.MULTILINE)) == 28


def test_no_link_of_the_committed_page_is_dead(committed):
    figures = re.findall(r"!\[.*?\]\((.+?)\)", committed)
    assert len(figures) == len(DRAW)
    assert [figure for figure in figures if not (COMMITTED.parent / figure).is_file()] == []
    assert set(re.findall(r"\]\(#(.+?)\)", committed)) <= anchors(committed)


def test_the_figures_stay_small(committed):
    assert sum(path.stat().st_size for path in (COMMITTED.parent / "theory").glob("*.png")) < 2_500_000
