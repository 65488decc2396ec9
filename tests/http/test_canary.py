"""The canary: a part of the traffic, its judgements, and the end that they, an admin or another writer bring."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path
from typing import Any

import pytest

from serving.models.registry import CanarySetting, Registry, Resolved
from serving.models.traffic_split import Canary, radius
from tests.http.conftest import Server
from tests.http.test_models import answered_by
from tests.http.test_probe import CELL, GOLD


async def test_a_worse_canary_is_rolled_back_by_its_judgements(server: Server):
    server.script.write = lambda model, seed: " </solution>" if model == "demo@1" else GOLD
    setting = {"alias": "latest", "model": "demo@1", "share": 0.5}
    assert (await server.client.post("/v1/admin/canary", json=setting)).json()["state"] == "running"
    await server.client.post("/v1/admin/load", json={"model": "demo@1"})
    sides: set[str] = set()
    state: dict[str, Any] = {}
    for _ in range(400):
        body = {"model": "latest", "problem": CELL, "stream": False}
        sides.add((await server.client.post("/v1/probe/solve", json=body)).json()["policy"]["model"])
        state = (await server.client.get("/v1/admin/canary")).json()
        if state["state"] == "rolled back":
            break
    assert state["state"] == "rolled back"
    assert any("rolled back: process accuracy 0.000" in line for line in state["log"])
    assert sides == {"demo@1", "demo@3"}
    assert state["canary"]["judged"] < 150
    assert await answered_by(server) == "demo@3"


async def test_no_caller_can_steer_judgements_to_one_side_of_a_canary(server: Server):
    """A named user stays on one side and a stream shows the side while it runs: neither is counted."""
    server.script.write = lambda model, seed: GOLD
    await server.client.post("/v1/admin/canary", json={"alias": "latest", "model": "demo@1", "share": 0.5})
    await server.client.post("/v1/admin/load", json={"model": "demo@1"})
    sides: dict[str, set[str]] = {}
    for number in range(24):
        body = {"model": "latest", "problem": CELL, "stream": False, "user": f"user-{number % 8}"}
        answer = (await server.client.post("/v1/probe/solve", json=body)).json()
        sides.setdefault(body["user"], set()).add(answer["policy"]["model"])
        await server.client.post("/v1/probe/solve", json={"model": "latest", "problem": CELL})
    assert {len(models) for models in sides.values()} == {1}
    state = (await server.client.get("/v1/admin/canary")).json()
    assert (state["stable"], state["canary"]) == (None, None)
    await server.client.post("/v1/probe/solve", json={"model": "latest", "problem": CELL, "stream": False})
    state = (await server.client.get("/v1/admin/canary")).json()
    assert (state["stable"] is None) != (state["canary"] is None)


async def test_an_equal_canary_stays_and_an_admin_can_end_it(server: Server):
    server.script.write = lambda model, seed: GOLD
    await server.client.post("/v1/admin/canary", json={"alias": "latest", "model": "demo@1", "share": 0.5})
    await server.client.post("/v1/admin/load", json={"model": "demo@1"})
    for _ in range(60):
        await server.client.post("/v1/probe/solve", json={"model": "latest", "problem": CELL, "stream": False})
    state = (await server.client.get("/v1/admin/canary")).json()
    assert state["state"] == "running"
    assert state["canary"]["process_accuracy"] == 1.0
    ended = await server.client.post("/v1/admin/canary", json={"alias": "latest", "model": "demo@1", "share": 0})
    assert ended.json()["state"] == "none"


async def judged_until_rolled_back(canary: Canary, registry: Registry) -> int:
    """Judgements of each side until the canary, which is always wrong, is taken back."""
    entries = registry.entries()
    for number in range(1, 200):
        await canary.observe(Resolved("latest", entries["demo@3"], "stable"), 1.0)
        await canary.observe(Resolved("latest", entries["demo@1"], "canary"), 0.0)
        if registry.state().canary is None:
            return number
    raise AssertionError("it was not rolled back")


WORSE = CanarySetting(alias="latest", model="demo@1", share=0.5)


async def test_a_canary_that_is_started_again_is_judged_by_its_new_answers_alone(run_dir: Path):
    registry, other_replica = Registry((run_dir,)), Registry((run_dir,))
    canary, other = Canary(registry), Canary(other_replica)
    canary.start(WORSE)
    await other.observe(Resolved("latest", registry.entries()["demo@3"], "stable"), 1.0)
    first = await judged_until_rolled_back(canary, registry)
    told = canary.answer()
    assert (told.state, told.canary and told.canary.judged) == ("rolled back", first)
    canary.start(WORSE)
    for one in (canary, other):
        assert (one.answer().stable, one.answer().canary) == (None, None)
    assert await judged_until_rolled_back(canary, registry) == first


async def test_a_judgement_on_a_canary_waits_for_another_writer_off_the_event_loop_and_is_written_once(run_dir: Path):
    registry = Registry((run_dir,))
    canary, entries = Canary(registry), registry.entries()
    canary.start(WORSE)
    for _ in range(50):
        await canary.observe(Resolved("latest", entries["demo@3"], "stable"), 1.0)
    wrong = Resolved("latest", entries["demo@1"], "canary")
    with (run_dir / ".serving.json.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        last = asyncio.create_task(canary.observe(wrong, 0.0))
        for _ in range(50):
            if not (await asyncio.wait({last}, timeout=0.02))[0]:
                break
            last = asyncio.create_task(canary.observe(wrong, 0.0))
        assert not last.done()
        await canary.observe(wrong, 0.0)
        assert registry.state().canary_state == "running"
    await last
    assert registry.state().canary_state == "rolled back"
    assert sum("rolled back" in line for line in registry.state().log) == 1


async def test_a_judgement_that_comes_late_does_not_end_a_canary_that_was_started_meanwhile(run_dir: Path):
    registry, other_replica = Registry((run_dir,)), Registry((run_dir,))
    canary, entries = Canary(registry), registry.entries()
    canary.start(WORSE)
    known = registry.state()
    registry.state = lambda: known  # this replica has not seen yet what the other one writes
    Canary(other_replica).start(WORSE)
    for _ in range(100):
        await canary.observe(Resolved("latest", entries["demo@3"], "stable"), 1.0)
        await canary.observe(Resolved("latest", entries["demo@1"], "canary"), 0.0)
    assert other_replica.state().canary_state == "running"


def test_the_confidence_radius_is_the_published_one_and_shrinks():
    # Howard et al. 2021, eq. 14, for 1/2-sub-Gaussian values with rho = 50, by hand for n = 50 and alpha = 0.05:
    # sqrt(100 * ln(100 / (50 * 0.0025)) / 4) / 50 = sqrt(25 * ln 800) / 50
    assert radius(50, alpha=0.05) == pytest.approx((25 * 6.684611727667927) ** 0.5 / 50)
    assert radius(10) > radius(100) > radius(1000)
