"""The actors of a run end with it, whatever becomes of their workers."""

from __future__ import annotations

from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, GetTimeoutError

from cluster.run.work.workplace import end


class Controller:
    """A controller's handle, whose `close` gives a reference that `ray.get` will not read."""

    def __getattr__(self, name: str) -> Controller:
        return self

    def remote(self) -> Controller:
        return self


@pytest.mark.parametrize("raised", [GetTimeoutError(), ActorDiedError()])
def test_workers_that_do_not_end_in_time_cost_nothing_that_was_made(
    raised: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(reply: Any, timeout: float) -> Any:
        raise raised

    controller, killed = Controller(), list[Any]()
    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(ray, "kill", killed.append)
    end(controller)
    assert killed == [controller]
