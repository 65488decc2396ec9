"""The key file: written whole by one at a time, refused names with a fix, keys that end."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cluster.serve.keys import add_key, handle, list_keys, read_keys, revoke_key
from serving.http.key_ring import LOOK_EVERY_S, KeyRing
from serving.http.keys import MAX_KEY_CHARS, KeyRecord, identify, new_key
from verifier.errors import UserError

ADD = """
import sys
from pathlib import Path
from cluster.serve.keys import add_key
print(add_key(Path(sys.argv[1]), sys.argv[2]))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_every_key_that_was_printed_is_in_the_file_however_many_add_at_once(file: Path):
    def add(number: int) -> str:
        command = [sys.executable, "-c", ADD, str(file), f"key-{number}:probe"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=90).stdout.strip()

    with ThreadPoolExecutor(4) as pool:
        printed = list(pool.map(add, range(8)))
    ring = KeyRing(read_keys(file))
    names = [record.name for key in printed if (record := ring.find(key))]
    assert sorted(names) == sorted(f"key-{number}" for number in range(8))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_link_stays_a_link_and_the_file_it_names_gets_the_key(tmp_path: Path, file: Path):
    link = tmp_path / "link.json"
    link.symlink_to(file)
    add_key(link, "alice:read")
    add_key(link, "bob:read")
    assert link.is_symlink()
    assert [record.name for record in read_keys(file)] == ["alice", "bob"]


@pytest.mark.parametrize(
    "wish",
    [
        "",
        ":read",
        "alice",
        "alice:",
        "alice:root",
        "alice:read:",
        "alice:read:0",
        "alice:read:-1",
        "alice:read:1.5",
        "alice:read:99999",
        "alice:read:" + "9" * 5000,
        "alice:read:1:2",
        "al ice:read",
        "../alice:read",
        "a" * 65 + ":read",
        "ali\0ce:read",
        "älice:read",
    ],
)
def test_a_wish_that_makes_no_key_is_refused_with_the_fix(file: Path, wish: str):
    with pytest.raises(UserError, match="cannot add a key") as caught:
        add_key(file, wish)
    assert "NAME:read|probe|admin" in caught.value.fix
    assert not file.exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.mkdir(),
        lambda file: file.write_bytes(b"\xff\xfe"),
        lambda file: file.write_text("{"),
        lambda file: file.parent.joinpath("nowhere").mkdir() or file.symlink_to(file),
    ],
    ids=["a folder", "not UTF-8", "not JSON", "a loop of links"],
)
@pytest.mark.parametrize("do", [lambda f: add_key(f, "alice:read"), list_keys, lambda f: revoke_key(f, "alice")])
def test_a_file_that_holds_no_keys_is_named_and_not_replaced(
    file: Path, spoil: Callable[[Path], object], do: Callable[[Path], object]
):
    spoil(file)
    before = file.read_bytes() if file.is_file() else None
    with pytest.raises(ValueError, match=r"keys\.json|key file"):
        do(file)
    assert (file.read_bytes() if file.is_file() else None) == before


def test_keys_are_listed_with_their_end_and_revoked_by_name(file: Path):
    add_key(file, "alice:probe:90")
    add_key(file, "bob:admin")
    lines = list_keys(file).splitlines()
    assert [line.split()[:3] for line in lines] == [["alice", "probe", "until"], ["bob", "admin", "does"]]
    with pytest.raises(UserError, match="has no key named 'carol'"):
        revoke_key(file, "carol")
    assert handle(file, None, "alice") == f"alice is revoked in {file}"
    with pytest.raises(UserError, match="is the last key") as caught:
        revoke_key(file, "bob")
    assert "stop the server and delete the file" in caught.value.fix
    assert [record.name for record in read_keys(file)] == ["bob"]
    with pytest.raises(UserError, match="there is no key file"):
        handle(None, None, None)


def test_a_key_is_not_added_by_a_command_that_also_revokes_one(file: Path):
    add_key(file, "alice:probe")
    with pytest.raises(UserError, match="adds a key or revokes one"):
        handle(file, "bob:probe", "alice")
    assert [record.name for record in read_keys(file)] == ["alice"]


def test_a_running_server_takes_up_added_keys_and_turns_away_revoked_and_ended_ones(file: Path):
    now, today = [0.0], [0.0]
    first = add_key(file, "first:admin")
    ring = KeyRing(read_keys(file), file, clock=lambda: now[0], today=lambda: today[0])
    assert ring.find(first) is not None
    second = add_key(file, "second:probe:1")
    assert ring.find(second) is None, "it has looked less than a second ago"
    now[0] += LOOK_EVERY_S
    found = ring.find(second)
    assert found is not None
    assert found.expires is not None
    today[0] = found.expires - 1
    assert ring.find(second) is not None
    today[0] = found.expires
    assert ring.find(second) is None
    revoke_key(file, "first")
    now[0] += LOOK_EVERY_S
    assert ring.find(first) is None


def test_a_file_that_is_gone_or_spoiled_leaves_the_keys_that_were_known(file: Path):
    now = [0.0]
    key = add_key(file, "alice:read")
    ring = KeyRing(read_keys(file), file, clock=lambda: now[0])
    for spoil in (lambda: file.write_text("{"), file.unlink):
        spoil()
        now[0] += LOOK_EVERY_S
        assert ring.find(key) is not None


def test_a_file_that_could_not_be_read_once_is_read_as_soon_as_it_can_be(file: Path, monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    alice, bob = add_key(file, "alice:admin"), add_key(file, "bob:read")
    ring = KeyRing(read_keys(file), file, clock=lambda: now[0])
    assert ring.find(alice) is not None
    revoke_key(file, "alice")

    def denied(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", denied)
        now[0] += LOOK_EVERY_S
        assert ring.find(bob) is not None
    now[0] += LOOK_EVERY_S  # nothing that `stat` shows has changed since
    assert ring.find(alice) is None
    assert ring.find(bob) is not None


def test_a_change_that_only_the_time_of_change_tells_of_is_seen(file: Path):
    now = [0.0]
    alice = add_key(file, "alice:read")
    add_key(file, "bobby:read")
    ring = KeyRing(read_keys(file), file, clock=lambda: now[0])
    assert ring.find(alice) is not None
    before = file.stat()
    text = file.read_text()
    with file.open("r+") as same:  # the same inode, size and time of writing, as `rsync --inplace --times` leaves them
        same.write(text.replace('"alice"', '"other"'))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    while file.stat().st_ctime_ns == before.st_ctime_ns:  # older kernels tell the time of change in ticks
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    now[0] += LOOK_EVERY_S
    found = ring.find(alice)
    assert found is not None
    assert found.name == "other"


def test_a_text_longer_than_any_key_is_hashed_for_no_record(monkeypatch: pytest.MonkeyPatch):
    key, record = new_key("alice", "read")
    assert identify((record,), key) is record
    monkeypatch.setattr(KeyRecord, "matches", lambda self, key: pytest.fail("hashed"))
    assert identify((record,), "a" * (MAX_KEY_CHARS + 1)) is None


def test_a_file_that_stays_as_it_is_is_not_read_again(file: Path):
    now = [0.0]
    key = add_key(file, "alice:read")
    ring = KeyRing(read_keys(file), file, clock=lambda: now[0])
    ring.find(key)
    opened: list[str] = []
    watching = True

    def audit(event: str, args: tuple) -> None:
        if watching and event == "open" and str(args[0]) == str(file):
            opened.append(event)

    sys.addaudithook(audit)
    for _ in range(5):
        now[0] += LOOK_EVERY_S
        assert ring.find(key) is not None
    watching = False  # an audit hook stays for good; this one goes quiet
    assert opened == []
    assert os.stat(file).st_size
