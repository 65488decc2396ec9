"""The view of runs on the real application: curves of short and long runs, and their rollouts."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from actors.rollouts.store import RolloutStore
from tests.http.test_kept import in_the_runs_tokens
from tests.judgements import trace
from tests.rollouts import step_rollouts
from tests.runs import append, step_event, write_run
from tests.web.conftest import Opener, Served, held, settle
from tests.web.test_page_real import page_over
from verifier.judgement import StepStatus, to_record

pytestmark = pytest.mark.browser
LONG = 10_000
LIVE = ("live", "doomed", "broken", "full", "keeping")
LATER_S = 3600.0  # of the future, so that a slow machine finds them live
NAME = "_".join(["a", "word"] * 9)
RIGHT, WRONG = (to_record(trace(StepStatus.RIGHT, last)) for last in (StepStatus.RIGHT, StepStatus.WRONG_VALUE))


def told(fate: str) -> dict[str, Any]:
    """A held-out problem as the report keeps it."""
    right = {"right": 7, "samples": 8, "text": "Define a as A; so A = 3. Define b as B; so B = 3.", "judgement": RIGHT}
    wrong = {**right, "right": 1, "judgement": WRONG}
    before, after = (wrong, right) if fate == "gained" else (right, wrong)
    return {"fate": fate, "prompt": f"A problem that was {fate}.", "before": before, "after": after}


@contextmanager
def served_runs(folder: Path) -> Iterator[Served]:
    """A server over runs: demo, long, live ones and quiet ones."""
    demo = folder / "demo"
    append(demo, *(step_event(step, 40, truncated=min(0.9, 0.02 * step)) for step in range(1, 41)))
    for step in (1, 2, 40):
        RolloutStore(demo, "rl", 0, 9).write(in_the_runs_tokens(step_rollouts(step)))
    pair = {"before": 2.5, "after": None}
    change = {"problems": 9, "gained": 4, "lost": 1, "kept": 3, "never": 1}
    change |= {"errors": {"missing": pair}, "first_error": pair, "traces": pair}
    (demo / "report.json").write_text(json.dumps({"changed": {"op 3": change}}))
    (demo / "changed.json").write_text(json.dumps({"op 3": list(map(told, ["gained", "gained", "lost"]))}))
    write_run(folder / "long", LONG)
    for name in LIVE:
        append(folder / name, *(step_event(step, 40, time=time.time() + LATER_S) for step in range(1, 6)))
    append(folder / "quiet", *(step_event(step, 40, time=time.time() - 1000) for step in range(1, 6)))
    append(folder / "evaluating", *(step_event(step, 5, "first", time=time.time() - 1000) for step in range(1, 6)))
    RolloutStore(folder / "keeping", "rl", 0, 9).write(in_the_runs_tokens(step_rollouts(5)))
    append(folder / NAME, step_event(1, 40))
    names = [folder / name for name in ("demo", "long", "quiet", "evaluating", NAME, *LIVE)]
    with page_over(demo, lambda model, seed: "", run_dirs=names) as (url, key):
        yield Served(url, key, folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_runs(tmp_path_factory.mktemp("served")) as served:
        yield served


def figure(page: Page, title: str) -> Locator:
    return page.locator("figure", has=page.get_by_role("heading", name=title, exact=True))


def lines_of(page: Page, title: str) -> Locator:
    return figure(page, title).locator(".plot .line")


def points(line: Locator) -> int:
    return len(re.findall("[ML]", line.get_attribute("d") or ""))


def test_a_run_is_drawn_with_findings_strata_and_workers_and_asks_no_checkpoint(visit: Opener) -> None:
    page = visit("#runs?runs=long")
    expect(lines_of(page, "Reward")).to_have_count(1)
    expect(lines_of(page, "op=4")).to_have_count(2)
    expect(lines_of(page, "Time of a step")).to_have_count(4)
    expect(page.get_by_text("The diagnosis finds nothing wrong.")).to_be_visible()
    expect(page.get_by_role("row", name="rollout-0.1")).to_contain_text(f"version {LONG}")
    expect(page.locator("#bench")).to_be_hidden()
    expect(page.get_by_role("region", name="What changed")).to_be_hidden()
    page = visit("#runs?runs=demo")
    expect(page.get_by_role("row", name="op 3 9 4 1 3 1 2.50 to none")).to_be_visible()
    expect(page.locator(".findings")).to_contain_text("of the completions are cut off at max_tokens")
    expect(page.locator(".findings")).to_contain_text("docs/diagnosis.md#never-ending")


def test_a_count_of_what_changed_opens_its_problems_with_the_traces_of_both_sides(visit: Opener) -> None:
    page = visit("#runs?runs=demo")
    changes = page.get_by_role("region", name="What changed")
    cells = changes.get_by_role("row", name=re.compile("^op 3")).get_by_role("button")
    expect(cells).to_have_text(["4", "1", "3", "1"])
    cells.first.click()
    expect(changes.get_by_role("heading", name="op 3: Newly solved")).to_be_visible()
    expect(cells.first).to_have_attribute("aria-current", "true")
    expect(cells.nth(1)).to_have_attribute("aria-current", "false")
    problems = changes.locator("details")
    expect(problems).to_have_text(["Problem 1: 1 of 8, then 7 of 8 right", "Problem 2: 1 of 8, then 7 of 8 right"])
    problems.nth(1).locator("summary").first.click()
    expect(problems.nth(1)).to_contain_text("A problem that was gained.")
    expect(changes.get_by_role("region", name="Before").locator(".step.first")).to_have_count(1)
    expect(changes.get_by_role("region", name="After").locator(".step")).to_have_count(2)
    expect(changes.get_by_role("region", name="After").locator(".step.first")).to_have_count(0)
    for side in ("Before", "After"):
        panel = changes.get_by_role("region", name=side)
        panel.locator(".step-head").first.click()
        named = panel.locator(".step-head").first.get_attribute("aria-controls")
        expect(panel.locator(f"#{named}")).to_have_count(1)
        expect(page.locator(f"#{named}")).to_have_count(1)
    cells.nth(1).click()
    expect(problems).to_have_text(["Problem 1: 7 of 8, then 1 of 8 right"])
    cells.nth(2).click()
    expect(changes).to_contain_text("No text of these problems was kept.")


def test_traces_that_arrive_after_others_were_asked_for_are_not_shown(visit: Opener) -> None:
    page = visit("#runs?runs=demo")
    held: list[Route] = []
    page.route("**/traces?*fate=gained", lambda route: held.append(route))
    changes = page.get_by_role("region", name="What changed")
    cells = changes.get_by_role("row", name=re.compile("^op 3")).get_by_role("button")
    cells.first.click()
    cells.nth(1).click()
    expect(changes.get_by_role("heading", name="op 3: Lost")).to_be_visible()
    with page.expect_event("requestfailed"):
        held[0].abort()
    page.evaluate("new Promise((done) => setTimeout(done))")
    expect(changes.get_by_role("heading", name="op 3: Lost")).to_be_visible()


def test_ten_thousand_steps_are_a_thousand_points_and_a_range_shows_each_step(visit: Opener) -> None:
    page = visit("#runs?runs=long")
    line = lines_of(page, "Reward")
    expect(line).to_be_visible()
    assert 900 < points(line) <= 1000
    box = figure(page, "Reward").locator(".plot").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + 60)
    page.mouse.up()
    expect(page.get_by_role("button", name="All steps")).to_be_visible()
    first, last = (int(re.findall(rf"{name}=(\d+)", page.url)[0]) for name in ("first", "last"))
    assert 0 < last - first < 1000
    assert points(lines_of(page, "Reward")) == last - first + 1
    page.get_by_role("button", name="All steps").click()
    expect(page.get_by_role("button", name="All steps")).to_have_count(0)


def test_runs_laid_over_each_other_differ_without_colour(visit: Opener) -> None:
    page = visit("#runs?runs=demo,long")
    lines = lines_of(page, "Reward")
    expect(lines).to_have_count(2)
    dashes = {line.evaluate("(line) => getComputedStyle(line).strokeDasharray") for line in lines.all()}
    marks = {mark.get_attribute("d") for mark in figure(page, "Reward").locator(".plot .mark").all()}
    assert len(dashes) == len(marks) == 2
    page.get_by_role("checkbox", name="demo").uncheck()
    expect(lines).to_have_count(1)
    page.go_back()
    expect(lines).to_have_count(2)


def test_every_plot_is_read_at_the_step_under_the_cursor_and_by_the_keyboard(visit: Opener) -> None:
    page = visit("#runs?runs=demo")
    plot = figure(page, "Reward").locator(".plot")
    plot.focus()
    plot.press("Home")
    expect(figure(page, "Entropy").locator(".says")).to_contain_text("step 1:")
    plot.press("ArrowRight")
    expect(figure(page, "Entropy").locator(".says")).to_contain_text("step 2:")
    expect(plot).to_have_attribute("aria-label", re.compile("steps 1 to 40"))


def test_a_kept_rollout_opens_as_a_judged_trace_with_numbers_laid_over_its_tokens(visit: Opener) -> None:
    page = visit("#runs?runs=demo")
    rollouts = page.get_by_role("region", name="Kept rollouts")
    expect(rollouts).to_contain_text("step 40, 3 steps kept")
    slider = rollouts.get_by_role("slider")
    slider.press("Home")
    expect(rollouts).to_contain_text("step 1, 3 steps kept")
    rollouts.get_by_label("Status").select_option("answer")
    expect(rollouts.locator("tbody tr")).to_have_count(2)
    rollouts.locator("[data-row]").first.click()
    expect(rollouts.locator(".step.first")).to_be_visible()
    rollouts.get_by_label("Laid over the tokens").select_option("advantage")
    expect(rollouts.locator(".token").first).to_have_attribute("title", "advantage +0.500")
    link = page.url.removeprefix(str(page.evaluate("document.baseURI")).split("#")[0])
    again = visit(link)
    expect(again.locator(".token").first).to_have_attribute("title", "advantage +0.500")


def kept(page: Page) -> Locator:
    return page.get_by_role("region", name="Kept rollouts")


def test_a_slider_that_is_dragged_over_many_steps_asks_for_the_last(visit: Opener) -> None:
    page = visit("#runs?runs=demo")
    expect(kept(page).locator("tbody tr").first).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/rollouts/rl/" in request.url else None)
    with page.expect_response("**/rollouts/rl/1?*"):
        kept(page).get_by_role("slider").evaluate(
            """(slider) => {
              for (slider.value of ["1", "0"]) slider.dispatchEvent(new Event("input"));
              slider.dispatchEvent(new Event("change"));
            }"""
        )
    expect(kept(page)).to_contain_text("step 1, 3 steps kept")
    assert len(asked) == 1


def test_another_run_is_read_from_its_first_rollout_on(visit: Opener) -> None:
    page = visit("#runs?runs=demo,keeping")

    def more(route: Route) -> None:
        route.fulfill(json={**route.fetch(url=route.request.url.replace("offset=50", "offset=0")).json(), "total": 120})

    page.route("**/runs/demo/rollouts/rl/40?*", more)
    page.get_by_role("checkbox", name="keeping").uncheck()
    kept(page).get_by_label("Status").select_option("solved")
    further = kept(page).get_by_role("button", name="Further")
    further.focus()
    page.keyboard.press("Enter")
    expect(kept(page)).to_contain_text(re.compile("51 to [0-9]+ of 120"))
    expect(further).to_be_focused()
    page.get_by_role("checkbox", name="keeping").check()
    page.get_by_role("checkbox", name="demo").uncheck()
    expect(kept(page)).to_contain_text(re.compile("1 to ([0-9]+) of \\1"))


def test_an_error_of_what_was_asked_before_does_not_take_the_place_of_the_list(visit: Opener) -> None:
    page = visit("#runs?runs=demo")
    expect(kept(page).locator("tbody tr").first).to_be_visible()
    late = held(page, "**/rollouts/rl/40?*status=cut")
    with page.expect_request("**/rollouts/rl/40?*status=cut"):
        kept(page).get_by_label("Status").select_option("cut")
    kept(page).get_by_label("Status").select_option("answer")
    expect(kept(page).locator("tbody tr")).to_have_count(2)
    with page.expect_response("**/rollouts/rl/40?*status=cut"):
        late[0].fulfill(status=429, json={})
    settle(page)
    expect(kept(page).locator("tbody tr")).to_have_count(2)
    with page.expect_request("**/rollouts/rl/40?*status=cut"):
        kept(page).get_by_label("Status").select_option("cut")
    settle(page)
    with page.expect_response("**/rollouts/rl/40?*status=cut"):
        late[1].fulfill(status=429, json={})
    page.unroute_all()
    kept(page).get_by_role("button", name="Try again").click()
    expect(kept(page).locator("tbody tr").first).to_contain_text("cut off")


def test_a_damaged_link_to_a_rollout_opens_it_with_nothing_laid_over(visit: Opener) -> None:
    page = visit("#runs?runs=demo&row=0&overlay=toString")
    expect(kept(page).locator(".step").first).to_be_visible()
    expect(kept(page).locator(".token")).to_have_count(0)


def test_the_focus_stays_where_it_is_when_the_curves_are_read_anew(visit: Opener) -> None:
    page = visit("#runs?runs=demo")
    expect(lines_of(page, "Reward")).to_have_count(1)
    page.get_by_role("checkbox", name="long").focus()
    page.keyboard.press("Space")
    expect(lines_of(page, "Reward")).to_have_count(2)
    expect(page.get_by_role("checkbox", name="long")).to_be_focused()


def test_steps_that_no_run_has_are_said_to_be_none(visit: Opener) -> None:
    page = visit("#runs?runs=demo&first=900")
    expect(page.get_by_role("heading", name="No step in this range")).to_be_visible()
    page.get_by_role("button", name="All steps").click()
    expect(lines_of(page, "Reward")).to_have_count(1)
    expect(page.get_by_role("heading", name="No step in this range")).to_be_hidden()


def test_a_long_name_does_not_scroll_the_page_sideways(visit: Opener) -> None:
    page = visit(f"#runs?runs={NAME},demo", width=390)
    expect(lines_of(page, "Reward")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_run_without_kept_rollouts_says_so(visit: Opener) -> None:
    page = visit("#runs?runs=long")
    expect(page.get_by_role("heading", name="No rollouts kept")).to_be_visible()
