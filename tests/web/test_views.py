"""Compare, Training, pass@k; and the permalink of every view."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.web.conftest import Fake, Opener, held, settle


def test_compare_says_where_two_checkpoints_part(open_page: Opener) -> None:
    page = open_page("#compare?model=demo@40&other=demo@100&go=1")
    expect(page.locator(".parting h2")).to_have_text(
        "They part at adult wolf in Bundle Ranch: demo@40 has it wrong operand, demo@100 has it right."
    )
    expect(page.locator("tr.parts")).to_have_count(1)
    expect(page.locator("tr.parts")).to_contain_text("they part here")
    expect(page.locator("tr.same")).to_have_count(4)
    expect(page.locator(".sides .card")).to_have_count(2)


def test_a_compared_node_is_chosen_in_both_graphs_and_the_table(open_page: Opener) -> None:
    page = open_page("#compare?model=demo@0&other=demo@100&go=1")
    page.locator(".sides .card").nth(1).locator('[data-node="adult bear in Bundle Ranch"]').click()
    expect(page.locator('.node[aria-pressed="true"]')).to_have_count(2)
    expect(page.locator("tr.chosen")).to_contain_text("adult bear in Bundle Ranch")


def test_compare_takes_more_checkpoints_and_leaves_them_out_again(open_page: Opener, fake: Fake) -> None:
    page = open_page("#compare?model=demo@40&other=demo@100")
    page.get_by_role("button", name="Add a checkpoint").click()
    expect(page.get_by_label("Against, 2")).to_have_value("demo@80")
    expect(page.get_by_label("Against, 2")).to_be_focused()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".sides .card")).to_have_count(3)
    assert fake.knobs.asked[-1][1]["models"] == ["demo@40", "demo@100", "demo@80"]
    assert "other=demo@100,demo@80&go=1" in page.url
    page.get_by_role("button", name="Leave out demo@100").click()
    expect(page.get_by_label("Against", exact=True)).to_have_value("demo@80")
    expect(page.get_by_role("heading", name="demo@40 against demo@80")).to_be_visible()


def test_training_asks_every_checkpoint_once_and_the_slider_walks_through_them(open_page: Opener, fake: Fake) -> None:
    page = open_page("#training?go=1")
    expect(page.locator(".column")).to_have_count(6)
    asked = [body["model"] for path, body in fake.knobs.asked if path == "solve"]
    assert asked == [f"demo@{step}" for step in (0, 20, 40, 60, 80, 100)]
    slider = page.get_by_role("slider", name="Checkpoint")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("heading", name="Right answer, for the wrong reason")).to_be_visible()
    page.keyboard.press("Home")
    expect(page.get_by_role("heading", name=re.compile("Wrong answer"))).to_be_visible()
    expect(slider).to_have_attribute("aria-valuetext", "demo@0, 14% of the graph right")
    assert "at=demo@0" in page.url
    assert len(fake.knobs.asked) == 6


def test_a_checkpoint_published_meanwhile_joins_the_lists(open_page: Opener, fake: Fake) -> None:
    fake.knobs.steps = (0, 20)
    page = open_page("#training?at=demo@20&go=1")
    expect(page.locator(".column")).to_have_count(2)
    fake.knobs.steps = (0, 20, 40)
    page.evaluate("import('/static/main.js').then((page) => page.app.refresh())")
    expect(page.get_by_role("columnheader", name="40")).to_be_visible()
    expect(page.locator(".column")).to_have_count(2)


def test_an_answer_to_a_problem_with_other_facts_is_not_taken_for_this_ones(open_page: Opener) -> None:
    page = open_page("#training?go=1&facts=4")
    expect(page.locator(".column")).to_have_count(6)
    page.get_by_label("Facts").fill("6")
    page.get_by_label("Facts").blur()
    expect(page.locator(".column")).to_have_count(0)
    expect(page.get_by_role("heading", name="No answer yet")).to_be_visible()


def test_training_waits_as_long_as_a_full_server_says_and_goes_on(open_page: Opener, fake: Fake) -> None:
    fake.knobs.fail = [("/solve", 503)] * 2
    page = open_page("#training?go=1")
    expect(page.get_by_text("The server is full or not ready; the page asks again in 2 s.")).to_be_visible()
    expect(page.locator(".column")).to_have_count(6)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_pass_at_k_draws_both_readings_with_intervals(open_page: Opener, fake: Fake) -> None:
    page = open_page("#pass?model=demo@80&temperature=1&go=1")
    expect(page.get_by_role("heading", name=re.compile("At k = 8, 96% right answers, 50% verified"))).to_be_visible()
    expect(page.locator(".bars .outcome rect")).to_have_count(5)  # four bars and the key
    expect(page.locator(".bars .whisker")).to_have_count(8)
    expect(page.locator("button.sample")).to_have_count(16)
    page.get_by_text("As a table").click()
    expect(page.get_by_role("row", name=re.compile("^1 25%"))).to_be_visible()
    assert fake.knobs.asked[0][1]["ks"] == [1, 2, 4, 8]


def test_pass_at_k_over_many_problems_lets_every_sample_be_as_long_as_for_one(open_page: Opener, fake: Fake) -> None:
    page = open_page("#pass?model=demo@80&problems=3&samples=64&go=1")
    expect(page.locator("button.sample").first).to_be_visible()
    assert fake.knobs.asked[0][1]["max_tokens"] == 1024


def test_what_is_opened_and_the_focus_stay_while_samples_come_in(open_page: Opener, fake: Fake) -> None:
    fake.knobs.hold_after = 8
    page = open_page("#pass?model=demo@80&temperature=1&go=1")
    expect(page.locator("button.sample")).to_have_count(8)
    page.get_by_text("As a table").click()
    page.locator("button.sample").nth(2).focus()
    fake.knobs.release.set()
    expect(page.locator("button.sample")).to_have_count(16)
    expect(page.locator("button.sample").nth(2)).to_be_focused()
    expect(page.get_by_role("row", name=re.compile("^8 "))).to_be_visible()


def test_samples_of_other_settings_do_not_stay(open_page: Opener, fake: Fake) -> None:
    fake.knobs.hold_after = 8
    page = open_page("#pass?model=demo@80&temperature=1&go=1")
    expect(page.locator("button.sample")).to_have_count(8)
    page.locator("select[name=model]").select_option("demo@20")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    settle(page)
    expect(page.get_by_role("heading", name="16 samples from demo@20")).to_be_visible()


def test_only_the_trace_that_was_opened_last_is_shown(open_page: Opener) -> None:
    page = open_page("#pass?model=demo@80&temperature=1&go=1")
    expect(page.locator("button.sample")).to_have_count(16)
    asked = held(page, "**/verify")
    for sample in (0, 3):
        with page.expect_request("**/verify"):
            page.locator("button.sample").nth(sample).click()
    settle(page)
    asked[1].continue_()
    expect(page.get_by_role("heading", name="Sample 4: ")).to_be_visible()
    asked[0].continue_()
    settle(page)
    expect(page.get_by_role("heading", name="Sample 4: ")).to_be_visible()


def test_a_continuation_that_comes_after_the_settings_have_changed_is_not_shown(open_page: Opener) -> None:
    page = open_page("#recovery?model=demo@100&other=demo@40&samples=4&step=1&go=1")
    asked = held(page, "**/verify")
    with page.expect_request("**/verify"):
        page.get_by_role("button", name=re.compile("^Continuation 1: ")).first.click()
    page.locator("select[name=model]").select_option("demo@20")
    asked[0].continue_()
    settle(page)
    expect(page.get_by_role("heading", name="Can demo@20 and demo@40 recover from an error?")).to_be_visible()
    expect(page.locator(".panel")).to_have_count(0)


def test_a_sample_opens_with_its_judgement(open_page: Opener) -> None:
    page = open_page("#pass?model=demo@80&temperature=1&go=1")
    page.get_by_role("button", name=re.compile("right for the wrong reason")).first.click()
    expect(page.get_by_role("heading", name="Right answer, for the wrong reason")).to_be_visible()
    expect(page.locator('.step[data-status="missing"]')).to_have_count(1)
    page.get_by_role("link", name="Ask for it again in Solve").click()
    expect(page.locator(".foot summary")).to_have_text("Answered by demo@80")
    assert "draw=2" in page.url


def test_the_recovery_map_tells_each_checkpoint_by_what_it_makes_of_errors(open_page: Opener, fake: Fake) -> None:
    page = open_page("#recovery?model=demo@100&other=demo@0&samples=8&go=1")
    expect(page.get_by_role("heading", name="demo@100 recovers from 50% of the errors, demo@0 from 0%")).to_be_visible()
    expect(page.locator("button.recovery-cell")).to_have_count(8)
    said = re.compile(r"^demo@100, step 1: 10 recovered, 6 right answer by a wrong trace$")
    expect(page.get_by_role("button", name=said)).to_be_visible()
    expect(page.get_by_text("1 error that cannot be planted")).to_be_visible()
    body = fake.knobs.asked[0][1]
    assert (body["models"], body["samples"], body["seed"]) == (["demo@100", "demo@0"], 8, 0)


def test_a_cell_of_the_recovery_map_opens_its_traces(open_page: Opener) -> None:
    page = open_page("#recovery?model=demo@100&other=demo@40&samples=4&go=1")
    cell = page.get_by_role("button", name=re.compile("^demo@40, step 2:"))
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    cell.focus()
    page.keyboard.press("Enter")
    expect(cell).to_be_focused()
    expect(cell).to_have_attribute("aria-pressed", "true")
    assert "step=3" in page.url
    expect(page.locator(".planted-error")).to_have_count(2)
    expect(page.get_by_role("heading", name=re.compile("^Wrong value"))).to_contain_text("It leads to the answer")
    page.get_by_role("button", name=re.compile("^Continuation 1: ")).first.click()
    expect(page.locator(".panel .step").first).to_be_visible()
    page.get_by_role("link", name="Ask for it again in Solve").click()
    expect(page.locator(".foot summary")).to_have_text("Answered by demo@40")
    assert "prefix=" in page.url


LINKS = [
    ("#solve?op=7&template=school&seed=3&model=demo@20&temperature=0.5&draw=9&step=2&heat=1&go=1", ".detail"),
    ("#compare?seed=2&model=demo@0&other=demo@60&step=1&go=1", "tr.chosen"),
    ("#compare?model=demo@0&other=demo@60,demo@100&go=1", "tr.parts"),
    ("#training?template=movie&at=demo@40&go=1", ".column"),
    ("#pass?model=demo@60&temperature=0.5&problems=2&samples=4&go=1", ".bars"),
    ("#recovery?model=demo@60&other=demo@0,demo@20&samples=4&step=4&go=1", ".planted-error"),
]


@pytest.mark.parametrize(("link", "shown"), LINKS, ids=["solve", "compare", "three", "training", "pass", "recovery"])
def test_a_permalink_restores_its_view(open_page: Opener, link: str, shown: str) -> None:
    page = open_page(link)
    expect(page.locator(shown).first).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    first = page.locator("main").inner_text()
    assert page.url.endswith(link)
    again = open_page(page.url.removeprefix(open_page.base))
    expect(again.locator(shown).first).to_be_visible()
    expect(again.get_by_role("button", name="Stop")).to_be_hidden()
    assert again.locator("main").inner_text() == first


def test_back_returns_to_the_view_before(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@40&go=1")
    expect(page.locator(".step.first")).to_be_visible()
    page.get_by_role("link", name="Compare").click()
    expect(page.get_by_role("button", name="Compare")).to_be_visible()
    page.go_back()
    expect(page.locator(".step.first")).to_be_visible()


def test_the_key_that_asks_does_nothing_where_no_checkpoint_is_asked(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@40")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    card = {"name": "demo", "updated": None, "stages": []}
    page.route("**/v1/runs", lambda route: route.fulfill(json={"data": [card]}))
    about = {"workers": [], "counters": {}, "noted": {}, "left_out": 0, "live": None, "controls": False}
    page.route("**/v1/runs/demo", lambda route: route.fulfill(json={**card, **about}))
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_text("No worker has taken weights yet.")).to_be_visible()
    page.keyboard.press("g")
    assert "go=1" not in page.url


def test_a_copied_link_names_the_checkpoint_and_not_the_alias(open_page: Opener) -> None:
    page = open_page("#solve?go=1", permissions=["clipboard-read", "clipboard-write"])
    expect(page.get_by_role("heading", name="Right, and every step holds")).to_be_visible()
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#copied")).to_have_text("Link copied")
    assert "model=demo@100" in page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="Copy as curl").click()
    expect(page.locator("#copied")).to_have_text("Command copied")
    command = page.evaluate("navigator.clipboard.readText()")
    assert "v1/probe/solve" in command
    assert "$INTERPLAY_KEY" in command
