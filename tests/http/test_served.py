"""The real thing: Ray Serve and vLLM over one server for all tests here, asked by the official OpenAI client, by the
documentation's examples and by the page in a browser.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import psutil
import pytest
from playwright.sync_api import expect, sync_playwright

from actors.policy.checkpoint import CheckpointStore
from cluster.serve import server as cluster_server
from tests.http import doc_examples
from tests.http.conftest import publish
from tests.http.test_probe import CELL, events_of
from tests.web.conftest import FLAGS, TIMEOUT_MS, Opener
from verifier.graphs.generate import generate
from verifier.graphs.problem import ProblemSpec
from verifier.graphs.tell import prompt_text

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]
SHIPPED_BASE = Path(__file__).resolve().parents[2] / "cluster" / "bases" / "tiny-base"
PROBLEM = generate(ProblemSpec(4), 1)
PROMPT = prompt_text(PROBLEM.problem, PROBLEM.question)


@dataclass(frozen=True)
class Served:
    """A running server: where it is, its admin key, its run folder, and the folder of its Ray."""

    url: str
    key: str
    run_dir: Path
    ray: Path

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=60)

    def metric(self, name: str) -> float:
        with self.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def engines(self) -> list[psutil.Process]:
        """The processes of its engines, oldest first: forks of the one that forks."""
        of_ray = [p for p in psutil.process_iter(["cmdline"]) if str(self.ray) in " ".join(p.info["cmdline"] or ())]
        family = {child.pid: child for process in of_ray for child in process.children(recursive=True)}
        forkers = {
            pid for pid, process in family.items() if "multiprocessing.forkserver" in " ".join(process.cmdline())
        }
        return sorted((p for p in family.values() if p.ppid() in forkers), key=psutil.Process.create_time)


@pytest.fixture(scope="module")
def served(ray_session: Path, pristine_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server with room for 8 sequences and 16 requests that wait, on the session's Ray."""
    run_dir = Path(shutil.copytree(pristine_run, tmp_path_factory.mktemp("served") / "demo"))
    CheckpointStore(run_dir / "checkpoints").adopt(CheckpointStore(SHIPPED_BASE), "pretrain-4500")
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    plan = cluster_server.plan(
        run_dirs=(run_dir,), host="127.0.0.1", port=port, key_file=None, engines=2, replicas=1, gpus=0,
        running=8, queued=16,
    ).through_proxy()  # fmt: skip
    cluster_server.start(plan)
    found = Served(plan.url, plan.shown_key or "", run_dir, ray_session)
    with found.client() as client:
        deadline = time.monotonic() + 120
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline, "no model became ready"
            threading.Event().wait(0.5)
    yield found
    cluster_server.stop(plan)


def test_the_official_client_completes_chats_and_streams(served: Served):
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0)
    assert "demo@3" in [model.id for model in client.models.list()]
    assert client.models.retrieve("latest").id == "latest"
    asked = {"model": "demo@3", "prompt": PROMPT, "max_tokens": 24, "seed": 7, "logprobs": 2, "n": 2}
    whole = client.completions.create(**asked)
    assert whole.usage is not None
    assert whole.model_extra is not None
    assert whole.usage.completion_tokens <= 48
    assert len(whole.choices) == 2
    assert whole.choices[0].text != whole.choices[1].text
    assert whole.model_extra["policy"]["seed"] == 7
    pieces, chunk = ["", ""], None
    for chunk in client.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            pieces[choice.index] += choice.text
    assert pieces == [choice.text for choice in whole.choices]
    assert chunk is not None
    assert chunk.usage == whole.usage
    problem = f"{PROBLEM.problem} {PROBLEM.question}"
    chat = client.chat.completions.create(
        model="latest", messages=[{"role": "user", "content": problem}], max_tokens=8, logprobs=True, seed=1
    )
    logprobs = chat.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert chat.usage is not None
    assert len(logprobs.content) == chat.usage.completion_tokens
    assert chat.usage.prompt_tokens == whole.usage.prompt_tokens


async def test_the_async_client_streams_and_maps_errors(served: Served):
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0) as client:
        text = ""
        stream = await client.completions.create(model="base", prompt=PROMPT, max_tokens=8, stream=True)
        async for chunk in stream:
            text += chunk.choices[0].text
        assert text
        with pytest.raises(openai.NotFoundError) as missing:
            await client.completions.create(model="nope", prompt="a")
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as bad:
            await client.completions.create(model="base", prompt="a", extra_body={"temprature": 1})
        assert bad.value.param == "temprature"
        with pytest.raises(openai.AuthenticationError):
            await client.with_options(api_key="wrong").models.list()


def test_the_same_id_seed_and_prompt_give_the_same_text_alone_and_in_a_crowd(served: Served):
    asked = {"model": "demo@3", "prompt": PROMPT, "max_tokens": 32, "seed": 11}

    def ask(change: dict) -> str:
        with served.client() as client:
            return client.post("/v1/completions", json={**asked, **change}).json()["choices"][0]["text"]

    alone = ask({})
    with ThreadPoolExecutor(6) as crowd:
        texts = list(crowd.map(ask, [{"seed": 11 if i % 2 else i} for i in range(6)]))
    assert texts[1] == texts[3] == texts[5] == alone
    assert alone not in (texts[0], texts[2])


def test_two_checkpoints_asked_at_once_answer_as_each_does_alone(served: Served):
    models = ("demo@3", "base")

    def ask(model: str) -> str:
        body = {"model": model, "prompt": PROMPT, "max_tokens": 32, "seed": 11}
        with served.client() as client:
            return client.post("/v1/completions", json=body).json()["choices"][0]["text"]

    alone = {model: ask(model) for model in models}
    with ThreadPoolExecutor(8) as crowd:
        texts = list(crowd.map(lambda i: (models[i % 2], ask(models[i % 2])), range(32)))
    assert set(texts) == set(alone.items())


def test_an_engine_that_is_killed_is_replaced_and_costs_only_what_was_open_in_it(served: Served):
    bodies = [{"model": model, "prompt": PROMPT, "max_tokens": 32, "seed": 11} for model in ("demo@3", "base")]

    def ask() -> list[httpx.Response]:
        with served.client() as client:
            return [client.post("/v1/completions", json=body) for body in bodies]

    before = [answer.json()["choices"][0]["text"] for answer in ask()]
    killed, other = served.engines()
    killed.kill()
    assert [answer.status_code for answer in ask()].count(200) >= 1
    assert [answer.json()["choices"][0]["text"] for answer in ask()] == before
    assert other.is_running()


def test_a_probe_streams_steps_and_names_its_policy(served: Served):
    with served.client() as client:
        text = client.post("/v1/probe/solve", json={"model": "latest", "problem": CELL, "max_tokens": 16}).text
    events = events_of(text)
    assert (events[0][0], events[-1][0]) == ("start", "done")
    assert events[-1][1]["policy"]["engine"].startswith("vllm")
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_place_within_a_second(served: Served, stream: bool):
    before = served.metric("interplay_aborted_total")
    body = {"model": "latest", "prompt": PROMPT, "max_tokens": 800, "n": 64, "stream": stream}
    with served.client() as client:
        if stream:
            with client.stream("POST", "/v1/completions", json=body) as answer:
                next(answer.iter_bytes())
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/completions", json=body, timeout=httpx.Timeout(30, read=0.8))
    left = time.monotonic()
    while served.metric("interplay_aborted_total") == before or served.metric("interplay_sequences_running") > 0:
        assert time.monotonic() < left + 5, "the place is not free"
    assert served.metric("interplay_aborted_total") == before + 1


def test_a_new_checkpoint_under_load_fails_no_request(served: Served):
    stop = threading.Event()
    answers: list[tuple[int, str]] = []

    def keep_asking() -> None:
        with served.client() as client:
            while not stop.wait(0.04):  # four clients stay below the 100 requests a second that one key is allowed
                answer = client.post("/v1/completions", json={"model": "latest", "prompt": PROMPT, "max_tokens": 8})
                answers.append((answer.status_code, answer.json().get("model", answer.text)))

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    publish(CheckpointStore(served.run_dir / "checkpoints"), "rl", 4, seed=44)
    deadline = time.monotonic() + 60
    while "demo@4" not in {model for _, model in answers[-4:]} and time.monotonic() < deadline:
        stop.wait(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert {status for status, _ in answers} == {200}
    assert {model for _, model in answers} == {"demo@3", "demo@4"}


async def test_two_hundred_clients_get_an_answer_or_503_and_nothing_else(served: Served):
    limits = httpx.Limits(max_connections=200)
    body = {"model": "latest", "prompt": PROMPT, "max_tokens": 32}
    async with httpx.AsyncClient(
        base_url=served.url, headers={"authorization": f"Bearer {served.key}"}, timeout=60, limits=limits
    ) as client:
        answers = await asyncio.gather(*(client.post("/v1/completions", json=body) for _ in range(200)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 24
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
    assert served.metric("interplay_sequences_running") == 0
    assert served.metric("interplay_refusal_seconds_count") >= statuses.count(503)


def test_errors_of_the_server_in_front_have_our_shape_too(served: Served):
    with httpx.Client(base_url=served.url) as anyone:
        assert anyone.get("/healthz").json() == {"status": "ok"}
        for path in ("/v1/models", "/nothing", "/%2e%2e/%2e%2e/etc/passwd", "/docs"):
            answer = anyone.get(path)
            assert answer.status_code == 401, path
            assert set(json.loads(answer.content)["error"]) == {"message", "type", "param", "code"}
            assert len(answer.headers.get_list("x-request-id")) == 1


@pytest.mark.parametrize("example", doc_examples.requests(), ids=lambda example: f"{example.page}:{example.line}")
def test_an_example_of_the_documentation_works_as_printed(
    served: Served, example: doc_examples.Example, tmp_path: Path
):
    done = example.run(served.url, served.key, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert '"error"' not in done.stdout
    if "curl -sN" in example.text:
        assert done.stdout.endswith("data: [DONE]\n\n")


@pytest.mark.browser
def test_the_page_lights_the_graph_up_and_its_link_and_its_curl_give_the_same_again(served: Served, tmp_path: Path):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on PATH; install Debian's package `chromium`")
    link = "#solve?op=2&model=base&temperature=0&go=1"
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=FLAGS) as browser:
        expect.set_options(timeout=TIMEOUT_MS)
        opener = Opener(browser, f"{served.url}/", key=served.key)
        page = opener(link, permissions=["clipboard-read", "clipboard-write"])
        expect(page.locator(".judgement h2[data-tone]")).to_be_visible()
        expect(page.locator(".foot summary")).to_have_text("Answered by demo.pretrain@4500")
        lit = page.locator(".graph .node[data-status]").evaluate_all("all => all.map(node => node.dataset.status)")
        assert {"right", "wrong value", "wrong operand", "too early"} & set(lit), "the trace touched no node"
        trace = _timeless(page.locator("#stage").inner_text())
        page.get_by_role("button", name="Copy link").click()
        again = opener(page.evaluate("navigator.clipboard.readText()").removeprefix(opener.base))
        expect(again.locator(".judgement h2[data-tone]")).to_be_visible()
        assert "model=demo.pretrain@4500" in again.url
        assert _timeless(again.locator("#stage").inner_text()) == trace
        page.get_by_role("button", name="Copy as curl").click()
        command = page.evaluate("navigator.clipboard.readText()")
        opener.close()
    done = doc_examples.Example("the page", 0, "bash", command).run(served.url, served.key, tmp_path)
    assert done.stdout.endswith("data: [DONE]\n\n"), done.stderr


def _timeless(text: str) -> str:
    """Without the seconds that an answer took."""
    return re.sub(r"in [\d.]+ s\b", "in some time", text)
