"""The page on a run whose problems have no graph: a file of questions. The text stands with its judgement.

The scripted policies: demo@3 answers rightly, demo@1 does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.web.conftest import Opener
from tests.web.test_page_real import page_over

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    folder = tmp_path_factory.mktemp("questions")
    rows = [
        {"id": f"{kind} {n}", "prompt": f"{kind} {n}:\n4 * {n} / {n} =", "answer": 4, "stratum": kind, "split": split}
        for kind in ("easy", "hard")
        for n, split in ((1, "train"), (2, "test"))
    ]
    (folder / "questions.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    task = {"family": "answers", "file": str(folder / "questions.jsonl"), "checker": "number"}
    with page_over(folder / "demo", lambda model, seed: f" {5 if model == 'demo@1' else 4}", task=task) as page:
        yield page


@pytest.fixture
def visit(chromium: Browser, questions: tuple[str, str]) -> Iterator[Opener]:
    opener = Opener(chromium, questions[0], key=questions[1])
    yield opener
    opener.close()


def test_an_item_is_asked_by_its_stratum_and_its_text_stands_with_the_judgement(visit: Opener) -> None:
    page = visit("#solve?model=demo@3&go=1")
    expect(page.get_by_role("heading", name="easy 2:\n4 * 2 / 2 =")).to_be_visible()
    expect(page.get_by_role("heading", name="Right answer", exact=True)).to_be_visible()
    expect(page.locator(".trace .aside")).to_have_text("4")
    for gone in (page.get_by_label("Op", exact=True), page.locator(".graph-card"), page.locator("#save-svg")):
        expect(gone).to_be_hidden()
    page.get_by_label("Stratum").select_option("stratum=hard")
    expect(page.get_by_role("heading", name="hard 2:\n4 * 2 / 2 =")).to_be_visible()
    assert "stratum=stratum%3Dhard" in page.url
    page.locator("select[name=model]").select_option("demo@1")
    page.get_by_role("button", name="Solve").click()
    expect(page.get_by_role("heading", name="Wrong answer: 5", exact=True)).to_be_visible()


def test_compare_shows_both_texts_and_training_a_row_of_answers(visit: Opener) -> None:
    page = visit("#compare?model=demo@1&other=demo@3&go=1")
    expect(page.locator(".parting h2")).to_contain_text("They differ from token ")
    expect(page.locator(".sides .sentence")).to_have_text(["5", "4"])
    expect(page.locator("table.aligned")).to_have_count(0)
    page = visit("#training?go=1")
    expect(page.locator(".matrix tbody tr")).to_have_count(1)
    expect(page.locator(".matrix tbody td [title='wrong']")).to_have_count(1)
    expect(page.locator(".matrix tbody td [title='right']")).to_have_count(2)


def test_pass_at_k_counts_right_answers_alone(visit: Opener) -> None:
    page = visit("#pass?model=demo@3&samples=4&go=1")
    expect(page.get_by_role("heading", name="At k = 2, 100% right answers", exact=True)).to_be_visible()
    expect(page.locator(".bars .strict")).to_have_count(0)
    page.get_by_role("button", name="Sample 1: right").click()
    expect(page.get_by_role("heading", name="Right answer", exact=True)).to_be_visible()
