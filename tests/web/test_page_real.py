"""The page on the real application: guard, registry, verifier and streams are real, the engines write a script.

The scripted policies: demo@3 writes the gold trace, demo@1 gets the number of its second step wrong.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, expect

from actors.policy.checkpoint import CheckpointStore
from actors.policy.text_format import text_format
from actors.policy.tokenizer import phrase_tokenizer
from serving.config import ServingConfig
from serving.encoding.codec import Codec
from serving.http.keys import new_key
from serving.probe.bodies.problems import ProblemRequest
from serving.probe.problems import make
from serving.replica import Replica
from tests.http.conftest import FakeFactory, Script, publish
from tests.runs import NotedControl
from tests.web.conftest import Opener
from verifier.graphs.templates.connectives import connectives

SPEC = "op=5&seed=2"
PROBLEM = make(ProblemRequest(op=5, seed=2, max_facts=6))


def _trace(model: str, _seed: int) -> str:
    body, answer = PROBLEM.solution.rsplit(" Answer: ", 1)
    steps = re.split(r"(?<=\.) (?=Define)", body)
    if model == "demo@1":
        steps[1] = re.sub(r"(\d+)\.$", lambda number: f"{int(number[1]) + 1}.", steps[1])
    return f" {' '.join(steps)} </solution> <answer> {answer.rstrip('.')} </answer>"


@contextmanager
def page_over(
    folder: Path, write: Callable[[str, int], str], control: NotedControl | None = None, **settings: Any
) -> Iterator[tuple[str, str]]:
    """The address of the application on a run of three checkpoints, and a key with the scope `probe`."""
    store = CheckpointStore(folder / "checkpoints")
    for seed, (stage, step) in enumerate([("pretrain", 10), ("rl", 1), ("rl", 3)]):
        publish(store, stage, step, seed=seed, score=seed / 4)
    key, record = new_key("page", "probe")
    listen = {"port": 8000}  # without it the application expects Ray Serve before it, which names requests
    config = ServingConfig.model_validate({"run_dirs": [folder], "keys": (record,), "listen": listen, **settings})
    factory = FakeFactory(Script(write=write), Codec(text_format(phrase_tokenizer(connectives())), 1024))
    replica = Replica(config, control or NotedControl(), factory)
    server = uvicorn.Server(uvicorn.Config(replica.app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/", key
    server.should_exit = True
    thread.join(5)
    if replica.task is not None:
        replica.task.close()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with page_over(tmp_path_factory.mktemp("runs") / "demo", _trace) as page:
        yield page


@pytest.fixture
def visit(chromium: Browser, real: tuple[str, str]) -> Iterator[Opener]:
    """Opens links of the page with the key in place; no script error, CSP report or outside request may remain."""
    opener = Opener(chromium, real[0], key=real[1])
    yield opener
    opener.close()


@pytest.mark.browser
def test_the_page_asks_for_the_key_and_solves_with_it(chromium: Browser, real: tuple[str, str]) -> None:
    opener = Opener(chromium, real[0])
    page = opener(f"#solve?{SPEC}&model=demo@1&go=1")
    page.get_by_label("Key", exact=True).fill(real[1])
    page.get_by_role("button", name="Use this key").click()
    wrong = re.split(r"(?<=\.) (?=Define)", PROBLEM.solution)[1].split(" as ")[0]
    expect(page.locator(".step.first .sentence")).to_contain_text(wrong)
    expect(page.locator('.node.first[data-status="wrong value"]')).to_have_count(1)
    expect(page.locator(".foot summary")).to_have_text("Answered by demo@1")
    opener.close()


@pytest.mark.browser
def test_a_right_trace_turns_every_needed_node_green(visit: Opener) -> None:
    page = visit(f"#solve?{SPEC}&model=latest&go=1&step=0")
    expect(page.get_by_role("heading", name="Right, and every step holds")).to_be_visible()
    expect(page.locator('.graph .node[data-status="right"]')).to_have_count(len(PROBLEM.graph.needed))
    expect(page.locator(".detail .token-chip").first).to_be_visible()


@pytest.mark.browser
def test_the_drawing_is_saved_with_the_judgement_on_it(visit: Opener) -> None:
    page = visit(f"#solve?{SPEC}&model=demo@1&go=1")
    expect(page.locator(".judgement h2[data-tone]")).to_be_visible()  # the whole trace is judged
    with page.expect_download() as saving:
        page.get_by_role("button", name="Save as SVG").click()
    assert saving.value.suggested_filename == "solve-op5-seed2.svg"
    drawing = Path(saving.value.path()).read_text()
    assert drawing.startswith("<svg")
    assert "wrong value" in drawing


@pytest.mark.browser
def test_compare_and_training_agree_on_where_the_checkpoints_differ(visit: Opener) -> None:
    page = visit(f"#compare?{SPEC}&model=demo@1&other=demo@3&go=1")
    expect(page.locator("tr.parts")).to_contain_text(PROBLEM.graph.needed[1].name)
    page = visit(f"#training?{SPEC}&go=1")
    expect(page.locator(".column")).to_have_count(3)
    expect(page.locator(".matrix tbody tr").nth(1).locator("td [title='wrong value']")).to_have_count(1)


@pytest.mark.browser
def test_pass_at_k_and_an_edited_step_work_on_the_real_application(visit: Opener) -> None:
    page = visit(f"#pass?{SPEC}&model=demo@3&temperature=1&samples=4&go=1")
    expect(page.get_by_role("heading", name="At k = 2, 100% right answers, 100% verified")).to_be_visible()
    page.get_by_role("button", name="Sample 1: verified").click()
    expect(page.get_by_role("heading", name="Right, and every step holds")).to_be_visible()
    page = visit(f"#solve?{SPEC}&model=demo@1&go=1&step=1")
    page.get_by_role("button", name="Edit this step and go on").click()
    page.get_by_role("button", name="Go on from here").click()
    expect(page.locator(".step.given")).to_have_count(2)


@pytest.mark.browser
def test_the_recovery_map_works_on_the_real_application(visit: Opener) -> None:
    """demo@3 says every step again after the error; demo@1 does so too, with a wrong number of its own."""
    page = visit(f"#recovery?{SPEC}&model=demo@3&other=demo@1&samples=2&go=1")
    said = "demo@3 recovers from 100% of the errors, demo@1 from 0%"
    expect(page.get_by_role("heading", name=said)).to_be_visible()
    page.get_by_role("button", name=re.compile("^demo@3, step 1: ")).click()
    page.get_by_role("button", name="Continuation 1: recovered").first.click()
    expect(page.get_by_role("link", name="Ask for it again in Solve, with its tokens")).to_be_visible()
    expect(page.locator('.step[data-status="wrong value"]')).to_have_count(1)


@pytest.mark.browser
def test_an_impossible_problem_is_refused_in_words(visit: Opener) -> None:
    page = visit("#solve?op=20&facts=2")
    expect(page.get_by_role("alert")).to_contain_text("needs max_facts of at least")
    expect(page.get_by_role("alert")).to_contain_text("Request id")


def test_the_page_is_whole_in_the_package() -> None:
    web = Path(__file__).resolve().parents[2] / "serving" / "web"
    named = {
        (web / name).resolve()
        for name in re.findall(r'(?:href|src)="static/([^"]+)"', (web / "index.html").read_text())
    }
    for path in web.rglob("*.js"):
        named |= {(path.parent / name).resolve() for name in re.findall(r'from "(\.[^"]+)"', path.read_text())}
    assert {path for path in web.rglob("*") if path.is_file()} == {*named, web / "index.html"}
