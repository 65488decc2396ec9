from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from actors.files import PRIVATE, replace_text, replacing

KILLED_MID_WRITE = """
import os, signal, sys
from pathlib import Path
from actors.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of the n")
    os.kill(os.getpid(), signal.SIGKILL)
"""
DISK_FULL = """
import resource, signal, sys
from pathlib import Path
from actors.files import replace_text
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    replace_text(Path(sys.argv[1]), "n" * 5000)
except OSError as error:
    print(error.strerror)
"""
REPOSITORY = Path(__file__).parents[3]


def in_a_process(program: str, path: Path) -> subprocess.CompletedProcess[str]:
    # No bytecode is written: the limit of the second program holds for every file.
    command = [sys.executable, "-B", "-c", program, str(path)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


def test_a_file_is_replaced_whole(tmp_path: Path):
    replace_text(tmp_path / "a", "old")
    replace_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert os.listdir(tmp_path) == ["a"]


def test_a_writer_killed_half_way_leaves_the_old_content(tmp_path: Path):
    (tmp_path / "a").write_text("old")
    assert in_a_process(KILLED_MID_WRITE, tmp_path / "a").returncode == -signal.SIGKILL
    assert (tmp_path / "a").read_text() == "old"


def test_a_disk_that_refuses_leaves_the_old_content_and_nothing_else(tmp_path: Path):
    (tmp_path / "a").write_text("old")
    assert in_a_process(DISK_FULL, tmp_path / "a").stdout == "File too large\n"
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_an_error_while_writing_leaves_the_old_content_and_nothing_else(tmp_path: Path):
    (tmp_path / "a").write_text("old")

    def fail_half_way() -> None:
        with replacing(tmp_path / "a") as temporary:
            temporary.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_private_file_is_its_owners_alone(tmp_path: Path):
    before = os.umask(0)
    try:
        replace_text(tmp_path / "key", "secret", PRIVATE)
        replace_text(tmp_path / "page", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "page").stat().st_mode) == 0o666


def test_nothing_else_replaces_a_file_by_hand():
    writers = [
        str(path.relative_to(REPOSITORY))
        for package in ("verifier", "actors", "trainers", "serving", "cluster")
        for path in (REPOSITORY / package).rglob("*.py")
        if any(word in path.read_text() for word in (".rename(", "os.replace(", "mkstemp("))
    ]
    assert sorted(writers) == ["actors/files.py", "actors/policy/checkpoint.py"]
