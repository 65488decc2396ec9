"""What a person reads of a live run, and of one that does not answer."""

from __future__ import annotations

import json
import math
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, GetTimeoutError

from actors.runs.live import LIVE
from cluster.errors import ClusterUnreachable
from cluster.recipe.load import load
from cluster.run import client
from cluster.run.client import LiveRun, live_run, show
from cluster.run.folder import RunFolder
from trainers.status import RunStatus


class Silent:
    """A controller's handle, of which every method gives a reference that `ray.get` will not read."""

    def __getattr__(self, name: str) -> Silent:
        return self

    def remote(self, *given: Any) -> Silent:
        return self


@pytest.mark.parametrize(
    ("raised", "said"), [(ActorDiedError(), "ended before it answered"), (GetTimeoutError(), "did not answer in 30 s")]
)
def test_a_run_that_does_not_answer_says_so_and_what_to_do(
    raised: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(reply: Any, timeout: float) -> Any:
        raise raised

    monkeypatch.setattr(ray, "get", get)
    run = LiveRun(Silent())
    for ask in (run.status, lambda: run.scale(2, None)):
        with pytest.raises(ClusterUnreachable, match=said) as refused:
            ask()
        assert refused.value.fix.startswith("Ask again")


def test_a_status_for_a_program_is_json_whatever_the_loss_is(capsys: pytest.CaptureFixture[str]) -> None:
    show(RunStatus("pretrain", 3, 60, {"loss": math.nan}, (), None), as_json=True)
    assert '"numbers": {"loss": null}' in capsys.readouterr().out


def test_what_went_wrong_so_far_is_shown_and_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        RunStatus("rl", 3, 60, {"reward": 0.5}, ("completions do not end since step 2: [bold]0.5[/bold]",), None), False
    )
    told = capsys.readouterr().out.splitlines()
    assert told == ["stage rl  3/60  reward 0.500", "warning: completions do not end since step 2: [bold]0.5[/bold]"]


@pytest.mark.parametrize(
    ("at", "said"), [(None, "starts; it has no workers"), ((40, 60), "is at 40 of 60 of its stage")]
)
def test_a_run_that_has_no_workers_yet_says_where_it_is(
    at: tuple[int, int] | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get_actor(name: str, namespace: str) -> Any:
        raise ValueError(name)

    RunFolder(tmp_path).open(load("smoke"), resume=False)
    if at is not None:
        status = RunStatus("pretrain", *at, {}, (), None)
        (tmp_path / LIVE).write_text(json.dumps({"time": time.time(), **asdict(status)}))
    monkeypatch.setattr(client, "_ray_of", nullcontext)
    monkeypatch.setattr(ray, "get_actor", get_actor)
    with pytest.raises(ClusterUnreachable, match=said), live_run(str(tmp_path)):
        pass
