"""Checkpoints are whole or absent, and are what their manifest says."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from actors.policy.checkpoint import MANIFEST, WEIGHTS, CheckpointError, CheckpointStore, CheckpointWriteError, Lineage


def lineage(step: int, **fields) -> Lineage:
    return Lineage(**{"run": "r", "stage": "rl", "step": step, "parent": None, "seed": 0, **fields})


def writer(weights: bytes = b"w"):
    def write(directory: Path) -> None:
        (directory / WEIGHTS).write_bytes(weights)
        (directory / "config.json").write_text("{}")
        (directory / "tokenizer.json").write_text("{}")
        (directory / "resume").mkdir()
        (directory / "resume" / "loop.json").write_text("{}")

    return write


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


def test_a_published_checkpoint_is_listed_with_its_lineage_and_hashes(store):
    manifest = store.publish(lineage(3, parent="pretrain-9", tokens=7), writer())
    assert store.list() == [manifest]
    assert store.get("rl-3") == manifest
    assert (manifest.id, manifest.parent, manifest.tokens) == ("rl-3", "pretrain-9", 7)
    assert set(manifest.files) == {WEIGHTS, "config.json", "tokenizer.json", "resume/loop.json"}


def test_a_good_checkpoint_is_never_replaced(store):
    first = store.publish(lineage(3), writer())
    assert store.publish(lineage(3), writer()) == first
    with pytest.raises(CheckpointError, match="not replaced"):
        store.publish(lineage(3), writer(b"other"))
    assert store.get("rl-3") == first


@pytest.mark.parametrize("stage", ["pretrain", "rl"])
def test_the_checkpoint_published_last_is_the_newest_though_the_clock_was_set_back(store, stage):
    first = store.publish(lineage(1, stage=stage), writer())
    path = store.root / first.id / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "created": "2199-01-01T00:00:00.000000+00:00"}))
    for step in (2, 3):
        store.publish(lineage(step), writer())
        store.retain("rl", 1)
    assert store.latest() == store.latest("rl") == store.get("rl-3")
    assert [m.id for m in store.list()][:-1] == ["pretrain-1"] * (stage == "pretrain")


def test_a_broken_checkpoint_is_moved_aside_when_its_step_is_redone(store):
    store.publish(lineage(3), writer())
    (store.root / "rl-3" / WEIGHTS).write_bytes(b"x")
    again = store.publish(lineage(3), writer())
    assert store.get("rl-3") == again
    assert [p.name for p in store.root.iterdir() if p.name.startswith(".bad-")] == [".bad-rl-3.0"]


def test_a_writer_that_fails_leaves_nothing_behind(store):
    def write(directory: Path) -> None:
        writer()(directory)
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointWriteError, match="No space left"):
        store.publish(lineage(1), write)
    assert list(store.root.iterdir()) == []


@pytest.mark.parametrize("damage", ["flip", "truncate", "missing", "extra", "no manifest", "torn manifest", "symlink"])
def test_every_kind_of_damage_is_refused_with_a_reason_and_passed_over(store, damage):
    good = store.publish(lineage(1), writer())
    store.publish(lineage(2), writer(b"two"))
    path = store.root / "rl-2"
    match damage:
        case "flip":
            (path / WEIGHTS).write_bytes(b"twp")
        case "truncate":
            (path / WEIGHTS).write_bytes(b"")
        case "missing":
            (path / "tokenizer.json").unlink()
        case "extra":
            (path / "code.py").write_text("")
        case "no manifest":
            (path / MANIFEST).unlink()
        case "torn manifest":
            (path / MANIFEST).write_text((path / MANIFEST).read_text()[:40])
        case "symlink":
            (path / WEIGHTS).rename(store.root.parent / "elsewhere")
            (path / WEIGHTS).symlink_to(store.root.parent / "elsewhere")
    with pytest.raises(CheckpointError, match="rl-2"):
        store.get("rl-2")
    assert store.latest("rl") == good


@pytest.mark.parametrize("name", ["..", ".", "", "../rl-1", "/etc", "rl-1/../rl-1", ".tmp-rl-1", "rl-9"])
def test_only_plain_names_of_the_listing_resolve(store, name):
    store.publish(lineage(1), writer())
    with pytest.raises(CheckpointError, match="no checkpoint"):
        store.path(name)


def test_a_linked_directory_is_no_checkpoint(store, tmp_path):
    store.publish(lineage(1), writer())
    (store.root / "rl-1").rename(tmp_path / "rl-1")
    (store.root / "rl-1").symlink_to(tmp_path / "rl-1")
    assert store.list() == []
    with pytest.raises(CheckpointError):
        store.get("rl-1")


def test_an_adopted_checkpoint_keeps_its_lineage_and_weights_but_not_the_optimiser(store, tmp_path):
    original = store.publish(lineage(3, parent="pretrain-9", tokens=7), writer())
    other = CheckpointStore(tmp_path / "other")
    adopted = other.adopt(store, "rl-3")
    assert other.get("rl-3") == adopted
    assert (adopted.parent, adopted.tokens, adopted.weight_hash) == ("pretrain-9", 7, original.weight_hash)
    assert "resume/loop.json" not in adopted.files


def test_best_is_the_highest_score_and_retention_spares_it(store):
    for step, score in enumerate([0.1, 0.9, 0.3, 0.4]):
        store.publish(lineage(step, score=score), writer(bytes([step])))
    assert store.best().step == 1
    store.retain("rl", keep_last=1)
    assert [m.step for m in store.list()] == [1, 3]


def test_best_is_one_that_was_evaluated_where_any_was(store):
    for step, (score, evaluated) in enumerate([(0.9, False), (0.4, True), (0.3, True), (0.8, False)]):
        store.publish(lineage(step, score=score, evaluated=evaluated), writer(bytes([step])))
    assert store.best().step == 1


def test_a_score_that_comes_later_changes_nothing_else_of_a_checkpoint_and_leaves_no_file(store):
    published = store.publish(lineage(1, score=0.9), writer())
    store.publish(lineage(2, score=0.5, evaluated=True), writer(b"other"))
    store.rescore("rl-1", 0.7)
    assert store.get("rl-1") == published.model_copy(update={"score": 0.7, "evaluated": True})
    assert store.best().id == "rl-1"
    assert sorted(entry.name for entry in store.root.iterdir()) == ["rl-1", "rl-2"]


def test_a_score_that_cannot_be_written_leaves_the_one_there_was(store):
    published = store.publish(lineage(1, score=0.9), writer())
    (store.root / f".tmp-rl-1-{os.getpid()}").write_text("a file where the draft should be")
    with pytest.raises(CheckpointWriteError):
        store.rescore("rl-1", 0.7)
    assert store.get("rl-1") == published


def test_a_writer_killed_at_any_point_leaves_the_last_checkpoint_and_nothing_half(store):
    """Row 5 of the fault table: die at every rename and sync in turn."""
    before = store.publish(lineage(1), writer())
    points = 0
    while True:
        child = os.fork()
        if child == 0:
            _die_at(points)
            store.publish(lineage(2), writer(b"two"))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) == 0:
            break
        listed = [m.id for m in store.list()]
        assert listed in (["rl-1"], ["rl-1", "rl-2"])
        assert store.get("rl-1") == before
        if "rl-2" in listed:
            assert store.get("rl-2").step == 2
        store.sweep()
        points += 1
    assert points >= 8
    assert [p.name for p in store.root.iterdir() if p.name.startswith(".tmp")] == []


def _die_at(point: int) -> None:
    """Let this process die at its `point`-th rename or sync."""
    passed = 0

    def guard(call):
        def guarded(*args, **kwargs):
            nonlocal passed
            if passed == point:
                os._exit(9)
            passed += 1
            return call(*args, **kwargs)

        return guarded

    os.fsync = guard(os.fsync)
    os.rename = guard(os.rename)


def test_the_manifest_is_plain_json_that_anyone_can_read(store):
    manifest = store.publish(lineage(1), writer())
    record = json.loads((store.root / "rl-1" / MANIFEST).read_text())
    assert record["files"][WEIGHTS]["sha256"] == manifest.weight_hash
