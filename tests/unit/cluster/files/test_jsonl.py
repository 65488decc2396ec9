import errno
import gzip
import json
import math
import os
import signal
import stat
import tracemalloc

import pytest

from cluster.files import jsonl
from verifier.errors import UserError


def _write(path, *chunks):
    with jsonl.writing(str(path)) as write:
        for chunk in chunks:
            write(chunk)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_what_is_written_is_read_back_with_line_numbers(tmp_path, name):
    rows = [{"pid": "é\u2028\x00", "text": "\ud800 lone"}, {"pid": "b", "text": ""}]
    _write(tmp_path / name, *map(jsonl.encode, rows))
    assert list(jsonl.read(str(tmp_path / name), ("pid", "text"))) == list(enumerate(rows, start=1))


def test_a_number_that_json_cannot_express_becomes_null():
    row = {"é": [1.0, math.nan, (math.inf, -math.inf)], "text": "NaN\ud800"}
    assert jsonl.encode(row) == '{"é": [1.0, null, [null, null]], "text": "NaN\\ud800"}\n'.encode()


def test_packed_bytes_hold_neither_name_nor_time(tmp_path):
    _write(tmp_path / "a.jsonl.gz", b"{}\n")
    _write(tmp_path / "b.jsonl.gz", b"{}\n")
    first = (tmp_path / "a.jsonl.gz").read_bytes()
    assert first == (tmp_path / "b.jsonl.gz").read_bytes()
    assert first[4:8] == bytes(4)


def test_packed_input_is_known_by_its_bytes_not_its_name(tmp_path):
    (tmp_path / "rows").write_bytes(gzip.compress(b'{"a": "1"}\n'))
    assert list(jsonl.read(str(tmp_path / "rows"), ("a",))) == [(1, {"a": "1"})]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "out.jsonl"
    _write(target, b"old\n")

    def fail_half_way():
        with jsonl.writing(str(target)) as write:
            write(b"new\n")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert target.read_bytes() == b"old\n"
    assert list(tmp_path.iterdir()) == [target]


def test_a_request_to_end_leaves_nothing(tmp_path):
    def be_ended():
        with jsonl.writing(str(tmp_path / "out.jsonl")) as write:
            write(b"new\n")
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        be_ended()
    assert signal.getsignal(signal.SIGTERM) == before
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path):
    def fill():
        with jsonl.writing(str(tmp_path / "out.jsonl")) as write:
            write(b"new\n")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match="No space left on device"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_followed_and_kept(tmp_path):
    (tmp_path / "link").symlink_to("file")
    _write(tmp_path / "link", b"new\n")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new\n"


def test_a_named_pipe_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    _write(tmp_path / "pipe", b"new\n")
    assert os.read(reader, 100) == b"new\n"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        _write(tmp_path)


def test_a_new_file_is_as_readable_as_any_other(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    _write(tmp_path / "ours", b"")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1]", "not a JSON object but list"),
        (b"\xff", "not UTF-8"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"b": "1"}', 'field "a" is missing'),
        (b'{"a": 1}', 'field "a" is not text'),
        (b'{"a": null}', 'field "a" is not text'),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "not JSON"),
    ],
)
def test_a_bad_line_is_named_by_number_and_field(tmp_path, line, complaint):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": "1"}\n' + line + b"\n")
    with pytest.raises(UserError, match="line 2: ") as caught:
        list(jsonl.read(str(path), ("a",)))
    assert complaint in str(caught.value)
    assert caught.value.fix


def test_a_damaged_gzip_is_reported_after_its_last_good_line(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    _write(path, *(json.dumps({"a": str(i)}).encode() + b"\n" for i in range(5_000)))
    path.write_bytes(path.read_bytes()[:-4_000])
    with pytest.raises(UserError, match="damaged gzip"):
        list(jsonl.read(str(path), ("a",)))


@pytest.mark.parametrize("path", ["absent/out.jsonl", "."])
def test_an_impossible_target_is_refused(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        _write(path, b"")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_or_unreadable_input_is_refused(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(UserError, match="cannot open"):
            list(jsonl.read(str(path), ()))


def test_a_small_gzip_of_one_endless_line_is_refused_before_it_fills_the_memory(tmp_path):
    bomb = tmp_path / "bomb.jsonl.gz"
    with gzip.GzipFile(bomb, "wb", compresslevel=9) as file:
        for _ in range(64):
            file.write(b" " * (4 << 20))
    assert bomb.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"line 1: longer than 16 MiB\.") as caught:
            list(jsonl.read(str(bomb), ("pid",)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.fix == "Write one record per line."
    assert peak < 4 * jsonl.LONGEST_LINE
