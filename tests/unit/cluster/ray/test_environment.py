"""Where caches go and how many threads a process gets."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from cluster.ray import environment
from cluster.ray.environment import REPOSITORY, actor_env, cache_folder, process_env, require_own, thread_env
from verifier.errors import UserError


def test_the_cache_lies_in_the_repository_unless_named() -> None:
    assert cache_folder({}) == REPOSITORY / ".cache"
    assert cache_folder({"INTERPLAY_CACHE": "/data/cache"}) == Path("/data/cache")


def test_a_cache_in_the_temporary_folder_is_made_for_this_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(environment, "REPOSITORY", tmp_path / "installed")
    cache = cache_folder({})
    assert cache.parent == tmp_path
    require_own(cache)
    assert cache.stat().st_mode & 0o777 == 0o700
    require_own(cache)


@pytest.mark.parametrize("made", ["link", "file", "open to all", "another's"])
def test_a_cache_that_another_user_can_have_filled_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cache = tmp_path / "cache"
    if made == "link":
        (tmp_path / "theirs").mkdir()
        cache.symlink_to(tmp_path / "theirs")
    elif made == "file":
        cache.touch()
    else:
        cache.mkdir()
        cache.chmod(0o777 if made == "open to all" else 0o700)
    if made == "another's":
        monkeypatch.setattr(environment.os, "getuid", lambda: cache.stat().st_uid + 1)
    with pytest.raises(UserError, match="no folder of this user's alone"):
        require_own(cache)


def test_every_folder_lies_under_the_cache() -> None:
    folders = [v for v in process_env(Path("/c")).values() if v.startswith("/")]
    assert len(folders) >= 8
    assert all(f == "/c" or f.startswith("/c/") for f in folders)


def test_processes_are_offline_and_report_nothing() -> None:
    env = process_env(Path("/c"))
    assert env["HF_HUB_OFFLINE"] == env["VLLM_NO_USAGE_STATS"] == env["DO_NOT_TRACK"] == "1"
    assert env["RAY_USAGE_STATS_ENABLED"] == "0"


def test_threads_are_the_cores_given_and_wait_asleep() -> None:
    env = thread_env(3)
    assert env["OMP_NUM_THREADS"] == env["MKL_NUM_THREADS"] == "3"
    assert env["OMP_WAIT_POLICY"] == "PASSIVE"
    assert env["KMP_BLOCKTIME"] == "0"
    assert thread_env(0)["OMP_NUM_THREADS"] == "1"


def test_an_actor_gets_both() -> None:
    assert actor_env(Path("/c"), 2) == process_env(Path("/c")) | thread_env(2)
