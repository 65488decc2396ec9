"""Models, aliases, hot loading, broken checkpoints, hostile ids: the registry seen through HTTP."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from actors.policy.checkpoint import CheckpointStore, Manifest
from serving.config import SameRun, require_run_names
from serving.models.registry import Registry
from tests.http.conftest import Server, publish
from tests.http.test_probe import CELL

ASK = {"model": "latest", "prompt": "a", "seed": 1}


async def answered_by(server: Server, model: str = "latest") -> str:
    answer = await server.client.post("/v1/completions", json={**ASK, "model": model})
    assert answer.status_code == 200, answer.text
    return answer.json()["policy"]["model"]


async def until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    """Wait for what a background task does."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - nothing of ours signals it to a caller
            await asyncio.sleep(0.01)


async def test_models_lists_aliases_and_every_checkpoint(server: Server):
    cards = (await server.client.get("/v1/models")).json()["data"]
    by_id = {card["id"]: card for card in cards}
    assert [c["id"] for c in cards if c["alias_of"] is None] == ["demo.pretrain@10", "demo@1", "demo@2", "demo@3"]
    assert by_id["latest"]["alias_of"] == "demo@3"
    assert by_id["best"]["alias_of"] == "demo@2"
    assert by_id["base"]["alias_of"] == "demo.pretrain@10"
    assert by_id["demo@latest"]["alias_of"] == "demo@3"
    assert by_id["demo@2"]["weight_hash"] != by_id["demo@3"]["weight_hash"]
    one = (await server.client.get("/v1/models/demo@2")).json()
    assert one == by_id["demo@2"]


@pytest.mark.parametrize(
    "name",
    [
        "../..",
        "..",
        ".",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://169.254.169.254/latest",
        "%2e%2e%2f%2e%2e",
        "demo@99",
        "demo@",
        "@3",
        "rl-3",
        "demo@3/..",
        "demo@3\n",
        "DEMO@3",
        "demo@linked",
        "link-7",
        "demo@7",
        "\u0661",
    ],
)
async def test_hostile_ids_are_unknown_and_open_nothing_outside(server: Server, run_dir: Path, name: str):
    outside = run_dir.parent / "outside-7"
    outside.mkdir()
    (outside / "manifest.json").write_text("{}")
    (run_dir / "checkpoints" / "rl-7").symlink_to(outside, target_is_directory=True)
    assert await answered_by(server) == "demo@3"
    opened: list[str] = []
    watching = True

    def audit(event: str, args: tuple) -> None:
        if (
            watching
            and event in ("open", "os.listdir", "os.scandir")
            and isinstance(args[0], (str, bytes, os.PathLike))
        ):
            opened.append(os.path.realpath(os.fsdecode(args[0])))

    sys.addaudithook(audit)
    try:
        for path, body in [
            ("/v1/completions", {**ASK, "model": name}),
            ("/v1/probe/solve", {"model": name, "problem": CELL}),
            ("/v1/admin/load", {"model": name}),
            ("/v1/admin/unload", {"model": name}),
            ("/v1/admin/alias", {"alias": "mine", "model": name}),
            ("/v1/admin/canary", {"alias": "latest", "model": name, "share": 0.1}),
        ]:
            answer = await server.client.post(path, json=body)
            assert answer.status_code == 404, (path, answer.text)
            assert answer.json()["error"]["code"] in ("model_not_found", "not_loaded")
        assert (await server.client.get(f"/v1/models/{quote(name, safe='')}")).status_code in (200, 401, 404)
    finally:
        watching = False  # an audit hook stays for good; this one goes quiet
    inside = str(run_dir)
    assert [path for path in opened if "outside" in path or "passwd" in path] == []
    assert [p for p in opened if p.startswith(str(run_dir.parent)) and not p.startswith(inside)] == []


async def test_a_new_checkpoint_is_taken_up_without_a_failed_request(server: Server, run_dir: Path):
    assert await answered_by(server) == "demo@3"
    publish(CheckpointStore(run_dir / "checkpoints"), "rl", 4, seed=9)
    seen = [await answered_by(server)]
    async with asyncio.timeout(60):
        while seen[-1] != "demo@4":
            await asyncio.sleep(0.01)
            seen.append(await answered_by(server))
    assert set(seen) <= {"demo@3", "demo@4"}
    assert sorted(seen) == seen, "once moved, the alias does not go back"
    await server.replica.service.router.pool.unload("demo@3")
    assert server.script.stopped == ["demo@3"]


async def test_broken_weights_never_fail_a_request_and_the_admin_gets_the_reason(server: Server, run_dir: Path):
    assert await answered_by(server) == "demo@3"
    publish(CheckpointStore(run_dir / "checkpoints"), "rl", 5, seed=9)
    weights = run_dir / "checkpoints" / "rl-5" / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-3] ^= 1
    weights.write_bytes(damaged)
    for _ in range(30):
        assert await answered_by(server) == "demo@3"
    load = await server.client.post("/v1/admin/load", json={"model": "demo@5"})
    assert load.status_code == 409
    assert load.json()["error"]["code"] == "checkpoint_invalid"
    assert "model.safetensors does not match" in load.json()["error"]["message"]
    server.script.fail_to_start.add("demo@1")
    other = await server.client.post("/v1/admin/load", json={"model": "demo@1"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "load_failed")
    assert "another shape" in other.json()["error"]["message"]
    assert await answered_by(server) == "demo@3"


async def test_a_checkpoint_deleted_while_served_goes_on_and_cannot_be_loaded_again(server: Server, run_dir: Path):
    assert await answered_by(server, "demo@1") == "demo@1"
    assert await answered_by(server) == "demo@3"
    CheckpointStore(run_dir / "checkpoints").retain("rl", keep_last=1)  # keeps rl-3, and rl-2 because it is the best
    assert await answered_by(server) == "demo@3"
    gone = await server.client.post("/v1/completions", json={**ASK, "model": "demo@1"})
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "model_not_found")
    assert (await server.client.post("/v1/admin/load", json={"model": "demo@1"})).status_code == 404
    assert await answered_by(server) == "demo@3"


async def test_a_checkpoint_deleted_while_it_loads_is_refused_and_the_alias_stays(server: Server, run_dir: Path):
    assert await answered_by(server) == "demo@3"
    publish(CheckpointStore(run_dir / "checkpoints"), "rl", 6, seed=9)
    server.script.before_start = lambda entry: shutil.rmtree(run_dir / "checkpoints" / entry.manifest.id)
    load = await server.client.post("/v1/admin/load", json={"model": "demo@6"})
    assert (load.status_code, load.json()["error"]["code"]) == (409, "load_failed")
    assert await answered_by(server) == "demo@3"
    assert "demo@6" not in {card["id"] for card in (await server.client.get("/v1/models")).json()["data"]}


async def test_a_model_of_the_longest_name_that_is_listed_can_be_asked_for(serve, tmp_path: Path):
    longest = tmp_path / ("r" * 64)
    publish(CheckpointStore(longest / "checkpoints"), "s" * 63, 999_999_999, seed=1)
    server = serve(run_dirs=[longest])
    cards = (await server.client.get("/v1/models")).json()["data"]
    assert max(len(card["id"]) for card in cards) == 64 + 1 + 63 + 1 + 9
    assert {await answered_by(server, card["id"]) for card in cards} == {f"{'r' * 64}.{'s' * 63}@999999999"}


async def test_the_least_recently_used_idle_model_gives_way_and_pins_stay(serve):
    server = serve(engines_per_replica=2)
    pool = server.replica.service.router.pool
    await answered_by(server, "demo@1")
    await answered_by(server, "demo@2")
    await answered_by(server, "demo@1")
    await answered_by(server, "demo@3")
    assert pool.loaded == ["demo@1", "demo@3"]
    pinned = (await server.client.post("/v1/admin/load", json={"model": "demo@1"})).json()
    assert pinned["pinned"] == ["demo@1"]
    await answered_by(server, "demo@2")
    assert pool.loaded == ["demo@1", "demo@2"]
    assert (await server.client.post("/v1/admin/load", json={"model": "base"})).status_code == 200
    refused = await server.client.post("/v1/completions", json={**ASK, "model": "demo@3"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "all_pinned")
    assert (await server.client.post("/v1/admin/unload", json={"model": "demo@1"})).json()["pinned"] == [
        "demo.pretrain@10"
    ]
    assert await answered_by(server, "demo@3") == "demo@3"


async def test_a_model_in_use_finishes_before_it_gives_way(serve):
    server = serve(engines_per_replica=1)
    await answered_by(server, "demo@1")
    server.script.gate = asyncio.Event()
    held = asyncio.create_task(server.client.post("/v1/completions", json={**ASK, "model": "demo@1"}))
    await until(lambda: server.script.open == 1)
    other = asyncio.create_task(answered_by(server, "demo@2"))
    busy = await server.client.post("/v1/admin/unload", json={"model": "demo@1"})
    assert busy.status_code in (404, 409)
    assert not server.script.stopped
    server.script.gate.set()
    assert (await held).json()["policy"]["model"] == "demo@1"
    assert await other == "demo@2"
    assert server.script.stopped == ["demo@1"]


async def test_many_who_ask_for_one_model_load_it_once(server: Server):
    await asyncio.gather(*(answered_by(server, "demo@2") for _ in range(20)))
    assert server.script.started.count("demo@2") == 1


async def test_an_engine_that_dies_is_replaced(server: Server):
    assert await answered_by(server) == "demo@3"
    server.script.dies = True
    failed = await server.client.post("/v1/completions", json=ASK)
    assert (failed.status_code, failed.json()["error"]["code"]) == (503, "engine_failed")
    server.script.dies = False
    assert await answered_by(server) == "demo@3"
    assert server.script.started.count("demo@3") == 2


async def test_an_engine_that_ends_while_nobody_asks_counts_as_gone_and_the_next_request_gets_another(server: Server):
    await answered_by(server, "demo@1")
    await answered_by(server)
    first, second = server.script.engines
    first.ended = True
    assert (await server.client.get("/readyz")).json()["loaded"] == ["demo@3"]
    cards = {card["id"]: card for card in (await server.client.get("/v1/models")).json()["data"]}
    assert (cards["demo@1"]["loaded"], cards["demo@1"]["max_model_len"]) == (False, None)
    assert "interplay_models_loaded 1.0" in (await server.client.get("/metrics")).text
    assert await answered_by(server, "demo@1") == "demo@1"
    second.ended = True
    assert await answered_by(server) == "demo@3"
    assert server.script.started == ["demo@1", "demo@3", "demo@1", "demo@3"]
    assert server.script.stopped == ["demo@1", "demo@3"]


async def test_a_server_whose_engines_have_all_ended_is_not_ready_and_starts_another(server: Server):
    await answered_by(server)
    server.script.engines[0].ended = True
    answer = await server.client.get("/readyz")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
    await until(lambda: server.replica.service.ready)
    assert (await server.client.get("/readyz")).json()["loaded"] == ["demo@3"]


async def test_an_engine_that_has_ended_gives_its_place_to_whoever_asks_next(serve):
    server = serve(engines_per_replica=2)
    await answered_by(server, "demo@1")
    await answered_by(server, "demo@2")
    server.script.engines[1].ended = True
    await answered_by(server, "demo@3")
    assert server.replica.service.router.pool.loaded == ["demo@1", "demo@3"]


async def test_aliases_can_be_set_and_survive_a_restart(server: Server, serve):
    put = await server.client.post("/v1/admin/alias", json={"alias": "good", "model": "demo@2"})
    assert put.json()["aliases"]["good"] == "demo@2"
    assert await answered_by(server, "good") == "demo@2"
    assert await answered_by(serve(), "good") == "demo@2"
    fixed = await server.client.post("/v1/admin/alias", json={"alias": "latest", "model": "demo@1"})
    assert fixed.json()["aliases"]["latest"] == "demo@1"
    back = await server.client.post("/v1/admin/alias", json={"alias": "latest", "model": None})
    assert back.json()["aliases"]["latest"] == "demo@3"
    gone = await server.client.post("/v1/admin/alias", json={"alias": "good", "model": None})
    assert "good" not in gone.json()["aliases"]
    assert (await server.client.post("/v1/admin/alias", json={"alias": "good", "model": None})).status_code == 404
    assert (await server.client.post("/v1/admin/alias", json={"alias": "A b", "model": None})).status_code == 400


async def test_manifests_are_read_off_the_event_loop_while_requests_come(server: Server, run_dir: Path):
    read_in: list[int] = []

    class Noted(CheckpointStore):
        def list(self) -> list[Manifest]:
            read_in.append(threading.get_ident())
            return super().list()

    registry = server.replica.service.router.registry
    registry._stores["demo"] = Noted(run_dir / "checkpoints")
    registry._clock = lambda: 0.0  # however long a request takes, it finds the listing that it has read
    for _ in range(3):
        registry._listed_at = None  # as after two seconds
        await answered_by(server)
    assert len(read_in) == 3
    assert threading.get_ident() not in read_in


def test_a_listing_costs_nothing_while_nothing_changes(run_dir: Path):
    now = [0.0]
    registry = Registry((run_dir,), clock=lambda: now[0])
    first = registry.entries()
    assert registry.entries() is first
    publish(CheckpointStore(run_dir / "checkpoints"), "rl", 8, seed=1)
    now[0] += 3.0
    assert "demo@8" in registry.entries()


def test_best_is_the_checkpoint_that_the_run_calls_best(run_dir: Path):
    store = CheckpointStore(run_dir / "checkpoints")

    def bests() -> set[str | None]:
        run = store.best()
        return {run and run.id, Registry((run_dir,)).aliases()["best"].manifest.id}

    assert bests() == {"rl-2"}
    store.rescore("rl-1", 0.2)
    assert bests() == {"rl-1"}, "an evaluation counts more than the rollouts of the training"
    store.rescore("rl-3", 0.2)
    assert bests() == {"rl-3"}, "the later of equals"


def test_runs_of_one_recipe_answer_for_themselves_by_their_folders(run_dir: Path, tmp_path: Path):
    other = Path(shutil.copytree(run_dir, tmp_path / "second"))
    publish(CheckpointStore(other / "checkpoints"), "rl", 9, seed=7)  # its manifest says demo
    registry = Registry((run_dir, other))
    entries, aliases = registry.entries(), registry.aliases()
    assert {"demo@1", "second@1", "second@9", "demo.pretrain@10", "second.pretrain@10"} <= entries.keys()
    assert "demo@9" not in entries
    assert (aliases["latest"].id, aliases["demo@latest"].id, aliases["second@latest"].id) == (
        "demo@3",
        "demo@3",
        "second@9",
    )
    assert entries["demo@1"].store.root.parent.name == "demo"
    assert entries["second@1"].store.root.parent.name == "second"


def test_runs_that_could_not_be_told_apart_are_not_served_together(tmp_path: Path):
    folders = [tmp_path / "a" / "demo", tmp_path / "b" / "demo"]
    with pytest.raises(SameRun, match="are both called 'demo'") as refused:
        require_run_names(folders)
    assert "Rename one of the folders" in refused.value.fix
    require_run_names([tmp_path / "a" / "demo", tmp_path / "b" / "other"])
    with pytest.raises(SameRun, match="'my run' cannot stand in a model id"):
        require_run_names([tmp_path / "my run"])
