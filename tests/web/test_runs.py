"""The view of runs on the real application: curves of short, long, live and vanishing runs, and their rollouts."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from actors.rollouts.store import RolloutStore
from tests.http.test_kept import in_the_runs_tokens
from tests.judgements import trace
from tests.rollouts import step_rollouts
from tests.runs import append, step_event, write_run
from tests.web.conftest import Opener
from tests.web.test_page_real import page_over
from verifier.judgement import StepStatus, to_record

pytestmark = pytest.mark.browser
LONG = 10_000
RIGHT, WRONG = (to_record(trace(StepStatus.RIGHT, last)) for last in (StepStatus.RIGHT, StepStatus.WRONG_VALUE))


@dataclass(frozen=True)
class Served:
    """The address of a server over four runs, a key, and their folder: demo, long, live and doomed."""

    url: str
    key: str
    folder: Path


def told(fate: str) -> dict[str, Any]:
    """A held-out problem as the report keeps it."""
    right = {"right": 7, "samples": 8, "text": "Define a as A; so A = 3. Define b as B; so B = 3.", "judgement": RIGHT}
    wrong = {**right, "right": 1, "judgement": WRONG}
    before, after = (wrong, right) if fate == "gained" else (right, wrong)
    return {"fate": fate, "prompt": f"A problem that was {fate}.", "before": before, "after": after}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
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
    for name in ("live", "doomed"):
        append(folder / name, *(step_event(step, 40, time=time.time()) for step in range(1, 6)))
    names = [folder / name for name in ("demo", "long", "live", "doomed")]
    with page_over(demo, lambda model, seed: "", run_dirs=names) as (url, key):
        yield Served(url, key, folder)


@pytest.fixture
def visit(chromium: Browser, served: Served) -> Iterator[Opener]:
    """Opens links of the page with the key in place; no script error, CSP report or outside request may remain."""
    opener = Opener(chromium, served.url, key=served.key)
    yield opener
    opener.close()


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
    problems = changes.locator("details")
    expect(problems).to_have_text(["Problem 1: 1 of 8, then 7 of 8 right", "Problem 2: 1 of 8, then 7 of 8 right"])
    problems.nth(1).locator("summary").first.click()
    expect(problems.nth(1)).to_contain_text("A problem that was gained.")
    expect(changes.get_by_role("region", name="Before").locator(".step.first")).to_have_count(1)
    expect(changes.get_by_role("region", name="After").locator(".step")).to_have_count(2)
    expect(changes.get_by_role("region", name="After").locator(".step.first")).to_have_count(0)
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


def test_steps_of_a_live_run_join_the_curves_as_they_are_logged(visit: Opener, served: Served) -> None:
    page = visit("#runs?runs=live")
    line = lines_of(page, "Reward")
    expect(page.get_by_role("status").filter(has_text="followed live")).to_be_visible()
    before = points(line)
    append(served.folder / "live", step_event(before + 1, 40, time=time.time()))
    expect(line).to_have_attribute("d", re.compile(f"^([ML][^ML]+){{{before + 1}}}$"))


def test_a_run_that_vanishes_while_it_is_watched_is_said_and_its_curves_stay(visit: Opener, served: Served) -> None:
    page = visit("#runs?runs=doomed")
    expect(lines_of(page, "Reward")).to_be_visible()
    shutil.rmtree(served.folder / "doomed")
    expect(page.get_by_role("alert")).to_contain_text("has gone")
    expect(lines_of(page, "Reward")).to_be_visible()


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


def test_a_run_without_kept_rollouts_says_so(visit: Opener) -> None:
    page = visit("#runs?runs=long")
    expect(page.get_by_role("heading", name="No rollouts kept")).to_be_visible()
