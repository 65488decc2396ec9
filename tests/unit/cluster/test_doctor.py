"""The doctor's judgement of machines that differ from a good one in one thing."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from cluster.commands.setup.doctor import main
from cluster.doctor import Machine, demo_gib, judge, look
from cluster.ray.resources import GIB
from cluster.recipe.load import load
from cluster.run.work.workplace import asked
from verifier.errors import UserError

GPU = {"torch": "2.13.0"}
GOOD = Machine(
    python=(3, 11),
    in_venv=True,
    installed={"torch": "2.13.0+cpu", "ray": "2.60.0"},
    pinned={"torch": "2.13.0+cpu", "ray": "2.60.0"},
    origins={"verifier": "/repo/verifier/__init__.py"},
    home_of_packages="/repo",
    busy_ports=(),
    disk_free=50 * GIB,
    memory_available=20 * GIB,
    shm_free=8 * GIB,
    cpu_flags=frozenset({"avx2", "avx512f"}),
    architecture="x86_64",
    cores=2,
    gpus=(),
    environ={},
    token_mode=0o600,
    open_files=65536,
    cache_writable=True,
)


def test_a_good_machine_has_nothing_to_put_right() -> None:
    assert {f.status for f in judge(GOOD)} == {"ok"}


@pytest.mark.parametrize(
    ("change", "status", "names", "said"),
    [
        ({"python": (3, 12)}, "fail", "Python", "3.12"),
        ({"python": (3, 12), "installed": GPU, "pinned": GPU}, "warn", "Python", "3.12"),
        ({"python": (3, 10), "installed": GPU, "pinned": GPU}, "fail", "Python", "3.10"),
        ({"installed": {"torch": "2.13.0+cpu", "ray": "2.59.0"}}, "fail", "pinned versions", "ray 2.59.0, not 2.60.0"),
        ({"pinned": {}}, "warn", "pinned versions", "not compared"),
        ({"installed": {**GOOD.installed, "torchvision": "0.30"}}, "fail", "wheels that do not fit", "torchvision"),
        ({"origins": {"verifier": "/site/verifier.py"}}, "fail", "package names", "/site/verifier.py"),
        ({"origins": {"verifier": "/repo-old/verifier/__init__.py"}}, "fail", "package names", "/repo-old/verifier"),
        ({"origins": {"verifier": None}}, "fail", "package names", "not found"),
        ({"cpu_flags": frozenset({"avx2"})}, "warn", "CPU", "AVX2 only"),
        ({"cpu_flags": frozenset()}, "fail", "CPU", "no AVX2"),
        ({"architecture": "aarch64"}, "fail", "CPU", "aarch64"),
        ({"gpus": ("H100",)}, "warn", "GPU", "torch is the CPU build"),
        ({"environ": {"OMP_NUM_THREADS": "16"}}, "warn", "threads", "16 on 2 cores"),
        ({"memory_available": 2 * GIB}, "fail", "memory", "2.0 GiB"),
        ({"memory_available": 5 * GIB}, "warn", "memory", "5.0 GiB"),
        ({"shm_free": 64 * 1024**2}, "warn", "/dev/shm", "0.06 GiB"),
        ({"shm_free": None}, "warn", "/dev/shm", "absent"),
        ({"disk_free": GIB // 2}, "fail", "disk", "0.5 GiB"),
        ({"cache_writable": False}, "fail", "disk", "cannot be written"),
        ({"open_files": 1024}, "warn", "open files", "1024"),
        ({"busy_ports": (8000,)}, "warn", "ports", "8000 (interplay serve)"),
        ({"busy_ports": (52365,)}, "warn", "ports", "52365 (Ray job agent)"),
        ({"environ": {"RAY_AUTH_MODE": "disabled"}}, "warn", "Ray authentication", "switched off"),
        ({"token_mode": 0o644}, "warn", "Ray authentication", "mode 0644"),
    ],
)
def test_each_fault_is_one_finding_that_says_what_and_how(
    change: dict[str, object], status: str, names: str, said: str
) -> None:
    off = [f for f in judge(replace(GOOD, **change)) if f.status != "ok"]
    assert [(f.name, f.status) for f in off] == [(names, status)]
    assert said in off[0].detail
    assert bool(off[0].fix) is (said != "not compared")  # then there is nothing to do


def test_the_memory_is_that_which_the_demo_asks_for() -> None:
    for workers, status in ((1, "warn"), (2, "ok")):
        needed = asked(load("tiny-cpu", [f"fleet.rollout_workers={workers}"])).memory_gib
        found = [judge(replace(GOOD, memory_available=int(gib * GIB))) for gib in (needed - 0.01, needed + 0.01)]
        below, enough = ({f.name: f.status for f in of}["memory"] for of in found)
        assert (below, enough) == ("fail" if workers == 1 else "warn", status)
    assert asked(load("tiny-cpu")).memory_gib == pytest.approx(demo_gib(rollout_workers=2))


def test_a_card_without_a_recipe_is_refused() -> None:
    with pytest.raises(UserError, match="--card-gib is about a recipe"):
        main(card_gib=5)


def test_looking_at_this_machine_finds_our_own_packages() -> None:
    seen = look(os.environ)
    assert all(origin and origin.startswith(seen.home_of_packages) for origin in seen.origins.values())
    assert seen.cores >= 1
    assert len(seen.pinned) > 100
