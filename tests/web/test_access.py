"""Keyboard, assistive technology, contrast, narrow screens, dark and light."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.web.conftest import Fake, Opener, answered

CSS = Path(__file__).resolve().parents[2] / "serving" / "web" / "style" / "base.css"
VIEWS = [
    "#solve?model=demo@0&go=1&step=1&heat=1",
    "#compare?model=demo@0&other=demo@100&go=1",
    "#compare?model=demo@0&other=demo@40,demo@60,demo@80,demo@100&go=1",
    "#training?go=1",
    "#pass?model=demo@80&temperature=1&problems=3&go=1",
]


@pytest.mark.parametrize("link", VIEWS, ids=["solve", "compare", "five", "training", "pass"])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_view_scrolls_sideways(open_page: Opener, link: str, width: int) -> None:
    page = open_page(link, width=width)
    expect(page.locator(".step, tr.parts, .bars").first).to_be_visible()
    answered(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_text_in_the_graph_stays_readable_on_a_phone(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@0&go=1", width=390)
    expect(page.locator(".node.invented")).to_be_visible()
    heights = page.locator(".node .what").evaluate_all("all => all.map(text => text.getBoundingClientRect().height)")
    assert min(heights) >= 11


def test_the_whole_answer_is_read_by_keyboard(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@40")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.keyboard.press("g")
    expect(page.locator(".step.first")).to_be_visible()
    answered(page)
    page.keyboard.press("f")
    expect(page.locator(".step.first .step-head")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator('[data-step="5"]')).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.locator(".detail")).to_be_visible()
    expect(page.locator('[data-step="4"]')).to_be_focused()
    page.keyboard.press("e")
    expect(page.get_by_label("The step, to be edited")).to_be_focused()
    page.keyboard.type("ghx")  # no shortcut while typing
    expect(page.get_by_label("The step, to be edited")).to_have_value(re.compile("ghx"))


def test_what_is_open_and_what_is_pressed_is_said_in_words(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@40&go=1&step=4")
    expect(page.locator('[data-step="4"]')).to_have_attribute("aria-expanded", "true")
    expect(page.locator('[data-step="3"]')).to_have_attribute("aria-expanded", "false")
    pressed = page.locator(".token-chip").evaluate_all("all => all.map(chip => chip.getAttribute('aria-pressed'))")
    assert pressed.count("true") == 1
    assert pressed.count("false") == len(pressed) - 1


def test_arrows_walk_the_graph_and_enter_opens_the_step(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@40&go=1")
    expect(page.locator(".step.first")).to_be_visible()
    answered(page)
    page.locator(".graph .node").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(page.locator('[data-node="adult bear in Bundle Ranch"]')).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".detail")).to_contain_text("adult deer in South Zoo")


def test_shortcuts_are_listed_and_can_be_switched_off(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@40")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keyboard")).to_be_visible()
    page.get_by_label("Single-key shortcuts").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("g")
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keyboard")).to_be_hidden()
    expect(page.get_by_role("heading", name="No answer yet")).to_be_visible()


def test_the_live_region_says_each_step_and_then_the_judgement(open_page: Opener, fake: Fake) -> None:
    fake.knobs.hold_after = 40
    page = open_page("#solve?model=demo@40&go=1")
    live = page.locator("#live")
    expect(live).to_have_text("Step 2, adult fox in South Zoo: right.")
    fake.knobs.release.set()
    expect(live).to_have_text("Wrong answer: 19, not 14. First wrong step: adult wolf in Bundle Ranch (wrong operand)")


def test_every_control_has_a_name(open_page: Opener) -> None:
    page = open_page("#solve?model=demo@40&go=1&step=4")
    expect(page.locator(".detail")).to_be_visible()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, a, [role=button]")]
          .filter((e) => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map((e) => e.outerHTML)"""
    )
    assert nameless == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_system_theme_is_followed_and_can_be_overruled(open_page: Opener, scheme: str) -> None:
    page = open_page("", color_scheme=scheme)
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.get_by_role("button", name="Dark").click()
    other = {"light": "dark", "dark": "light"}[scheme]
    assert page.evaluate("document.documentElement.dataset.theme") == other
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == other


def test_the_focus_stays_on_a_control_that_changes_what_is_beside_it(open_page: Opener) -> None:
    page = open_page("#compare?model=demo@40&other=demo@100")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    against = page.get_by_label("Against", exact=True)
    against.focus()
    page.keyboard.press("ArrowUp")
    expect(against).to_have_value("demo@80")
    expect(against).to_be_focused()
    page.keyboard.press("1")  # a select takes it: no shortcut
    page.get_by_role("link", name="Solve").click()
    hidden = page.get_by_label("2 not needed")
    hidden.focus()
    page.keyboard.press("Space")
    expect(page.locator(".graph .node")).to_have_count(9)
    expect(hidden).to_be_focused()


def test_the_focus_stays_on_a_node_when_the_graph_grows(open_page: Opener, fake: Fake) -> None:
    fake.knobs.hold_after = 40
    page = open_page("#solve?model=demo@0&go=1")
    first = page.locator(".graph .node").first
    first.focus()
    fake.knobs.release.set()
    expect(page.locator(".node.invented")).to_be_visible()
    expect(first).to_be_focused()


def test_one_long_word_scrolls_no_view_sideways(open_page: Opener) -> None:
    page = open_page("static/favicon.svg", width=390)
    word = "_".join(["a", "word"] * 30)
    page.route("**/v1/**", lambda route: told(route, word))
    for link in ("#solve?go=1&step=4", "#compare?go=1", "#recovery?samples=2&step=1&go=1"):
        page.goto("about:blank")
        page.goto(open_page.base + link)
        expect(page.locator(".step, .sides .card, .planted-error").first).to_be_visible()
        answered(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def told(route: Route, word: str) -> None:
    """Lets a request go on, and puts `word` for a place and for the run into what comes."""
    asked = (route.request.post_data or "").replace(f"{word}@", "demo@")
    answer = route.fetch(post_data=asked) if asked else route.fetch()
    text = answer.text().replace("South Zoo", word).replace("demo@", f"{word}@")
    route.fulfill(response=answer, body=text)


def test_a_text_that_is_read_from_right_to_left_begins_at_the_right(open_page: Opener) -> None:
    page = open_page("static/favicon.svg")
    hebrew = "\u05db\u05de\u05d4 \u05d4\u05dd 2 + 2?"
    task = {"family": "answers", "has_steps": False, "strata": [{"name": "s", "axes": {}}]}
    page.route("**/task", lambda route: route.fulfill(json=task))
    item = {"id": "1", "item": {"stratum": "s"}, "prompt": hebrew, "gold": None}
    page.route("**/items", lambda route: route.fulfill(json=item))
    page.goto(open_page.base)
    expect(page.get_by_role("heading", level=1)).to_have_text(hebrew)
    first, end = page.evaluate(
        """() => {
          const [text] = document.querySelector("#problem h1").childNodes;
          const left = (at) => {
            const range = document.createRange();
            range.setStart(text, at);
            range.setEnd(text, at + 1);
            return range.getBoundingClientRect().left;
          };
          return [left(0), left(text.length - 1)];
        }"""
    )
    assert first > end


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [":root {", ':root[data-theme="dark"] {'], ids=["light", "dark"])
def test_text_colours_reach_a_contrast_of_four_and_a_half(theme: str) -> None:
    block = CSS.read_text().split(theme, 1)[1].split("}", 1)[0]
    colour = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
    pairs = [(text, ground) for text in ("ink", "ink-soft", "accent") for ground in ("paper", "surface", "sunken")]
    pairs += [
        (tone, ground) for tone in ("right", "wrong", "order", "missing") for ground in (f"{tone}-soft", "surface")
    ]
    pairs += [("ink", f"{tone}-soft") for tone in ("right", "wrong", "order", "missing")] + [("on-accent", "accent")]
    assert {pair: c for pair in pairs if (c := _contrast(colour[pair[0]], colour[pair[1]])) < 4.5} == {}


FAINT = """() => {
  const parse = (colour) => {
    const [r, g, b, alpha = 1] = colour.match(/[\\d.]+/g).map(Number);
    return { rgb: colour.startsWith("color(") ? [r * 255, g * 255, b * 255] : [r, g, b], alpha };
  };
  const over = ({ rgb, alpha }, ground) => rgb.map((part, i) => part * alpha + ground[i] * (1 - alpha));
  const light = (rgb) => {
    const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = rgb.map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const up = (element) => (element ? [...up(element.parentElement), element] : []);
  const faint = {};
  for (const element of document.querySelectorAll("main *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!own || !element.checkVisibility() || element.closest(".unseen, option, title")) continue;
    const style = getComputedStyle(element);
    let ground = [255, 255, 255];
    for (const one of up(element)) ground = over(parse(getComputedStyle(one).backgroundColor), ground);
    const opacity = up(element).reduce((all, one) => all * Number(getComputedStyle(one).opacity), 1);
    const ink = over({ ...parse(element.closest("svg") ? style.fill : style.color), alpha: opacity }, ground);
    const [dark, bright] = [light(ink), light(ground)].sort((a, b) => a - b);
    const contrast = (bright + 0.05) / (dark + 0.05);
    if (contrast < 4.5) faint[`${element.localName}.${element.getAttribute("class")}`] = contrast;
  }
  return faint;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_text_of_an_open_trace_is_fainter_than_that(open_page: Opener, scheme: str) -> None:
    """Also on tinted tokens, and of quantities that are not needed."""
    page = open_page("#solve?model=demo@0&go=1&step=1&heat=1", color_scheme=scheme)
    page.get_by_label("2 not needed").check()
    expect(page.locator(".graph .node.distractor")).to_have_count(2)
    expect(page.locator(".aside .token").first).to_be_visible()
    expect(page.locator(".detail .token-chip").first).to_be_visible()
    answered(page)
    page.keyboard.press("Escape")
    assert page.evaluate(FAINT) == {}


def test_the_focus_stays_where_it_is_while_the_answer_streams(open_page: Opener, fake: Fake) -> None:
    fake.knobs.hold_after = 40
    page = open_page("#solve?model=demo@40&go=1")
    page.locator('[data-step="0"]').focus()
    page.get_by_text("Answered by demo@40").click()
    page.locator('[data-step="0"]').focus()
    fake.knobs.release.set()
    expect(page.get_by_role("heading", name="Wrong answer: 19, not 14")).to_be_visible()
    expect(page.locator('[data-step="0"]')).to_be_focused()
