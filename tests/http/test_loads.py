"""Loads that never lose a good engine, manifests that cost only themselves, and settings that many write at once."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from actors.policy.checkpoint import CheckpointError, CheckpointStore, Manifest
from serving.models.registry import Registry
from tests.http.conftest import Server, publish
from tests.http.test_models import ASK, answered_by, until


def rewrite(run_dir: Path, checkpoint: str, **fields: object) -> None:
    """Change fields of a manifest that is otherwise valid."""
    path = run_dir / "checkpoints" / checkpoint / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


async def status_of(server: Server, model: str) -> tuple[int, str]:
    answer = await server.client.post("/v1/completions", json={**ASK, "model": model})
    return answer.status_code, answer.json().get("error", {}).get("code", "")


async def test_a_checkpoint_that_does_not_start_evicts_nobody_where_there_is_one_place(serve, run_dir: Path):
    server = serve(engines_per_replica=1)
    assert await answered_by(server) == "demo@3"
    publish(CheckpointStore(run_dir / "checkpoints"), "rl", 4, seed=9)
    server.script.fail_to_start.add("demo@4")
    for _ in range(5):
        assert await answered_by(server) == "demo@3"
    assert await status_of(server, "demo@4") == (409, "load_failed")
    assert server.replica.service.router.pool.loaded == ["demo@3"]
    assert server.script.stopped == []
    assert (await server.client.get("/readyz")).status_code == 200


async def test_a_probe_key_cannot_evict_a_good_model_by_asking_for_broken_ones(serve, keys):
    server = serve(engines_per_replica=2)
    await answered_by(server, "demo@1")
    await answered_by(server, "demo@2")
    server.script.fail_to_start |= {"demo@3", "demo.pretrain@10"}
    async with server.as_key(keys.probe) as probe:
        for model in ("demo@3", "demo.pretrain@10") * 3:
            assert (await probe.post("/v1/completions", json={**ASK, "model": model})).status_code == 409
    assert server.replica.service.router.pool.loaded == ["demo@1", "demo@2"]


async def test_a_broken_checkpoint_is_tried_once_a_minute_however_many_ask(server: Server):
    tried: list[str] = []
    server.script.before_start = lambda entry: tried.append(entry.id) or 1 / (entry.id != "demo@2")
    for _ in range(10):
        assert await status_of(server, "demo@2") == (409, "load_failed")
    assert tried == ["demo@2"]
    server.script.before_start = None
    assert (await server.client.post("/v1/admin/load", json={"model": "demo@2"})).status_code == 200
    assert await answered_by(server, "demo@2") == "demo@2"


async def test_the_alias_of_a_fresh_server_passes_over_a_newest_checkpoint_that_is_broken(server: Server):
    server.script.fail_to_start.add("demo@3")
    assert await answered_by(server, "latest") == "demo@2"
    assert await status_of(server, "demo@3") == (409, "load_failed")
    cards = (await server.client.get("/v1/models")).json()["data"]
    assert {card["id"]: card["alias_of"] for card in cards}["latest"] == "demo@2"


async def test_the_old_engine_stops_only_after_the_new_one_has_answered(serve):
    server = serve(engines_per_replica=1)
    await answered_by(server, "demo@1")
    stopped_at_start: list[list[str]] = []
    server.script.before_start = lambda entry: stopped_at_start.append(list(server.script.stopped))
    await answered_by(server, "demo@2")
    await until(lambda: server.script.stopped == ["demo@1"])
    await answered_by(server, "demo@3")
    assert stopped_at_start == [[], ["demo@1"]], "and never more than one beyond the places"


async def test_weights_swapped_after_the_hash_check_are_not_the_ones_that_are_loaded(server: Server, run_dir: Path):
    weights = run_dir / "checkpoints" / "rl-2" / "model.safetensors"
    published = weights.read_bytes()
    read: list[bytes] = []
    start = server.replica.service.router.pool.factory.engine

    async def swapping(entry, directory: Path):
        weights.write_bytes(bytes(len(published)))
        read.append((directory / "model.safetensors").read_bytes())
        return await start(entry, directory)

    server.replica.service.router.pool.factory.engine = swapping
    await answered_by(server, "demo@2")
    assert read == [published]


async def test_weights_that_take_the_place_of_others_while_those_load_are_the_ones_that_answer(
    server: Server, run_dir: Path
):
    pool, registry = server.replica.service.router.pool, server.replica.service.router.registry
    begun, go, start = asyncio.Event(), asyncio.Event(), pool.factory.engine

    async def slowly(entry, directory: Path):
        begun.set()
        await go.wait()
        return await start(entry, directory)

    pool.factory.engine = slowly
    first = asyncio.create_task(pool.bring(registry.entries()["demo@2"]))
    await begun.wait()
    shutil.rmtree(run_dir / "checkpoints" / "rl-2")
    publish(CheckpointStore(run_dir / "checkpoints"), "rl", 2, seed=9)
    asked = asyncio.create_task(server.client.post("/v1/completions", json={**ASK, "model": "demo@2"}))
    await until(lambda: len(pool._loading) == 2 or asked.done())
    go.set()
    await first
    named = (await asked).json()["policy"]["weight_hash"]
    listed = registry.entries()["demo@2"].manifest.weight_hash
    assert named == listed == pool._loaded["demo@2"].entry.manifest.weight_hash


async def test_an_unload_whose_admin_hangs_up_stops_the_whole_engine(server: Server):
    await answered_by(server, "demo@1")
    pool = server.replica.service.router.pool
    begun, go, held = asyncio.Event(), asyncio.Event(), pool._loaded["demo@1"]
    stop = held.engine.stop

    async def slowly() -> None:
        begun.set()
        await go.wait()
        await stop()

    held.engine.stop = slowly
    unload = asyncio.create_task(pool.unload("demo@1"))
    await begun.wait()
    unload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unload
    go.set()
    await until(lambda: server.script.stopped == ["demo@1"])


async def test_many_who_ask_for_an_old_list_have_the_manifests_read_once(
    server: Server, run_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    begun, go, reads = threading.Event(), threading.Event(), list[int]()

    class Slow(CheckpointStore):
        def list(self) -> list[Manifest]:
            reads.append(1)
            begun.set()
            assert go.wait(60)
            return super().list()

    registry = server.replica.service.router.registry
    registry._stores["demo"] = Slow(run_dir / "checkpoints")
    registry._clock = lambda: 0.0  # what has been read does not grow old, however slow the machine is
    came, refresh = list[int](), registry.refresh

    async def coming() -> None:
        came.append(1)
        await refresh()

    monkeypatch.setattr(registry, "refresh", coming)
    asked = [asyncio.create_task(server.client.get(f"/v1/models{one}")) for one in ("", "/demo@1") * 4]
    await asyncio.to_thread(begun.wait, 60)
    await until(lambda: len(came) == 8)
    go.set()
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
    assert len(reads) == 1, "the others wait for the thread of the first"


async def test_a_server_whose_first_run_has_no_checkpoint_yet_becomes_ready_by_another(serve, run_dir: Path):
    server = serve(run_dirs=[run_dir.parent / "fresh", run_dir])
    assert (await server.client.get("/readyz")).status_code == 503
    await until(lambda: server.replica.service.ready)


def test_a_copy_takes_no_link_and_no_byte_that_the_manifest_does_not_name(run_dir: Path, tmp_path: Path):
    store = CheckpointStore(run_dir / "checkpoints")
    weights = store.path("rl-2") / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    (tmp_path / "a").mkdir()
    with pytest.raises(CheckpointError, match=r"model\.safetensors does not match"):
        store.copy_to("rl-2", tmp_path / "a")
    weights.rename(tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "b").mkdir()
    with pytest.raises(CheckpointError, match="is not the file that was published"):
        store.copy_to("rl-2", tmp_path / "b")


@pytest.mark.parametrize("step", [1, 2, 3])
async def test_errors_name_no_folder_of_the_machine(server: Server, run_dir: Path, step: int):
    shown = {
        1: OSError(f"no file named model.safetensors found in directory {run_dir}/checkpoints/rl-1"),
        2: RuntimeError("Cannot open '/var/lib/models/secret/model.safetensors' (os error 2)"),
        3: ValueError("see /etc/interplay/x.json"),
    }

    def fail(entry) -> None:
        raise shown[step]

    server.script.before_start = fail
    answer = await server.client.post("/v1/completions", json={**ASK, "model": f"demo@{step}"})
    assert answer.status_code == 409
    message = answer.json()["error"]["message"]
    assert "/" not in message
    assert "model.safetensors" in message or "x.json" in message


@pytest.mark.parametrize(
    "fields",
    [
        {"created": "yesterday"},
        {"created": "9999-99-99T00:00:00"},
        {"created": "0001-01-01T00:00:00"},
        {"created": ""},
        {"stage": "a" * 10_000},
        {"stage": "demo\0"},
        {"stage": "../demo"},
        {"stage": "\u202edemo"},
        {"parent": "p" * 10_000},
        {"score": float("nan")},
        {"flops": float("inf")},
        {"tokens": 10**30},
    ],
    ids=str,
)
async def test_a_manifest_that_cannot_be_shown_costs_its_own_checkpoint_only(
    server: Server, run_dir: Path, fields: dict[str, object], caplog: pytest.LogCaptureFixture
):
    rewrite(run_dir, "rl-2", **fields)
    await server.client.get("/v1/models")
    answer = await server.client.get("/v1/models")
    assert answer.status_code == 200, answer.text
    ids = [card["id"] for card in answer.json()["data"] if card["alias_of"] is None]
    assert ids == ["demo.pretrain@10", "demo@1", "demo@3"]
    assert await answered_by(server) == "demo@3"
    told = [record.__dict__ for record in caplog.records if record.message == "manifest_passed_over"]
    assert len(told) <= 1
    assert all(record["checkpoint"] == "rl-2" for record in told)


async def test_a_manifest_that_is_a_folder_or_cannot_be_read_costs_its_own_checkpoint_only(
    server: Server, run_dir: Path
):
    manifest = run_dir / "checkpoints" / "rl-2" / "manifest.json"
    manifest.unlink()
    manifest.mkdir()
    answer = await server.client.get("/v1/models")
    assert answer.status_code == 200
    assert "demo@2" not in {card["id"] for card in answer.json()["data"]}


async def test_forty_writers_at_once_are_all_kept(server: Server):
    """Forty requests of one replica; every answer says 200 and every alias is there afterwards."""
    bodies = [{"alias": f"a{number}", "model": "demo@1"} for number in range(40)]
    answers = await asyncio.gather(*(server.client.post("/v1/admin/alias", json=body) for body in bodies))
    assert [answer.status_code for answer in answers] == [200] * 40
    kept = server.replica.service.router.registry.state().aliases
    assert sorted(kept) == sorted(body["alias"] for body in bodies)


async def test_writers_of_two_replicas_keep_each_others_settings(run_dir: Path):
    replicas = [Registry((run_dir,)), Registry((run_dir,))]

    def write(number: int) -> None:
        replicas[number % 2].set_alias(f"a{number}", "demo@1")
        replicas[number % 2].pin(f"demo@{number}")

    await asyncio.gather(*(asyncio.to_thread(write, number) for number in range(24)))
    state = replicas[0].state()
    assert len(state.aliases) == len(state.pinned) == 24


def test_what_another_replica_writes_within_a_tick_of_the_clock_is_seen(run_dir: Path):
    one, other = Registry((run_dir,)), Registry((run_dir,))
    one.set_alias("mine", "demo@1")
    assert other.state().aliases == {"mine": "demo@1"}
    before = (run_dir / "serving.json").stat()
    one.set_alias("mine", "demo@2")
    os.utime(run_dir / "serving.json", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert other.state().aliases == {"mine": "demo@2"}


async def test_what_admins_have_set_on_a_checkpoint_that_is_deleted_can_be_taken_back(serve, run_dir: Path):
    server = serve()
    await server.client.post("/v1/admin/load", json={"model": "demo@1"})
    setting = {"alias": "latest", "model": "demo@1", "share": 0.5}
    assert (await server.client.post("/v1/admin/canary", json=setting)).json()["state"] == "running"
    shutil.rmtree(run_dir / "checkpoints" / "rl-1")
    after_a_restart = serve().client
    unpinned = await after_a_restart.post("/v1/admin/unload", json={"model": "demo@1"})
    assert (unpinned.status_code, unpinned.json()["pinned"]) == (200, [])
    assert (await after_a_restart.post("/v1/admin/unload", json={"model": "demo@1"})).status_code == 404
    ended = await after_a_restart.post("/v1/admin/canary", json={**setting, "share": 0})
    assert (ended.status_code, ended.json()["state"]) == (200, "none")


def test_a_run_folder_that_takes_no_writes_says_so(run_dir: Path):
    registry = Registry((run_dir,))
    registry.entries()
    shutil.rmtree(run_dir)
    with pytest.raises(ValueError, match="takes no writes"):
        registry.pin("demo@1")
