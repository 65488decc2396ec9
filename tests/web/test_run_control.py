"""Workers of live runs on the page, and what an admin key may do to such a run."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from actors.runs.live import LIVE, STOPPING
from serving.http.keys import new_key
from tests.runs import NotedControl, append, step_event, sync_event, tell_live, worker_told
from tests.web.conftest import Offline, Opener, held, save, settle
from tests.web.test_page_real import page_over

pytestmark = pytest.mark.browser
TWO = worker_told("rollout-0.1"), worker_told("rollout-1.3", "syncing", None, 1), worker_told("reward-0.1")


@dataclass(frozen=True)
class Served:
    """A server over the runs `demo` and `new`, keys for it, their folder, and what the runs are asked."""

    url: str
    read: str
    probe: str
    admin: str
    folder: Path
    control: NotedControl


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, control = tmp_path_factory.mktemp("controlled"), NotedControl()
    append(folder / "demo", *(step_event(step, 40, time=time.time()) for step in range(1, 6)), sync_event(5))
    (folder / "new").mkdir()
    (read, one), (probe, two) = new_key("reader", "read"), new_key("page", "probe")
    admin, three = new_key("boss", "admin")
    settings = {"run_dirs": [folder / "demo", folder / "new"], "keys": (one, two, three)}
    with page_over(folder / "demo", lambda model, seed: "", control, **settings) as (url, _):
        yield Served(url, read, probe, admin, folder, control)


@pytest.fixture
def served(server: Served) -> Iterator[Served]:
    """The same with no run live, and nothing asked."""
    yield server
    server.control.asked.clear()
    server.control.refusal = None
    for run in ("demo", "new"):
        for name in (LIVE, STOPPING):
            (server.folder / run / name).unlink(missing_ok=True)


@pytest.fixture
def boss(chromium: Browser, served: Served) -> Iterator[Opener]:
    """Opens links with an admin key."""
    opener = Opener(chromium, served.url, key=served.admin)
    yield opener
    opener.close()


def workers(page: Page) -> Locator:
    return page.get_by_role("region", name="Workers")


def test_workers_are_shown_with_their_states_as_they_change(boss: Opener, served: Served) -> None:
    demo = served.folder / "demo"
    tell_live(demo, *TWO)
    page = boss("#runs?runs=demo")
    expect(workers(page)).to_contain_text("rollout workers: 2 asked for, 1 ready; reward workers: 1 asked for, 1 ready")
    expect(workers(page).get_by_role("row", name="rollout-0.1 ready version 5 0")).to_contain_text(
        re.compile(r"days ago\s*0\.15 s")
    )
    expect(workers(page).get_by_role("row", name="rollout-1.3 syncing none 1")).to_be_visible()
    expect(workers(page)).to_contain_text("1 rollout workers replaced")
    tell_live(demo, *TWO[:1], worker_told("rollout-1.4", "ready", 6, 1), worker_told("reward-0.1", "draining"))
    expect(workers(page)).to_contain_text("rollout workers: 2 asked for, 2 ready; reward workers: 0 asked for")
    expect(workers(page).get_by_role("row", name="rollout-1.4 ready version 6 1")).to_be_visible()
    (demo / LIVE).unlink()
    expect(workers(page).get_by_role("columnheader", name="State")).to_have_count(0)
    expect(workers(page)).to_contain_text("demo is not live any more.")


def test_nobody_without_an_admin_key_sees_controls(chromium: Browser, boss: Opener, served: Served) -> None:
    tell_live(served.folder / "demo", *TWO)
    opener = Opener(chromium, served.url, key=served.probe)
    page = opener("#runs?runs=demo")
    expect(workers(page)).to_contain_text("2 asked for")
    expect(page.get_by_role("button", name="Stop and save")).to_have_count(0)
    expect(page.get_by_label("Reward workers", exact=True)).to_be_hidden()
    opener.close()
    page = boss("#runs?runs=demo")
    expect(page.get_by_role("button", name="Stop and save")).to_be_visible()
    (served.folder / "demo" / LIVE).unlink()
    page.reload()
    expect(workers(page)).to_contain_text("version 5")
    expect(page.get_by_role("button", name="Stop and save")).to_have_count(0)


def test_a_key_of_scope_read_sees_runs_and_is_told_that_it_may_not_ask(chromium: Browser, served: Served) -> None:
    opener = Opener(chromium, served.url, key=served.read)
    page = opener("#runs?runs=demo")
    expect(page.get_by_role("heading", name="Reward", exact=True)).to_be_visible()
    page = opener("#solve")
    expect(page.get_by_role("alert")).to_contain_text("This key may not do that")
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_role("heading", name="Reward", exact=True)).to_be_visible()
    opener.close()


def test_a_run_is_scaled_by_the_numbers_that_were_changed(boss: Opener, served: Served) -> None:
    tell_live(served.folder / "demo", *TWO)
    page = boss("#runs?runs=demo")
    rollout, reward = (page.get_by_label(f"{kind} workers", exact=True) for kind in ("Rollout", "Reward"))
    expect(rollout).to_have_value("2")
    page.get_by_role("button", name="Scale").click()
    expect(workers(page)).to_contain_text("Change a number first.")
    rollout.fill("3")
    tell_live(served.folder / "demo", *TWO, worker_told("reward-1.2"))  # another admin was faster
    expect(reward).to_have_value("2")
    expect(rollout).to_have_value("3")
    page.get_by_role("button", name="Scale").click()
    expect(workers(page)).to_contain_text("Asked for 3 rollout workers.")
    assert served.control.asked == [("scale", "demo", 3, None)]
    tell_live(served.folder / "demo", *TWO, worker_told("rollout-2.4", "starting", None))
    expect(workers(page)).to_contain_text("3 asked for, 1 ready")
    rollout.fill("0")
    page.get_by_role("button", name="Scale").click()  # the browser names the field's bounds
    assert page.evaluate("document.querySelector('.control :invalid') !== null")
    assert len(served.control.asked) == 1


def test_a_run_is_stopped_after_a_question_and_its_end_is_seen(boss: Opener, served: Served) -> None:
    tell_live(served.folder / "demo", *TWO)
    page = boss("#runs?runs=demo")
    stop = page.get_by_role("button", name="Stop and save")
    stop.click()
    expect(page.get_by_role("dialog", name="Stop demo?")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert served.control.asked == []
    stop.click()
    page.get_by_role("dialog").get_by_role("button", name="Save and stop").click()
    expect(workers(page)).to_contain_text("Stopping: the run saves, then ends.")
    assert served.control.asked == [("stop", "demo")]
    expect(stop).to_be_disabled()
    expect(page.get_by_role("button", name="Scale")).to_be_disabled()
    (served.folder / "demo" / LIVE).unlink()
    expect(workers(page)).to_contain_text("demo is not live any more.")
    expect(stop).to_be_disabled()


def test_of_several_runs_it_is_said_whose_workers_these_are(boss: Opener, served: Served) -> None:
    tell_live(served.folder / "demo", *TWO)
    page = boss("#runs?runs=demo,new")
    expect(page.get_by_role("heading", name="Workers of demo")).to_be_visible()
    expect(page.get_by_role("button", name="Stop and save")).to_be_visible()


def test_what_a_run_does_not_take_is_said_in_words(boss: Opener, served: Served) -> None:
    tell_live(served.folder / "demo", *TWO)
    served.control.refusal = "no answer in 45 s"
    page = boss("#runs?runs=demo")
    page.get_by_label("Rollout workers", exact=True).fill("3")
    page.get_by_role("button", name="Scale").click()
    expect(page.get_by_role("alert")).to_contain_text("the run did not take it: no answer in 45 s")
    expect(page.get_by_label("Rollout workers", exact=True)).to_have_value("3")
    served.control.refusal = None
    expect(page.get_by_role("button", name="Scale")).to_be_enabled()
    held(page, "**/v1/runs/demo")
    settle(page)
    (served.folder / "demo" / STOPPING).touch()  # somebody stops it meanwhile, which the page has not seen
    page.get_by_role("button", name="Scale").click()
    expect(page.get_by_role("alert")).to_contain_text("demo is stopping already")


def test_a_run_that_has_logged_no_step_shows_its_workers_as_they_start(boss: Opener, served: Served) -> None:
    page = boss("#runs?runs=new")
    expect(page.get_by_role("heading", name="No step yet")).to_be_visible()
    tell_live(served.folder / "new")
    expect(workers(page)).to_contain_text("no workers yet")
    expect(page.get_by_role("button", name="Stop and save")).to_be_enabled()
    expect(page.get_by_role("button", name="Scale")).to_be_disabled()
    tell_live(served.folder / "new", worker_told("rollout-0.1", "starting", None))
    expect(workers(page).get_by_role("row", name="rollout-0.1 starting none 0")).to_be_visible()


def test_a_saved_page_shows_the_workers_and_no_controls(
    boss: Opener,
    served: Served,
    offline: Offline,
    tmp_path: Path,
) -> None:
    tell_live(served.folder / "demo", *TWO)
    page = boss("#runs?runs=demo")
    expect(page.get_by_role("button", name="Stop and save")).to_be_visible()
    saved = offline(save(page, "Save page", tmp_path))
    expect(workers(saved).get_by_role("row", name="rollout-1.3 syncing none 1")).to_be_visible()
    expect(saved.get_by_role("button", name="Stop and save")).to_have_count(0)
