"""The view "Solve": the trace streams in, the graph lights up, a step opens, an edit goes on."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.web.conftest import Fake, Opener, answered, held


def node(page: Page, name: str):
    return page.locator(f'.graph .node[data-node="{name}"]')


def test_the_problem_is_shown_before_anything_is_asked(open_page: Opener) -> None:
    page = open_page()
    expect(page.get_by_role("heading", level=1)).to_have_text("What is the number of adult crow in Maple Creek?")
    expect(page.get_by_role("heading", name="No answer yet")).to_be_visible()
    expect(page.locator(".graph .node")).to_have_count(7)
    expect(node(page, "adult crow in Maple Creek")).to_have_attribute(
        "aria-label", re.compile("asked for: not derived yet")
    )


def test_steps_light_their_nodes_while_the_answer_streams(open_page: Opener, fake: Fake) -> None:
    fake.knobs.hold_after = 40
    page = open_page("#solve?model=demo@40&go=1")
    expect(node(page, "adult deer in South Zoo")).to_have_attribute("data-status", "right")
    expect(page.get_by_role("heading", name="Reasoning")).to_be_visible()
    expect(node(page, "adult crow in Maple Creek")).not_to_have_attribute("data-status", re.compile("."))
    fake.knobs.release.set()
    expect(node(page, "adult crow in Maple Creek")).to_have_attribute("data-status", "wrong value")
    expect(page.get_by_role("heading", name="Wrong answer: 19, not 14")).to_be_visible()


def test_the_first_wrong_step_is_marked_in_trace_and_graph(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@40&go=1")
    first = page.locator(".step.first")
    expect(first).to_have_count(1)
    expect(first).to_contain_text("Define adult wolf in Bundle Ranch")
    expect(first).to_contain_text("First wrong step.")
    expect(page.locator(".node.first")).to_have_attribute("data-node", "adult wolf in Bundle Ranch")


def test_every_kind_of_mistake_has_its_own_icon_word_and_node(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@0&go=1")
    expect(page.get_by_role("heading", name=re.compile("Wrong answer"))).to_be_visible()
    statuses = page.locator(".step").evaluate_all("rows => rows.map(row => row.dataset.status)")
    assert set(statuses) == {"right", "wrong operand", "too early", "invented", "wrong value", "missing"}
    icons = page.locator(".step").evaluate_all(
        "rows => rows.map(row => [row.dataset.status, row.querySelector('.mark path').getAttribute('d')])"
    )
    assert len({path for _, path in icons}) == len({status for status, _ in icons})
    expect(page.locator(".node.invented")).to_have_attribute("data-node", "adult deer cub in South Zoo")
    expect(node(page, "adult bear in Bundle Ranch")).to_have_attribute("data-status", "missing")
    for status in ("wrong operand", "too early", "invented", "missing"):
        expect(page.locator(f'.step[data-status="{status}"] .chip').first).to_have_text(status)


def test_a_step_opens_with_its_reason_tokens_and_alternatives(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@40&go=1")
    expect(page.locator(".step.first")).to_be_visible()
    answered(page)
    page.get_by_role("button", name=re.compile("adult wolf in Bundle Ranch as p")).click()
    detail = page.locator(".detail")
    expect(detail).to_contain_text("the trace uses another quantity")
    words = detail.locator(".token-chip span").all_text_contents()
    assert " ".join(words).replace(" ;", ";") == "Define adult wolf in Bundle Ranch as p; so p = N - k = 5 - 2 = 5."
    expect(detail.locator(".alternatives li")).to_have_count(4)
    detail.locator(".token-chip").first.click()
    expect(detail.locator(".alternatives .taken .word")).to_have_text("Define")
    assert "step=4" in page.url


def test_a_node_opens_its_step(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@40&go=1")
    expect(page.locator(".step.first")).to_be_visible()
    node(page, "adult wolf in Bundle Ranch").click()
    expect(page.locator(".detail")).to_contain_text("adult fox in South Zoo")
    expect(node(page, "adult wolf in Bundle Ranch")).to_have_attribute("aria-pressed", "true")


def test_an_edited_step_is_sent_as_the_prefix_and_the_model_goes_on(open_page: Opener, fake: Fake) -> None:
    page = open_page("#solve?model=demo@40&go=1&step=4")
    page.get_by_role("button", name="Edit this step and go on").click()
    page.get_by_label("The step, to be edited").fill(
        "Define adult wolf in Bundle Ranch as p; so p = N - k = 5 - 2 = 3."
    )
    page.get_by_role("button", name="Go on from here").click()
    expect(page.get_by_role("heading", name="Right, and every step holds")).to_be_visible()
    expect(page.get_by_text("Recovered from the wrong step")).to_be_visible()
    expect(page.locator(".step.given")).to_have_count(5)
    path, body = fake.knobs.asked[-1]
    assert path == "continue"
    assert body["prefix"].endswith("Define adult wolf in Bundle Ranch as p; so p = N - k = 5 - 2 = 3.")
    assert body["prefix"].startswith(" Define adult deer in South Zoo as k;")


def test_enter_in_a_field_asks_about_the_problem_that_it_names_once_that_is_there(
    open_page: Opener, fake: Fake
) -> None:
    page = open_page("#solve?model=demo@40")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    asked = held(page, "**/problems")
    with page.expect_request("**/problems"):
        page.get_by_label("Seed", exact=True).fill("3")
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="No answer yet")).to_be_visible()
    asked[0].continue_()
    expect(page.get_by_role("heading", name="Wrong answer: 27, not 22")).to_be_visible()
    assert [body["problem"]["seed"] for _, body in fake.knobs.asked] == [3]


def test_leaving_the_editor_gives_the_focus_back(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@40&go=1&step=4")
    edit = page.get_by_role("button", name="Edit this step and go on")
    edit.click()
    page.keyboard.press("Escape")
    expect(edit).to_be_focused()
    edit.click()
    page.get_by_role("button", name="Cancel").click()
    expect(edit).to_be_focused()


def test_stopping_keeps_what_has_arrived(open_page: Opener, fake: Fake) -> None:
    fake.knobs.hold_after = 40
    page = open_page("#solve?model=demo@40&go=1")
    expect(page.locator(".step")).to_have_count(2)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("heading", name="Stopped")).to_be_visible()
    expect(page.locator(".step")).to_have_count(2)
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()


def test_token_heat_tints_the_words_and_is_part_of_the_link(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@40&go=1")
    expect(page.locator(".step.first")).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    text = page.locator(".trace").inner_text()
    page.get_by_label("Token heat").check()
    expect(page.locator(".token.doubtful").first).to_be_visible()
    assert page.locator(".trace").inner_text() == text
    assert "heat=1" in page.url


def test_distractors_are_hidden_until_asked_for(open_page: Opener) -> None:
    page = open_page()
    expect(page.locator(".graph .node")).to_have_count(7)
    page.get_by_label("2 not needed").check()
    expect(page.locator(".graph .node")).to_have_count(9)


def test_another_problem_clears_the_answer(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@100&go=1")
    expect(page.get_by_role("heading", name="Right, and every step holds")).to_be_visible()
    page.get_by_label("Template").select_option("movie")
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "What is the number of calm thriller in Taylor Movie Festival?"
    )
    expect(page.get_by_role("heading", name="No answer yet")).to_be_visible()
    assert "go=1" not in page.url


def test_the_answer_names_its_policy(open_page: Opener) -> None:
    page = open_page("#solve?go=1")
    page.get_by_text("Answered by demo@100").click()
    for text in ("demo@100 (asked for as latest)", "temperature 1, top-p 1, seed 0", "5f1e09c2"):
        expect(page.locator(".foot")).to_contain_text(text)
