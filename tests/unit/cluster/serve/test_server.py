"""Starting the server: what is missing, and what is left of a start that was broken off."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from ray import serve as ray_serve

from cluster.errors import NotEnough
from cluster.recipe.load import load
from cluster.run.folder import RunFolder
from cluster.serve import server


def plan(run: Path, replicas: int = 1) -> server.Plan:
    RunFolder(run).open(load("smoke"), resume=False)
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    return server.plan(
        run_dirs=(run,), host="127.0.0.1", port=port, key_file=None, engines=1, replicas=replicas, gpus=0,
        running=8, queued=16,
    )  # fmt: skip


def test_too_few_resources_are_told_with_what_the_command_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for name in server.SERVE_ENVIRONMENT:  # which serving sets
        monkeypatch.setenv(name, server.SERVE_ENVIRONMENT[name])
    with pytest.raises(NotEnough, match="cpus") as refused:
        server.serve(plan(tmp_path / "demo", replicas=400), print)
    assert refused.value.fix == server.FEWER


def test_an_application_without_a_key_file_is_refused_with_the_fix() -> None:
    with pytest.raises(server.ServeError, match="no key file") as refused:
        server.build({"run_dirs": ["runs/demo"]})
    assert "api_key_file" in refused.value.fix


def test_what_is_deployed_in_part_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster outlives the command: Ctrl-C before a replica answers would leave the application there."""
    done: list[str] = []

    def run(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ray_serve, "start", lambda **options: done.append("start"))
    monkeypatch.setattr(ray_serve, "run", run)
    monkeypatch.setattr(ray_serve, "shutdown", lambda: done.append("shutdown"))
    with pytest.raises(KeyboardInterrupt):
        server.start(plan(tmp_path / "demo"))
    assert done == ["start", "shutdown"]
