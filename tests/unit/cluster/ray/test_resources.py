"""Asked, available, missing."""

from __future__ import annotations

import os

import pytest

from cluster.errors import NotEnough
from cluster.ray.resources import GIB, Resources, of_ray, of_this_machine, require, table
from cluster.recipe.load import load
from cluster.run.work.workplace import asked


def test_enough_is_enough_to_the_last_core() -> None:
    require(Resources(2, 1, 4), Resources(2, 1, 4), "here")


def test_what_is_missing_is_shown_in_a_table() -> None:
    with pytest.raises(NotEnough) as caught:
        require(Resources(cpus=8, gpus=1), Resources(cpus=2), "this machine")
    text = str(caught.value)
    assert "this machine has less" in text
    assert ["cpus", "8.00", "2.00", "6.00"] in [line.split() for line in text.splitlines()]
    assert ["gpus", "1.00", "0.00", "1.00"] in [line.split() for line in text.splitlines()]
    assert "--address" in caught.value.fix


def test_fractions_that_add_up_to_a_whole_fit() -> None:
    require(Resources(sum([0.1] * 10)), Resources(1), "here")


def test_ray_counts_memory_in_bytes() -> None:
    assert of_ray({"CPU": 4.0, "memory": 2.0 * GIB, "node:1": 1.0}) == Resources(4, 0, 2)


def test_this_machine_has_cores_and_memory() -> None:
    here = of_this_machine()
    assert here.cpus >= 1
    assert here.memory_gib > 0


@pytest.mark.parametrize(("named", "seen"), [(None, 2), ("", 0), ("1", 1), ("0,1,2", 2), ("-1", 0), ("0,-1,1", 1)])
def test_the_gpus_that_are_hidden_are_not_there(monkeypatch: pytest.MonkeyPatch, named: str | None, seen: int) -> None:
    monkeypatch.setattr(os, "listdir", lambda _: ["nvidia0", "nvidia1", "nvidiactl", "null"])
    if named is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert of_this_machine().gpus == seen


def test_the_table_never_shows_a_negative_gap() -> None:
    assert "-" not in table(Resources(1), Resources(64, 8, 500))


def test_memory_is_asked_for_by_the_processes_of_the_fleet_and_their_caches() -> None:
    few = asked(load("tiny-cpu", ["fleet.rollout_workers=1"]))
    many = asked(load("tiny-cpu", ["fleet.rollout_workers=5", "engine.kv_cache_mib=1024"]))
    assert 4 < few.memory_gib < 8
    assert many.memory_gib == pytest.approx(few.memory_gib + 4 * 1.1 + 5 * 1.0 - 0.25)
    on_gpu = asked(
        load(
            "tiny-cpu",
            ["fleet.rollout_workers=5", "engine.kv_cache_mib=1024", "engine.device=cuda", "fleet.rollout_gpus=1"],
        )
    )
    assert on_gpu.memory_gib == pytest.approx(many.memory_gib - 5 * 1.0)
