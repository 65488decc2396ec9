"""Runs that are followed while they go on, on the real application: live, vanishing, and where streams break."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from actors.rollouts.store import RolloutStore
from tests.http.test_kept import in_the_runs_tokens
from tests.rollouts import step_rollouts
from tests.runs import append, step_event
from tests.web.conftest import Opener, Served, settle
from tests.web.test_runs import lines_of, points, served_runs

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_runs(tmp_path_factory.mktemp("served")) as served:
        yield served


def test_steps_of_a_live_run_join_the_curves_as_they_are_logged(visit: Opener, served: Served) -> None:
    page = visit("#runs?runs=live")
    line = lines_of(page, "Reward")
    expect(page.get_by_role("status").filter(has_text="followed live")).to_be_visible()
    before = points(line)
    append(served.folder / "live", step_event(before + 1, 40, time=time.time()))
    expect(line).to_have_attribute("d", re.compile(f"^([ML][^ML]+){{{before + 1}}}$"))


def grown_to(steps: int) -> re.Pattern[str]:
    """A line of so many points."""
    return re.compile(f"^([ML][^ML]+){{{steps}}}$")


def following(page: Page) -> Locator:
    return page.get_by_role("status").filter(has_text="last logged")


def recorded(page: Page) -> set[str]:
    """The paths of the answers that a saved page would have."""
    keys = page.evaluate(
        "import('/static/main.js').then(({ app }) => app.client.recording.toJSON().map(([key]) => key))"
    )
    return {key.split(" ")[1] for key in keys}


def test_a_run_that_was_quiet_when_the_page_was_opened_is_followed_when_it_goes_on(
    visit: Opener, served: Served
) -> None:
    page = visit("#runs?runs=quiet")
    expect(lines_of(page, "Reward")).to_have_attribute("d", grown_to(5))
    expect(following(page)).not_to_contain_text("followed")
    for step in (6, 7):
        append(served.folder / "quiet", step_event(step, 40, time=time.time()))
        expect(lines_of(page, "Reward")).to_have_attribute("d", grown_to(step))
        expect(following(page)).to_contain_text("followed live")
    read = page.evaluate(
        "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/metrics')).length"
    )
    assert read == 1


def test_three_runs_are_followed_at_a_time(visit: Opener) -> None:
    page = visit("#runs?runs=live,broken,full,keeping")
    expect(lines_of(page, "Reward")).to_have_count(4)

    def streams() -> int:
        return sum("/events?" in path for path in recorded(page))

    while streams() < 3:
        page.wait_for_timeout(50)
    with page.expect_response(lambda answer: answer.url.endswith("/v1/runs")):
        pass
    settle(page)
    assert streams() == 3


def test_a_stage_that_begins_while_nothing_is_followed_is_shown(visit: Opener, served: Served) -> None:
    page = visit("#runs?runs=evaluating")
    expect(following(page)).to_contain_text("first: step 5 of 5")
    ranged = visit("#runs?runs=evaluating&last=4")
    expect(lines_of(ranged, "Reward")).to_have_attribute("d", grown_to(4))
    append(served.folder / "evaluating", step_event(1, 40, "second", time=time.time()))
    expect(following(page)).to_contain_text("second: step 1 of 40")
    expect(following(page)).to_contain_text("followed live")
    for _ in range(2):
        with ranged.expect_response(lambda answer: answer.url.endswith("/v1/runs")):
            pass
    expect(following(ranged)).to_contain_text("first: step 5 of 5")
    expect(lines_of(ranged, "Reward")).to_have_attribute("d", grown_to(4))


def test_a_stream_that_breaks_is_opened_again_after_growing_waits_and_meanwhile_it_says_so(
    visit: Opener, served: Served
) -> None:
    page = visit("#runs?runs=long")
    expect(following(page)).to_be_visible()
    page.evaluate(
        """() => {
          window.said = [];
          const look = () => {
            const [, words] = /last logged .+? ago(.*)/.exec(document.querySelector(".runs")?.innerText) ?? [];
            if (words !== undefined && window.said.at(-1) !== words) window.said.push(words);
          };
          new MutationObserver(look).observe(document.body, { childList: true, subtree: true, characterData: true });
        }"""
    )
    told = {"steps": [6], "curves": {"reward": [0.5]}, "strata": {}}
    cut = f"event: steps\ndata: {json.dumps(told)}\n\n"
    torn = [
        lambda route: route.abort(),
        lambda route: route.fulfill(content_type="text/event-stream", body=": beat\n\n"),
        lambda route: route.fulfill(status=500, json={}),
        lambda route: route.fulfill(content_type="text/event-stream", body=cut),  # it told something: not that bad
    ]
    page.route("**/v1/runs/broken/events?*", lambda route: torn.pop(0)(route) if torn else route.continue_())
    page.get_by_role("checkbox", name="broken").check()
    expect(following(page)).to_contain_text("not followed now")
    append(served.folder / "broken", *(step_event(step, 40, time=time.time()) for step in (6, 7)))
    expect(lines_of(page, "Reward").last).to_have_attribute("d", grown_to(7))
    expect(following(page)).not_to_contain_text("not followed now")
    expect(page.get_by_role("alert")).to_have_count(0)
    asked = ", broken not followed now. {}; the page asks again in {} s."
    said = page.evaluate("said")
    assert [words for words in said if words] == [
        asked.format("The server did not answer", 1),
        asked.format("The answer broke off", 2),
        asked.format("The server failed", 4),
        asked.format("The answer broke off", 1),
    ]
    assert said[-1] == ""


def test_a_server_that_is_full_is_asked_again_when_it_said(visit: Opener, served: Served) -> None:
    page = visit("#runs?runs=long")
    asked: list[float] = []

    def full(route: Route) -> None:
        asked.append(time.monotonic())
        if len(asked) == 2:
            return route.continue_()
        error = {"message": "256 clients watch runs here", "type": "overloaded_error", "code": "too_many_watchers"}
        headers = {"retry-after": "6" if len(asked) == 1 else "999"}
        return route.fulfill(status=503, headers=headers, json={"error": error})

    page.route("**/v1/runs/full/events?*", full)
    page.get_by_role("checkbox", name="full").check()
    expect(following(page)).to_contain_text("full not followed now. The server is full or not ready")
    expect(following(page)).to_contain_text("asks again in 6 s.")
    append(served.folder / "full", step_event(6, 40, time=time.time()))
    expect(lines_of(page, "Reward").last).to_have_attribute("d", grown_to(6))
    assert asked[1] - asked[0] >= 5.9
    page.get_by_role("checkbox", name="long").uncheck()
    expect(following(page)).to_contain_text(
        ", not followed now. The server is full or not ready; the page asks again in 60 s."
    )


def test_what_was_kept_of_older_steps_is_not_remembered_while_the_newest_is_shown(
    visit: Opener, served: Served
) -> None:
    page = visit("#runs?runs=keeping")
    rollouts = page.get_by_role("region", name="Kept rollouts")
    expect(rollouts).to_contain_text("step 5, 1 steps kept")
    for step in (6, 7):
        with page.expect_response(f"**/rollouts/rl/{step}?*") as rows:
            RolloutStore(served.folder / "keeping", "rl", 0, 9).write(in_the_runs_tokens(step_rollouts(step)))
            append(served.folder / "keeping", step_event(step, 40, time=time.time()))
        rows.value.finished()
        settle(page)
        expect(rollouts).to_contain_text(f"step {step}, {step - 4} steps kept")
        expect(rollouts.locator("tbody tr").first).to_be_visible()
    kept = "v1/runs/keeping/rollouts/rl"
    assert {path for path in recorded(page) if path.startswith(kept)} == {f"{kept}/7?offset=0&limit=50"}
    rollouts.get_by_role("slider").press("Home")
    expect(rollouts).to_contain_text("step 5, 3 steps kept")
    rollouts.locator("[data-row]").first.click()
    expect(rollouts.locator(".step").first).to_be_visible()
    for name, first, step in (
        ("demo", "keeping", 7),
        ("keeping", "demo", 40),
        ("keeping", "demo", 40),
        ("demo", "keeping", 7),
    ):
        page.get_by_role("checkbox", name=name).click()
        expect(page.get_by_role("checkbox", name=first)).to_be_checked()
        expect(rollouts).to_contain_text(f"step {step}, 3 steps kept")
    listed = {f"{kept}/5?offset=0&limit=50", f"{kept}/5/0", "v1/runs/demo/rollouts/rl/40?offset=0&limit=50"}
    assert listed <= recorded(page)  # what a person has opened is in a saved page


def test_a_run_that_vanishes_while_it_is_watched_is_said_and_its_curves_stay(visit: Opener, served: Served) -> None:
    page = visit("#runs?runs=doomed")
    expect(lines_of(page, "Reward")).to_be_visible()
    shutil.rmtree(served.folder / "doomed")
    expect(page.get_by_role("alert")).to_contain_text("has gone")
    expect(lines_of(page, "Reward")).to_be_visible()
    expect(following(page)).not_to_contain_text("asks again")
