"""What a dashboard shows is what the event log holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue] - made at import
from tensorboardX.record_writer import masked_crc32c

from actors.telemetry import EventLog
from cluster.run.work.trackers import Dashboards
from verifier.errors import UserError


def scalars(folder: Path) -> Iterator[tuple[str, int, float]]:
    """The scalars of a TensorBoard file: length, its checksum, event, its checksum, and again."""
    (path,) = (folder / "tensorboard").iterdir()
    data = path.read_bytes()
    while data:
        size = int.from_bytes(data[:8], "little")
        body = data[12 : 12 + size]
        assert masked_crc32c(body) == int.from_bytes(data[12 + size : 16 + size], "little")
        event = Event.FromString(body)
        yield from ((value.tag, event.step, value.simple_value) for value in event.summary.value)
        data = data[16 + size :]


def test_tensorboard_gets_every_number_at_its_step_and_once(tmp_path):
    with EventLog(tmp_path / "metrics.jsonl") as log:
        log.write("rl_step", stage="rl", step=1, reward=0.25, loss=float("nan"), groups={"consumed": 3})
        dashboards = Dashboards("r", tmp_path, ("tensorboard",))
        dashboards.catch_up()
        log.write("rl_step", stage="rl", step=2, reward=0.5)
        log.write("sync", stage="rl", weight_version=2, worker="rollout-0.1", load_s=0.125)
        log.write("fleet", stage="rl", rollout_restarts=0)
        dashboards.close()
    assert list(scalars(tmp_path)) == [
        ("rl/reward", 1, 0.25),
        ("rl/reward", 2, 0.5),
        ("rl-sync-rollout-0/load_s", 2, 0.125),
    ]


def test_a_resumed_run_tells_its_dashboard_all_over_again(tmp_path):
    with EventLog(tmp_path / "metrics.jsonl") as log:
        for step in (1, 2):
            log.write("rl_step", stage="rl", step=step, reward=0.5)
            Dashboards("r", tmp_path, ("tensorboard",)).close()
    assert [step for _, step, _ in scalars(tmp_path)] == [1, 2]


def test_without_trackers_nothing_is_written(tmp_path):
    dashboards = Dashboards("r", tmp_path, ())
    dashboards.catch_up()
    dashboards.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(find_spec("wandb") is not None, reason="wandb is installed here")
def test_a_tracker_that_is_not_installed_is_named_before_anything_starts(tmp_path):
    with pytest.raises(UserError, match="wandb, which is not installed"):
        Dashboards("r", tmp_path, ("wandb",))
    assert "wandb" not in sys.modules
