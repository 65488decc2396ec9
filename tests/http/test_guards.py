"""What stands in front of the routes: keys and scopes on every route, hostile bodies, one error shape, limits."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from functools import reduce

import pytest
from fastapi import FastAPI

from serving import limits
from serving.app import build_routes, openapi
from serving.http.keys import KeyRecord, identify, new_key
from serving.schemas import Limits
from tests.http.conftest import Server
from tests.http.test_models import until

READ = ["/readyz", "/version", "/metrics", "/openapi.json", "/v1/limits", "/v1/models", "/v1/models/latest", "/nowhere"]
RUNS = ["/v1/runs", *(f"/v1/runs/demo{room}" for room in ("", "/metrics", "/findings", "/changes", "/events"))]
PROBE = [
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/probe/items",
    "/v1/probe/problems",
    "/v1/probe/verify",
    "/v1/probe/draw",
    "/v1/probe/solve",
    "/v1/probe/continue",
    "/v1/probe/compare",
    "/v1/probe/pass-at-k",
    "/v1/probe/recovery",
]
ADMIN = [*(f"/v1/admin/{room}" for room in ("load", "unload", "alias", "canary", "runs/demo/scale", "runs/demo/stop"))]
ROUTES = [
    *(("GET", path, 0) for path in (*READ, *RUNS)),
    *(("GET", f"/v1/runs/demo/{place}", 1) for place in ("rollouts", "rollouts/rl/1", "rollouts/rl/1/0", "traces")),
    ("GET", "/v1/probe/task", 1),
    *(("POST", path, 1) for path in PROBE),
    *(("POST", path, 2) for path in ADMIN),
    ("GET", "/v1/admin/canary", 2),
]


def documented_routes(server: Server) -> set[tuple[str, str]]:
    told = Limits(rate_per_minute=1, burst=1, running=1, queued=1)
    paths = build_routes(server.replica.service, told, server.control).openapi()["paths"]
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}


async def test_the_matrix_below_covers_every_route(server: Server):
    named = {"latest": "{model}", "/demo": "/{run}", "/rl": "/{stage}", "/1": "/{step}", "/0": "/{row}"}
    listed = {
        (method, reduce(lambda path, name: path.replace(*name), named.items(), path)) for method, path, _ in ROUTES
    }
    assert documented_routes(server) - listed == {("GET", "/healthz")}


@pytest.mark.parametrize(("method", "path", "rank"), ROUTES)
async def test_every_route_asks_for_its_scope(server: Server, method: str, path: str, rank: int):
    keys = server.keys
    good = keys.probe
    cases = [
        (None, 401),
        ("", 401),
        (good[:-1], 401),
        (good + "x", 401),
        ("ip_" + "a" * 43, 401),
        ("\xe9", 401),
    ]
    for kind, key in enumerate((keys.read, keys.probe, keys.admin)):
        cases.append((key, None if kind >= rank else 403))
    for key, expected in cases:
        async with server.as_key(None) as client:
            headers = {} if key is None else {b"authorization": b"Bearer " + key.encode("latin-1")}
            answer = await client.request(
                method,
                path,
                headers={**headers, b"content-type": b"application/json"},
                content=b"{}" if method == "POST" else None,
            )
        if expected is None:
            assert answer.status_code not in (401, 403), (key, answer.text)
        else:
            assert answer.status_code == expected, (key, answer.text)
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
            assert ("www-authenticate" in answer.headers) == (expected == 401)
        assert answer.headers["x-request-id"]


def test_every_record_is_compared_whatever_the_key_so_that_time_tells_nothing():
    compared = []

    class Watched(KeyRecord):
        def matches(self, key: str) -> bool:
            compared.append(self.name)
            return super().matches(key)

    made = [new_key(f"key-{number}", "probe") for number in range(3)]
    records = tuple(Watched.model_validate(record.model_dump()) for _, record in made)
    for key in (*(key for key, _ in made), made[0][0][:-1], "ip_", ""):
        compared.clear()
        identify(records, key)
        assert compared == ["key-0", "key-1", "key-2"]


async def test_liveness_and_the_page_are_open_and_nothing_else(server: Server):
    async with server.as_key(None) as anyone:
        assert (await anyone.get("/healthz")).json() == {"status": "ok"}
        page = await anyone.get("/")
        assert page.status_code == 200
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        assert (await anyone.get("/healthz/")).status_code == 401
        assert (await anyone.get("/static/../openapi.json")).status_code in (401, 404)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "missing_field"),
        (b"{", 400, "invalid_json"),
        (b"[]", 400, "invalid_value"),
        (b'"text"', 400, "invalid_value"),
        (b"\xff\xfe{}", 400, "invalid_json"),
        (b'{"model": "latest", "prompt": "\x00"}', 400, "invalid_json"),
        (b'{"model": "latest", "prompt": "\\u0000"}', 400, "invalid_value"),
        (b'{"model": "latest", "prompt": "\\ud800"}', 400, "invalid_value"),
        (b'{"model": "latest", "prompt": "a", "seed": ' + b"9" * 100_000 + b"}", 400, None),
        (b'{"model": "latest", "prompt": "a", "temperature": 1e999}', 400, "invalid_value"),
        (b'{"model": "latest", "prompt": "a", "temperature": NaN}', 400, "invalid_value"),
        (b'{"model": "latest", "prompt": ' + b"[" * 60_000 + b"]" * 60_000 + b"}", 400, "too_deep"),
        (b'{"a":' * 30_000 + b"1" + b"}" * 30_000, 400, "too_deep"),
        (b'{"model": "latest", "prompt": "' + b"a" * 300_000 + b'"}', 413, "too_large"),
        (b'{"model": "latest", "prompt": "' + b"a" * 70_000 + b'"}', 400, "invalid_value"),
        (b'{"model": "latest", "model": "nope", "prompt": "a"}', 404, "model_not_found"),
        (b'{"\\ud800": 1, "model": "latest", "prompt": "a"}', 400, "invalid_value"),
    ],
)
async def test_hostile_bodies_get_our_error_quickly(server: Server, body: bytes, status: int, code: str | None):
    await server.client.get("/healthz")
    started = time.process_time()
    answer = await server.client.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    worked = time.process_time() - started
    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    if code is not None:
        assert answer.json()["error"]["code"] == code
    assert worked < 1.0, "a hundredth of it, and more on a slow machine"
    again = await server.client.post("/v1/completions", json={"model": "latest", "prompt": "a"})
    assert again.status_code == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"problem": {"op": 2}, "text": "", "max-tokens": 3}, "max-tokens"),
        ({"problem": {"op": 2, "max facts": 3}, "text": ""}, "problem.max facts"),
        ({"problem": {"op": 2}, "text": "", "str": 3}, "str"),
        ({"problem": {"op": 2}, "text": "", "x" * 100_000: 3}, "x" * 80),
    ],
)
async def test_an_unknown_field_is_refused_by_its_own_name(server: Server, body: dict, param: str):
    error = (await server.client.post("/v1/probe/verify", json=body)).json()["error"]
    name = param.rpartition(".")[2]
    assert (error["code"], error["param"], error["message"]) == ("unknown_field", param, f"unknown field '{name}'")


@pytest.mark.parametrize("path", ["/healthz", "/", "/favicon.ico", "/static/app.js"])
async def test_open_paths_leave_a_body_unread(server: Server, path: str):
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(path)
        yield b"{}"

    async with server.as_key(None) as anyone:
        answer = await anyone.post(path, content=body(), headers={"content-type": "application/json"})
    assert answer.status_code in (404, 405)
    assert read == []


async def test_other_content_types_are_refused(server: Server):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = await server.client.post("/v1/completions", content=b"{}", headers={"content-type": kind})
        assert answer.status_code == 415
        assert answer.json()["error"]["code"] == "unsupported_media_type"


async def test_unknown_routes_and_methods_have_the_same_shape(server: Server):
    missing = await server.client.get("/v1/nothing")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    wrong = await server.client.get("/v1/completions")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"
    deleted = await server.client.delete("/v1/models")
    assert deleted.status_code == 405


@pytest.mark.parametrize("error", [RuntimeError, TimeoutError])
async def test_a_mistake_of_our_own_has_the_same_shape_and_is_logged_once(
    server: Server, caplog: pytest.LogCaptureFixture, error: type[Exception]
):
    def odd(model: str, seed: int) -> str:
        raise error("/home/somebody/secret")

    server.script.write = odd
    answer = await server.client.post("/v1/completions", json={"model": "latest", "prompt": "a"})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/json")
    said = answer.json()["error"]
    assert (said["type"], said["param"], said["code"]) == ("server_error", None, "internal")
    assert "secret" not in answer.text
    (logged,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (logged.message, vars(logged)["request_id"]) == ("request_failed", answer.headers["x-request-id"])


async def test_a_request_id_is_kept_when_it_is_plain_and_made_when_not(server: Server):
    kept = await server.client.get("/healthz", headers={"x-request-id": "mine-1"})
    assert kept.headers["x-request-id"] == "mine-1"
    for odd in ("a b", "x" * 65, "<script>"):
        made = await server.client.get("/healthz", headers={"x-request-id": odd})
        assert made.headers["x-request-id"].startswith("req-")


async def test_the_rate_of_a_key_is_its_own(serve):
    server = serve(rate_per_minute=60, burst=3)
    server.replica.app._rate._clock = lambda: 0.0  # four requests in no time, however slow the machine is
    answers = [await server.client.post("/v1/probe/problems", json={"op": 3}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].json()["error"]["type"] == "rate_limit_error"
    assert int(answers[-1].headers["retry-after"]) >= 1
    async with server.as_key(server.keys.probe) as other:
        assert (await other.post("/v1/probe/problems", json={"op": 3})).status_code == 200


async def test_a_full_queue_refuses_at_once_and_forgets_nothing(serve):
    server = serve(running=2, queued=2)
    server.script.gate = asyncio.Event()
    body = {"model": "latest", "prompt": "a"}
    held = [asyncio.create_task(server.client.post("/v1/completions", json=body)) for _ in range(4)]
    await until(lambda: server.replica.service.gate.depth == 2)
    refused = await asyncio.gather(*(server.client.post("/v1/completions", json=body) for _ in range(50)))
    assert {answer.status_code for answer in refused} == {503}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert refused[0].json()["error"]["code"] == "queue_full"
    server.script.gate.set()
    assert [answer.status_code for answer in await asyncio.gather(*held)] == [200] * 4
    text = (await server.client.get("/metrics")).text
    assert 'interplay_refusal_seconds_bucket{le="5.0"} 50.0' in text, "and those that wait would wait for ever"
    assert server.replica.service.gate.used == 0


async def test_logs_hold_neither_keys_nor_prompts(server: Server, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    await server.client.post("/v1/completions", json={"model": "latest", "prompt": "a secret prompt"})
    await server.client.post("/v1/completions", json={"model": "latest", "prompt": "a secret prompt", "x": "hidden"})
    written = json.dumps([vars(record) for record in caplog.records], default=str)
    assert "test-admin" in written
    for secret in (server.keys.admin, "secret prompt", "hidden"):
        assert secret not in written


@pytest.mark.parametrize("path", ["/", "/static/main.js"])
@pytest.mark.parametrize("asked", ["bytes=0-1", "bytes=a-b", "bytes=999999-", "bytes=" + ",".join(["0-0"] * 100)])
async def test_a_part_of_a_file_is_not_given(server: Server, path: str, asked: str):
    async with server.as_key(None) as anyone:
        whole, part = await anyone.get(path), await anyone.get(path, headers={"range": asked})
    assert (part.status_code, part.content) == (200, whole.content)


def test_every_bound_of_a_connection_is_among_the_limits():
    named = {name.lower().removeprefix("max_"): value for name, value in vars(limits).items() if name.isupper()}
    told = Limits(rate_per_minute=1, burst=1, running=1, queued=1).model_dump()
    assert named == {name: told.get(name) for name in named}


async def test_limits_are_told_up_front(server: Server):
    told = (await server.client.get("/v1/limits")).json()
    assert told["body_bytes"] == 256 * 1024
    assert told["deadline_s"] == 60.0
    assert (told["n"], told["stops"], told["stop_chars"], told["logprobs"]) == (64, 4, 32, 20)
    assert (told["json_fields"], told["work_queued"], told["key_chars"]) == (100, 64, 128)


async def test_many_who_ask_first_for_the_description_have_it_written_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    written = 0

    def counted(app: FastAPI) -> dict:
        nonlocal written
        written += 1
        return openapi(app)

    monkeypatch.setattr("serving.app.openapi", counted)
    answers = await asyncio.gather(*(server.client.get("/openapi.json") for _ in range(8)))
    assert {answer.text for answer in answers} == {answers[0].text}
    assert written == 1
