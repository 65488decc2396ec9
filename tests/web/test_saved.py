"""Saved pages and pictures: opened from disk with no way out, they show what the page showed and hold nothing else."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from actors.rollouts.store import RolloutStore
from tests.http.test_kept import in_the_runs_tokens
from tests.rollouts import step_rollouts
from tests.runs import append, step_event
from tests.web.conftest import Fake, Offline, Opener, answered, save
from tests.web.test_page_real import page_over

pytestmark = pytest.mark.browser
KEY = "ip-key-of-this-tab"
MOST = 3_000_000
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>\u0007"
EDIT = "Edit this step and go on"  # needs a server
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def keyed(chromium: Browser, fake: Fake) -> Iterator[Opener]:
    """Opens links of a server that asks for a key, with the key in the tab."""
    fake.knobs.key = KEY
    opener = Opener(chromium, fake.url, key=KEY)
    yield opener
    opener.close()


def answers_of(file: Path) -> str:
    packed = re.search(r'id="answers">([^<]+)<', file.read_text())
    assert packed is not None
    return gzip.decompress(base64.b64decode(packed[1])).decode()


def curves(page: Page) -> list[str]:
    return page.locator("#stage svg path").evaluate_all("all => all.map(path => path.getAttribute('d'))")


VIEWS = {
    "solve": ("#solve?model=demo@40&op=4&seed=3&go=1&step=2&heat=1", ".detail"),
    "compare": ("#compare?model=demo@40&other=demo@100&go=1", "tr.parts"),
    "training": ("#training?at=demo@40&go=1", ".column >> nth=5"),
    "pass": ("#pass?model=demo@80&problems=2&go=1", ".bars"),
    "recovery": ("#recovery?model=demo@100&other=demo@0&samples=4&step=1&go=1", ".planted-error"),
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_saved_view_shows_the_same_without_a_server(
    keyed: Opener, offline: Offline, tmp_path: Path, view: str
) -> None:
    link, shown = VIEWS[view]
    page = keyed(link)
    expect(page.locator(shown).first).to_be_visible()
    page.keyboard.press("t")  # the theme is kept
    file = save(page, "Save page", tmp_path)
    assert file.name == f"{view}-op4-seed{3 if view == 'solve' else 1}.html"
    assert file.stat().st_size <= MOST
    assert KEY not in file.read_text()
    assert KEY not in answers_of(file)

    saved = offline(file)
    expect(saved.locator(shown).first).to_be_visible()
    answered(saved)
    expect(saved.locator("html")).to_have_attribute("data-theme", "dark")
    for part in ("#problem", "#stage"):
        assert saved.locator(part).inner_text() == page.locator(part).inner_text().replace(f"{EDIT}\n", "")
    assert curves(saved) == curves(page)
    expect(saved.locator(".saved-note")).to_contain_text(re.compile(r"demo@\d+\s*weights [0-9a-f]{16}"))
    expect(saved.locator(".saved-note")).to_contain_text(f"#{view}")
    for gone in ("Key", "Solve", "Save page", "Save as SVG", "Copy link", EDIT):
        expect(saved.get_by_role("button", name=gone, exact=True)).to_have_count(0)
    expect(saved.locator("nav a")).to_have_count(1)
    expect(saved.locator("#bench [name=seed]")).to_be_disabled()
    assert saved.evaluate("fetch('https://example.com/').then(() => 'sent', () => 'refused')") == "refused"
    stage = saved.locator("#stage").inner_text()
    saved.locator("nav a").click()  # it leads to what the file shows
    expect(saved.locator(shown).first).to_be_visible()
    expect(saved.locator("#stage")).to_have_text(stage, use_inner_text=True)


def test_a_saved_page_opens_in_a_frame_that_may_keep_nothing(
    chromium: Browser, open_page: Opener, tmp_path: Path
) -> None:
    page = open_page("#solve?model=demo@40&go=1")
    expect(page.locator(".step.first")).to_be_visible()
    file = save(page, "Save page", tmp_path)
    mail = tmp_path / "mail.html"
    mail.write_text(f'<iframe sandbox="allow-scripts" src="{file.name}"></iframe>')
    reader = chromium.new_page()
    reader.goto(mail.as_uri())
    expect(reader.frame_locator("iframe").locator(".step.first")).to_be_visible()
    reader.close()


def test_a_saved_trace_opens_step_by_step_and_a_saved_training_walks_through_its_checkpoints(
    open_page: Opener, offline: Offline, tmp_path: Path
) -> None:
    page = open_page("#training?go=1")
    expect(page.locator(".column")).to_have_count(6)
    page.get_by_role("link", name="Solve").click()
    expect(page.get_by_role("heading", name="No answer yet")).to_be_visible()
    page.get_by_role("link", name="Training").click()  # the answers are not asked for again
    expect(page.locator(".column")).to_have_count(6)
    saved = offline(save(page, "Save page", tmp_path), width=390)
    expect(saved.locator(".column")).to_have_count(6)
    saved.get_by_role("slider", name="Checkpoint").press("Home")
    expect(saved.get_by_role("heading", name=re.compile("Wrong answer"))).to_be_visible()
    saved.locator(".step-head").first.click()
    expect(saved.locator(".detail .token-chip").first).to_be_visible()
    assert saved.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_sample_that_was_looked_at_opens_again_and_another_is_refused_in_words(
    open_page: Opener, offline: Offline, tmp_path: Path
) -> None:
    page = open_page("#pass?model=demo@80&go=1")
    wrong = re.compile("right for the wrong reason")
    page.get_by_role("button", name=wrong).first.click()
    expect(page.get_by_role("heading", name="Right answer, for the wrong reason")).to_be_visible()
    saved = offline(save(page, "Save page", tmp_path))
    saved.get_by_role("button", name=wrong).first.click()
    expect(saved.get_by_role("heading", name="Right answer, for the wrong reason")).to_be_visible()
    saved.get_by_role("button", name=re.compile(": verified")).first.click()
    expect(saved.get_by_role("alert")).to_contain_text("Not in this file")


def test_an_answer_that_was_stopped_is_saved_as_far_as_it_came(
    open_page: Opener, fake: Fake, offline: Offline, tmp_path: Path
) -> None:
    fake.knobs.hold_after = 40  # in the middle of an event, of which the file has the first half
    page = open_page("#solve?model=demo@40&go=1")
    expect(page.locator(".step")).to_have_count(2)
    expect(page.get_by_role("button", name="Save page")).to_be_disabled()
    page.get_by_role("button", name="Stop").click()
    saved = offline(save(page, "Save page", tmp_path))
    expect(saved.get_by_role("heading", name="Stopped")).to_be_visible()
    expect(saved.locator(".step")).to_have_count(2)


def test_answers_to_something_else_are_not_in_the_file(open_page: Opener, tmp_path: Path) -> None:
    page = open_page("#solve?model=demo@40&go=1")
    expect(page.locator(".step.first")).to_be_visible()
    page.locator("[name=model]").select_option("demo@80")
    page.get_by_role("button", name="Solve").click()
    expect(page.locator(".foot summary")).to_have_text("Answered by demo@80")
    answers = answers_of(save(page, "Save page", tmp_path))
    assert '\\"model\\":\\"demo@80\\"' in answers
    assert '\\"model\\":\\"demo@40\\"' not in answers
    page.get_by_label("Template").select_option("movie")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Movie Festival")
    assert "Bundle Ranch" not in answers_of(save(page, "Save page", tmp_path))


def test_text_of_a_model_is_no_markup_in_what_is_saved(open_page: Opener, offline: Offline, tmp_path: Path) -> None:
    def write(route: Route) -> None:
        told = json.dumps(HOSTILE)[1:-1]
        route.fulfill(content_type="application/json", body=route.fetch().text().replace("Define adult deer", told))

    page = open_page()
    page.route("**/v1/probe/compare", write)
    page.goto("about:blank")  # another address of the loaded page would begin the comparison, and a reload end it
    page.goto(f"{open_page.base}#compare?model=demo@40&other=demo@100&go=1")
    expect(page.locator(".aligned td").first).to_contain_text("<img src=x")
    saved = offline(save(page, "Save page", tmp_path))
    expect(saved.locator(".aligned td").first).to_contain_text("<img src=x")
    expect(saved.locator("img")).to_have_count(0)
    assert saved.title() == "Compare - Interplay probe"
    drawing = ET.fromstring(save(page, "Save as SVG", tmp_path).read_text())
    assert "</script><img src=x" in "".join(drawing.itertext())
    assert {element.tag.removeprefix(SVG) for element in drawing.iter()}.isdisjoint({"script", "img", "foreignObject"})


def test_a_page_too_large_to_send_is_not_saved_and_says_so(open_page: Opener) -> None:
    page = open_page()
    noise = random.Random(0).randbytes(3_000_000).hex()
    page.route("**/v1/limits", lambda route: route.fulfill(json={**route.fetch().json(), "noise": noise}))
    page.reload()
    page.get_by_role("button", name="Save page").click()
    expect(page.locator("#copied")).to_contain_text("MB is the most")


@pytest.mark.parametrize(
    ("view", "said"),
    [("compare", "they part here"), ("training", "Share of the graph"), ("pass", "k = 8"), ("recovery", "All steps")],
)
def test_a_picture_of_a_view_stands_alone(open_page: Opener, tmp_path: Path, view: str, said: str) -> None:
    link, shown = VIEWS[view]
    page = open_page(link)
    expect(page.locator(shown).first).to_be_visible()
    drawing = alone(save(page, "Save as SVG", tmp_path))
    assert said in "".join(drawing.itertext())
    assert page.locator("#stage h2").first.inner_text().split()[0] in "".join(drawing.itertext())
    paths = {path.get("d") for path in drawing.iter(f"{SVG}path")}
    wanted = page.locator("#stage .graph path, #stage .bars path").evaluate_all(
        "all => all.map(p => p.getAttribute('d'))"
    )
    assert set(wanted) <= paths


def alone(file: Path) -> ET.Element:
    """The drawing, which names no class, no style and nothing outside itself."""
    drawing = ET.fromstring(file.read_text())
    for element in drawing.iter():
        assert element.tag.startswith(SVG)
        assert not {"class", "style", "href", "src"} & set(element.keys())
        for value in element.attrib.values():
            assert "var(" not in value
            assert "color(" not in value  # mixed colours, in a notation that few readers know
            assert "url(" not in value or value.startswith("url(#")
    return drawing


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, Path]]:
    """A server over one live run: its address, a key, and the run's folder."""
    folder = tmp_path_factory.mktemp("saved") / "demo"
    append(folder, *(step_event(step, 40, time=time.time()) for step in range(1, 31)))
    for step in (1, 2, 30):
        RolloutStore(folder, "rl", 0, 9).write(in_the_runs_tokens(step_rollouts(step)))
    with page_over(folder, lambda model, seed: "") as (url, key):
        yield url, key, folder


def test_a_live_run_is_saved_with_the_steps_that_came_while_it_was_watched(
    chromium: Browser, runs: tuple[str, str, Path], offline: Offline, tmp_path: Path
) -> None:
    url, key, folder = runs
    opener = Opener(chromium, url, key=key)
    page = opener("#runs")
    rollouts = page.get_by_role("region", name="Kept rollouts")
    rollouts.locator("[data-row]").first.click()
    expect(rollouts.locator(".step").first).to_be_visible()
    append(folder, step_event(31, 40, time=time.time()))
    expect(page.locator("figure .says").first).to_contain_text(re.compile(r"\d"))
    line = page.locator(".plot .line").first
    expect(line).to_have_attribute("d", re.compile("^([ML][^ML]+){31}$"))
    file = save(page, "Save page", tmp_path)
    drawing = alone(save(page, "Save as SVG", tmp_path))
    assert file.stat().st_size <= MOST
    assert key not in file.read_text() + answers_of(file)

    saved = offline(file)
    expect(saved.locator(".plot .line").first).to_have_attribute("d", re.compile("^([ML][^ML]+){31}$"))
    for part in (".board", ".findings, #stage .card p", ".rollouts"):
        told = page.locator(part).first.inner_text()
        expect(saved.locator(part).first).to_have_text(told, use_inner_text=True)
    expect(saved.get_by_role("alert")).to_have_count(0)
    drawn = page.locator(".plot .line:visible").evaluate_all("all => all.map(path => path.getAttribute('d'))")
    assert set(drawn) <= {path.get("d") for path in drawing.iter(f"{SVG}path")}
    saved.get_by_role("slider", name="Step with kept rollouts").press("Home")
    expect(saved.get_by_role("alert")).to_contain_text("Not in this file")
    opener.close()


def test_a_run_whose_stream_broke_is_saved_with_the_steps_that_came_before_and_after(
    chromium: Browser, runs: tuple[str, str, Path], offline: Offline, tmp_path: Path
) -> None:
    url, key, folder = runs
    steps = len((folder / "metrics.jsonl").read_text().splitlines())
    broken: list[Route] = []

    def cut(route: Route) -> None:
        if broken:
            return route.continue_()
        broken.append(route)
        append(folder, *(step_event(steps + n, 40, time=time.time()) for n in (1, 2)))
        told = {"steps": [steps + 1], "curves": {"reward": [0.5]}, "strata": {}}
        return route.fulfill(content_type="text/event-stream", body=f"event: steps\ndata: {json.dumps(told)}\n\n")

    opener = Opener(chromium, url, key=key)
    page = opener("#solve")
    page.route("**/events?*", cut)
    page.get_by_role("link", name="Runs").click()
    drawn = re.compile(f"^([ML][^ML]+){{{steps + 2}}}$")
    expect(page.locator(".plot .line").first).to_have_attribute("d", drawn)
    saved = offline(save(page, "Save page", tmp_path))
    opener.close()
    expect(saved.locator(".plot .line").first).to_have_attribute("d", drawn)
    said = saved.get_by_role("status").filter(has_text="last logged")
    expect(said).to_be_visible()
    expect(said).not_to_contain_text("followed")
