"""A job server that is none, refuses, or breaks off; real heads are asked in tests/integration/test_jobs.py."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cluster.commands.runs.submit import main as submit
from cluster.errors import ClusterUnreachable, UnsafeCluster
from cluster.ray import jobs
from verifier.errors import UserError

TOKEN = {"RAY_AUTH_TOKEN": "secret"}
VERSION = json.dumps({"version": "4", "ray_version": "2.60.0", "ray_commit": "x", "session_name": "s"})
RUNNING = json.dumps({"type": "SUBMISSION", "entrypoint": "true", "status": "RUNNING"})
WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Answers(BaseHTTPRequestHandler):
    """Answers as the test says, and notes the tokens that it was sent."""

    version: Callable[[str | None], tuple[int, str]]
    told: list[str | None]

    def do_GET(self) -> None:
        if self.path == "/api/version":
            token = self.headers.get("Authorization")
            self.told.append(token)
            self._answer(*type(self).version(token))
        elif self.path.endswith("/logs/tail"):
            key = self.headers["Sec-WebSocket-Key"].encode()
            accepted = base64.b64encode(hashlib.sha1(key + WEBSOCKET).digest()).decode()
            self.send_response(101)
            for name, value in {
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Accept": accepted,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"\x81\x05hello")
            self.close_connection = True  # in the middle of the log
        elif self.path.endswith("/follow-me"):
            self._answer(200, RUNNING)
        elif self.path.endswith("/unknown"):
            self._answer(404, "no such job")
        elif self.path.endswith("/broken"):
            self._answer(500, "the agent is gone")
        else:
            self.close_connection = True

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


Serve = Callable[[Callable[[str | None], tuple[int, str]]], tuple[str, list[str | None]]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server whose version route answers a token so; gives its address and the tokens that it was sent."""
    servers: list[ThreadingHTTPServer] = []

    def start(version: Callable[[str | None], tuple[int, str]]) -> tuple[str, list[str | None]]:
        told: list[str | None] = []
        handler = type("Handler", (Answers,), {"version": staticmethod(version), "told": told})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"127.0.0.1:{servers[-1].server_port}", told

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "text"), [(404, "File not found"), (500, "oops"), (200, "<html>hello</html>"), (200, "[]"), (302, "")]
)
def test_what_is_no_job_server_is_told_so_and_gets_no_token(serve: Serve, status: int, text: str) -> None:
    address, told = serve(lambda token: (status, text))
    with pytest.raises(ClusterUnreachable, match=rf"is no job server of Ray \(HTTP {status}\)") as refused:
        jobs.reach(address, TOKEN)
    assert "8265" in refused.value.fix
    assert told == [None]


def test_a_token_is_sent_to_a_server_that_asks_for_one(serve: Serve, tmp_path: Path) -> None:
    address, told = serve(lambda token: (200, VERSION) if token == "Bearer secret" else (403 if token else 401, ""))
    assert jobs.reach(address, TOKEN) == jobs.JobServer(f"http://{address}", "secret")
    assert told == [None, "Bearer secret"]
    with pytest.raises(ClusterUnreachable, match=r"refuses our token \(HTTP 403\)"):
        jobs.reach(address, {"RAY_AUTH_TOKEN": "another"})
    with pytest.raises(ClusterUnreachable, match="requires a token, and none is set"):
        jobs.reach(address, {"HOME": str(tmp_path)})


def test_a_server_without_tokens_is_used_on_this_machine_alone(serve: Serve) -> None:
    address, told = serve(lambda token: (200, VERSION))
    assert jobs.reach(address, TOKEN).token is None
    elsewhere = address.replace("127.0.0.1", "0.0.0.0")  # which is this machine too, but not only
    with pytest.raises(UnsafeCluster, match="accepts jobs from anyone"):
        jobs.reach(elsewhere, TOKEN)
    assert jobs.reach(elsewhere, TOKEN, insecure=True).token is None
    assert set(told) == {None}


@pytest.mark.parametrize(
    ("address", "url"),
    [("::1", "http://[::1]:8265"), ("[::1]:1", "http://[::1]:1"), ("a..b:1", "http://a..b:1"), ("127.0.0.1:1", None)],
)
def test_an_address_where_nothing_answers_is_told_with_the_url(address: str, url: str | None) -> None:
    with pytest.raises(ClusterUnreachable) as refused:
        jobs.reach(address, {})
    assert str(refused.value).startswith(f"no Ray answers at {url or f'http://{address}'} (")


def test_a_connection_that_breaks_is_told_and_is_no_unknown_job(serve: Serve) -> None:
    address, _ = serve(lambda token: (200, VERSION))
    server = jobs.JobServer(f"http://{address}", None)
    with pytest.raises(ClusterUnreachable, match="broke") as refused:
        jobs.stop(server, "a-job")
    assert f"ray job logs a-job --address http://{address}" in refused.value.fix
    log: list[str] = []
    with pytest.raises(ClusterUnreachable, match="broke"):
        jobs.follow(server, "follow-me", log.append)
    assert log == ["hello"]
    with pytest.raises(ClusterUnreachable, match="the agent is gone"):
        jobs.stop(server, "broken")
    with pytest.raises(jobs.JobError, match="knows no job unknown"):
        jobs.stop(server, "unknown")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"resume": True}, "nothing to continue"),
        ({"run_dir": "runs/a"}, "would lie in the folder that Ray unpacks"),
        ({"run_dir": "~/runs/a", "resume": True}, "would lie in the folder that Ray unpacks"),
    ],
)
def test_a_folder_that_the_next_job_would_not_find_is_refused_before_anything_is_sent(
    given: dict[str, object], told: str
) -> None:
    for name in ("smoke", "process-reward"):
        with pytest.raises(UserError, match=told) as refused:
            submit(name, address="nowhere.invalid", **given)  # pyright: ignore[reportArgumentType]
        assert "--run-dir /shared/" in refused.value.fix


def test_the_id_of_a_job_stands_in_a_url_as_it_is_whatever_the_file_is_called() -> None:
    for name, told in (("tiny-cpu", "tiny-cpu"), ("second try #3?", "second-try-3-"), ("größe_2.1", "gr-e_2-1")):
        assert re.fullmatch(rf"interplay-{told}-[0-9]{{8}}-[0-9]{{6}}-[0-9a-f]{{4}}", jobs.new_job_id(name))
    assert jobs.new_job_id("a") != jobs.new_job_id("a")
