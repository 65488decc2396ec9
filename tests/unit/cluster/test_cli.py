"""The command line itself: quick, lazy, and plain about mistakes."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.cli import ROOMS

HEAVY = ("torch", "ray", "vllm", "transformers", "deepspeed", "numpy", "pydantic", "fastapi", "matplotlib")


def interplay(*words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cluster", *words], capture_output=True, text=True, timeout=timeout)


def test_help_names_every_command_and_imports_none() -> None:
    code = (
        "import sys; sys.argv = ['interplay', '--help']; from cluster.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([m for m in sys.modules if m in {HEAVY!r} or m.startswith('cluster.commands')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert all(name in done.stdout for name in ROOMS)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", [f"{room}.{name}" for name, room in ROOMS.items()])
def test_each_command_has_a_documented_main_and_imports_nothing_heavy(name: str) -> None:
    code = f"import sys, cluster.commands.{name}; print([m for m in sys.modules if m in {HEAVY!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
    assert inspect.getdoc(importlib.import_module(f"cluster.commands.{name}").main)


def test_a_misspelt_command_is_exit_code_2_with_the_nearest() -> None:
    done = interplay("docter")
    assert done.returncode == 2
    assert "Did you mean 'doctor'" in done.stderr


def test_a_users_mistake_is_one_line_with_its_fix_and_no_traceback() -> None:
    started = time.monotonic()
    done = interplay("stop", "some-job", "--address", "ray://nowhere:1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ray://nowhere:1 is not the address of a job server. fix: ")
    assert len(done.stderr.splitlines()) == 1
    assert time.monotonic() - started < 30


def test_the_version_is_printed() -> None:
    done = interplay("--version")
    assert done.stdout.startswith("interplay ")
    assert done.returncode == 0


@pytest.mark.parametrize("words", [("status", "nowhere"), ("scale", "nowhere", "--rollout-workers", "2")])
def test_what_is_asked_of_a_run_is_told_before_ray_is_imported(words: tuple[str, ...]) -> None:
    done = interplay(*words)
    assert done.stderr.startswith("asking nowhere ...\nerror: there is no run nowhere.")
    code = (
        f"import sys; sys.argv = ['interplay', *{words!r}]\n"
        "from cluster.cli import main\n"
        "class Told(BaseException): pass\n"
        "def write(text): raise Told(sorted(set(sys.modules) & {'ray', 'torch'}))\n"
        "sys.stderr.write = write\n"
        "try: main()\n"
        "except Told as told: print(told)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert told.stdout.strip() == "[]", told.stdout


def test_doctor_shows_the_memory_of_a_recipe_and_refuses_one_that_does_not_fit() -> None:
    fits, not_fits = (interplay("doctor", "gpu-100m", "--card-gib", size) for size in ("79", "16"))
    assert fits.returncode == 0
    assert "headroom" in fits.stdout
    assert not_fits.returncode == 2
    assert "does not fit its card" in not_fits.stderr
    assert "stages.rl.rl.learning.microbatch_tokens" in not_fits.stderr


def test_a_disk_that_is_full_and_a_folder_that_is_gone_are_told_without_a_traceback(tmp_path: Path) -> None:
    full = interplay("generate", "--op", "2", "--count", "1", "--out", "/dev/full")
    assert (full.returncode, full.stdout) == (1, "")
    assert full.stderr.startswith("error: No space left on device. fix: Make room")
    code = (
        "import os, sys; from cluster.cli import main\n"
        "os.chdir(sys.argv[1]); os.rmdir(sys.argv[1]); sys.argv = ['interplay', '--version']; main()"
    )
    gone = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=60)
    assert gone.returncode == 2
    assert gone.stderr == "error: the current folder does not exist any more. fix: Go to another one: cd\n"


def test_a_file_that_may_not_be_read_is_named_with_a_fix_and_no_traceback(tmp_path: Path) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text("name: secret")
    secret.chmod(0)
    drop = (  # root may read everything, unless it gives the two capabilities up
        "import ctypes, os, sys\n"
        "for capability in (1, 2): ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'cluster', 'recipe', 'check', sys.argv[1]])\n"
    )
    done = subprocess.run([sys.executable, "-c", drop, secret], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: {secret}: permission denied. fix: ")
