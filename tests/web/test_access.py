"""Keyboard, assistive technology, contrast, narrow screens, dark and light."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.web.conftest import Fake, Opener

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
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.locator(".step, tr.parts, .bars").first).to_be_visible()
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
    page.keyboard.press("f")
    expect(page.locator(".step.first .step-head")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator('[data-step="5"]')).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.locator("#step-detail")).to_be_visible()
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
    page.locator(".graph .node").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(page.locator('[data-node="adult bear in Bundle Ranch"]')).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#step-detail")).to_contain_text("adult deer in South Zoo")


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
    expect(page.locator("#step-detail")).to_be_visible()
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


def test_the_focus_stays_where_it_is_while_the_answer_streams(open_page: Opener, fake: Fake) -> None:
    fake.knobs.hold_after = 40
    page = open_page("#solve?model=demo@40&go=1")
    page.locator('[data-step="0"]').focus()
    page.get_by_text("Answered by demo@40").click()
    page.locator('[data-step="0"]').focus()
    fake.knobs.release.set()
    expect(page.get_by_role("heading", name="Wrong answer: 19, not 14")).to_be_visible()
    expect(page.locator('[data-step="0"]')).to_be_focused()
