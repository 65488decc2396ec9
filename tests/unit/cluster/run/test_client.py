"""What a person reads of a live run, and of one that does not answer."""

from __future__ import annotations

from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, GetTimeoutError

from cluster.errors import ClusterUnreachable
from cluster.run.client import LiveRun, show
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


def test_what_went_wrong_so_far_is_shown_and_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        RunStatus("rl", 3, 60, {"reward": 0.5}, ("completions do not end since step 2: [bold]0.5[/bold]",), None), False
    )
    told = capsys.readouterr().out.splitlines()
    assert told == ["stage rl  3/60  reward 0.500", "warning: completions do not end since step 2: [bold]0.5[/bold]"]
