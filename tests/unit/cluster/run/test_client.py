"""What a person reads whose question a live run does not answer."""

from __future__ import annotations

from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, GetTimeoutError

from cluster.errors import ClusterUnreachable
from cluster.run.client import LiveRun


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
