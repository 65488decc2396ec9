"""Keys, errors and empty states: each is said in words, with what is needed to report it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.web.conftest import Fake, Opener, held, settle


def test_a_locked_server_asks_for_the_key_and_keeps_it_in_this_tab_only(open_page: Opener, fake: Fake) -> None:
    fake.knobs.key = "k-1"
    page = open_page("#solve?model=demo@40&go=1")
    expect(page.get_by_role("heading", name="API key")).to_be_visible()
    page.get_by_label("Key", exact=True).fill("k-1")
    page.get_by_role("button", name="Use this key").click()
    expect(page.locator(".step.first")).to_be_visible()
    assert "k-1" not in page.url
    assert page.evaluate("JSON.stringify(localStorage)").find("k-1") < 0
    assert page.evaluate("sessionStorage.getItem('interplay.key')") == "k-1"
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Key", exact=True).click()
    page.get_by_role("button", name="Forget it").click()
    expect(page.get_by_role("heading", name="This server needs a key")).to_be_visible()


def test_escape_from_the_key_dialog_changes_nothing(open_page: Opener) -> None:
    page = open_page()
    page.get_by_role("button", name="Key", exact=True).click()
    page.get_by_label("Key", exact=True).fill("half typed")
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="No answer yet")).to_be_visible()
    assert page.evaluate("sessionStorage.getItem('interplay.key')") is None


def test_what_was_copied_along_with_a_key_is_left_out(open_page: Opener, fake: Fake) -> None:
    fake.knobs.key = "k-1"
    page = open_page()
    page.get_by_label("Key", exact=True).fill(" \u201ck-1\u200b\u201d\n")
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("heading", name="No answer yet")).to_be_visible()


def test_a_page_that_may_keep_nothing_works_until_it_is_closed(open_page: Opener, fake: Fake) -> None:
    fake.knobs.key = "k-1"
    page = open_page("static/favicon.svg")
    page.add_init_script(
        """for (const kind of ["localStorage", "sessionStorage"])
          Object.defineProperty(window, kind, { get() { throw new DOMException("denied", "SecurityError"); } });"""
    )
    page.goto(open_page.base)
    page.get_by_label("Key", exact=True).fill("k-1")
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("heading", name="No answer yet")).to_be_visible()
    page.keyboard.press("t")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize(
    ("status", "headline"),
    [
        (400, "The server refused a field"),
        (404, "Not found"),
        (429, "Too many requests with this key"),
        (500, "The server failed"),
        (503, "The server is full or not ready"),
    ],
)
def test_a_refusal_is_shown_in_words_with_its_request_id(
    open_page: Opener, fake: Fake, status: int, headline: str
) -> None:
    fake.knobs.fail = [("/solve", status)]
    page = open_page("#solve?model=demo@40&go=1")
    alert = page.get_by_role("alert")
    expect(alert.get_by_role("heading")).to_have_text(headline)
    expect(alert).to_contain_text("req-fake-1")
    if status in (429, 503):
        expect(alert).to_contain_text("2 s")
    if status == 400:
        expect(alert).to_contain_text("problem.op")
    page.get_by_role("button", name="Solve").click()
    expect(page.locator(".step.first")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_an_answer_that_breaks_off_keeps_its_steps(open_page: Opener, fake: Fake) -> None:
    fake.knobs.break_after = 60
    page = open_page("#solve?model=demo@40&go=1")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The answer broke off")
    expect(alert).to_contain_text("the replica was lost")
    expect(alert).to_contain_text("req-fake-stream")
    expect(page.locator(".step")).to_have_count(3)


@pytest.mark.parametrize("link", ["#compare?go=1", "#pass?go=1"])
def test_the_other_views_show_their_errors_too(open_page: Opener, fake: Fake, link: str) -> None:
    fake.knobs.fail = [("/compare", 503), ("/pass-at-k", 503)]
    page = open_page(link)
    expect(page.get_by_role("alert")).to_contain_text("The server is full or not ready")


@pytest.mark.parametrize(
    ("link", "path"),
    [("#solve", "/problems"), ("#solve", "/v1/models"), ("#compare?model=demo@40&other=demo@100&go=1", "/compare")],
)
def test_a_body_that_breaks_off_in_the_middle_is_said_in_words_and_not_recorded(
    open_page: Opener, fake: Fake, link: str, path: str
) -> None:
    fake.knobs.cut = [path]
    page = open_page(link)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The answer broke off")
    expect(alert).to_contain_text("The connection broke off.")
    recorded = page.evaluate("import('/static/main.js').then(({ app }) => JSON.stringify(app.client.recording))")
    assert path not in recorded


def test_a_login_page_in_place_of_the_answer_is_said_in_words(open_page: Opener) -> None:
    page = open_page("static/favicon.svg")
    page.route("**/v1/models", lambda route: route.fulfill(content_type="text/html", body="<h1>Sign in</h1>"))
    page.goto(open_page.base)
    expect(page.get_by_role("alert")).to_contain_text("This is no answer of the server")


def test_a_failed_problem_can_be_tried_again(open_page: Opener, fake: Fake) -> None:
    fake.knobs.fail = [("/problems", 503)]
    page = open_page()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def test_a_refused_problem_is_corrected_in_the_fields(open_page: Opener, fake: Fake) -> None:
    fake.knobs.fail = [("/problems", 400)]
    page = open_page("#solve?op=20&facts=2")
    expect(page.get_by_role("alert")).to_contain_text("The server refused a field")
    page.get_by_label("Facts").fill("")
    page.get_by_label("Facts").blur()
    expect(page.get_by_role("heading", name="No answer yet")).to_be_visible()
    assert "facts=0" in page.url


def test_a_server_that_is_gone_is_named_as_such(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@40")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.context.set_offline(True)
    page.get_by_role("button", name="Solve").click()
    expect(page.get_by_role("alert")).to_contain_text("The server did not answer")


def test_a_run_without_checkpoints_says_so(open_page: Opener, fake: Fake) -> None:
    fake.knobs.models = False
    page = open_page()
    expect(page.get_by_role("heading", name="No checkpoint yet")).to_be_visible()


def test_a_page_without_a_checkpoint_looks_again_once_in_ten_seconds_whatever_is_edited(
    open_page: Opener, fake: Fake
) -> None:
    fake.knobs.models = False
    page = open_page()
    page.clock.install()
    page.reload()
    expect(page.get_by_role("heading", name="No checkpoint yet")).to_be_visible()
    for op in "5678":
        page.get_by_label("Op", exact=True).fill(op)
        page.get_by_label("Op", exact=True).blur()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_request("**/v1/models"):
        page.clock.run_for(10_500)
    settle(page)
    expect(page.get_by_role("heading", name="No checkpoint yet")).to_be_visible()
    assert sum(url.endswith("/v1/models") for url in asked) == 1


def test_a_key_that_may_not_ask_checkpoints_is_told_so_there(open_page: Opener, fake: Fake) -> None:
    fake.knobs.fail = [("/task", 403)]
    page = open_page("#solve")
    expect(page.get_by_role("alert")).to_contain_text("This key may not do that")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="No answer yet")).to_be_visible()


def test_a_view_that_cannot_be_shown_is_named_all_the_same(open_page: Opener, fake: Fake) -> None:
    fake.knobs.models = False
    page = open_page("#runs")
    expect(page).to_have_title("Runs - Interplay probe")
    page.get_by_role("link", name="Solve").click()
    expect(page.get_by_role("heading", name="No checkpoint yet")).to_be_visible()
    expect(page).to_have_title("Solve - Interplay probe")
    expect(page.locator("nav [aria-current]")).to_have_text("Solve")


@pytest.mark.parametrize(("path", "refused"), [("/task", True), ("/problems", True), ("/problems", False)])
def test_what_a_view_asked_for_does_not_come_over_the_next_one(open_page: Opener, path: str, refused: bool) -> None:
    page = open_page("#runs")
    page.route("**/v1/runs", lambda route: route.fulfill(json={"data": []}))
    asked = held(page, f"**{path}")
    with page.expect_request(f"**{path}"):
        page.get_by_role("link", name="Solve").click()
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_role("heading", name="No run")).to_be_visible()
    with page.expect_response(f"**{path}"):
        asked[0].fulfill(status=403, json={}) if refused else asked[0].continue_()
    settle(page)
    expect(page.get_by_role("heading", name="No run")).to_be_visible()
    expect(page.locator("#problem")).to_be_empty()


def test_a_link_to_a_run_that_is_gone_says_so_and_another_can_be_chosen(open_page: Opener) -> None:
    page = open_page("#training?run=gone")
    expect(page.get_by_role("alert")).to_contain_text("The server does not list gone")
    page.locator("select[name=run]").select_option("demo")
    expect(page.get_by_role("heading", name="No answer yet")).to_be_visible()
    page = open_page("#training?run=demo")
    expect(page.locator("select[name=run] option:checked")).to_have_text("demo")


def test_a_checkpoint_that_goes_leaves_the_answers_as_they_are(open_page: Opener, fake: Fake) -> None:
    page = open_page("#solve?model=demo@40&other=demo@20&go=1")
    wrong = page.get_by_role("heading", name="Wrong answer: 19, not 14")
    for steps in ((0, 40, 60), (0, 60)):  # what only Compare asks, and what has answered
        expect(wrong).to_be_visible()
        expect(page.get_by_role("button", name="Stop")).to_be_hidden()
        fake.knobs.steps = steps
        page.evaluate("import('/static/main.js').then((page) => page.app.refresh())")
        expect(page.locator("select[name=model] option[value^=demo]")).to_have_count(len(steps))
    expect(wrong).to_be_visible()
    page.locator("select[name=model]").select_option("demo@60")
    expect(page.get_by_role("heading", name="No answer yet")).to_be_visible()
    page.get_by_role("button", name="Solve").click()
    expect(page.locator(".foot summary")).to_have_text("Answered by demo@60")


def test_a_link_to_a_checkpoint_that_is_gone_says_so_and_another_can_be_chosen(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@7")
    expect(page.get_by_role("alert")).to_contain_text("demo@7")
    page.locator("select[name=model]").select_option("demo@20")
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def test_model_text_is_never_markup(open_page: Opener) -> None:
    page = open_page()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    shown = page.evaluate(
        """async () => {
          const { TraceView } = await import("/static/answer/trace.js");
          const { Answer } = await import("/static/answer/answer.js");
          const evil = "<img src=x onerror=alert(1)> \\u{1F600} Define <b>x</b> as y.";
          const answer = new Answer({ graph: { nodes: [] }, answer: 1 });
          answer.chars = Array.from(evil);
          const view = new TraceView({ onOpen() {}, onEdit() {} });
          const start = Array.from(evil).indexOf("D");
          const step = { index: 0, node: "<i>x</i>", status: "invented", reason: "<u>no</u>" };
          answer.steps = [{ ...step, start, end: answer.chars.length }];
          view.show(answer, { open: 0, heat: false });
          document.body.append(view.element);
          const sentence = view.element.querySelector(".sentence").textContent;
          return [view.element.querySelectorAll("img, b, i, u").length, sentence];
        }"""
    )
    assert shown == [0, "Define <b>x</b> as y."]
