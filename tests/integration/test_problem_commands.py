"""`interplay generate`, `verify` and `solve` from the outside: files, pipes, colours, and what a person gets wrong."""

import gzip
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from cluster.commands.problems import generate, solve, verify
from cluster.files import problems as problem_files
from verifier.errors import BadMixture, ImpossibleSpec, UnknownPreset, UserError

INTERPLAY = str(Path(sys.executable).with_name("interplay"))
GENERATE = ["--op", "6", "--count", "30", "--seed", "5"]


def _run(module, *args, stdin=None):
    app = typer.Typer()
    app.command()(module.main)
    return CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)


def _error(module, *args, stdin=None):
    result = _run(module, *args, stdin=stdin)
    assert isinstance(result.exception, ValueError), result.output
    return result.exception


def _shell(*command, stdin=None, timeout=100):
    return subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False)


def _rows(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """30 problems in a file, and the path of a file with their gold traces and with nothing in place of each."""
    folder = tmp_path_factory.mktemp("made")
    problems, texts = folder / "problems.jsonl.gz", folder / "texts.jsonl.gz"
    assert _run(generate, *GENERATE, "--mode", "reverse", "--out", problems).exit_code == 0
    with gzip.open(texts, "wt", encoding="utf-8") as file:
        for row in _rows(problems):
            trace = row["solution"].partition(" Answer:")[0]
            file.write(
                json.dumps({"pid": row["pid"], "text": f" {trace} </solution> <answer> {row['answer']} "}) + "\n"
            )
            file.write(json.dumps({"pid": row["pid"], "text": "\x1b[2J nothing"}) + "\n")
    return problems, texts


def test_generated_records_hold_the_problem_its_answer_and_its_graph(made):
    rows = _rows(made[0])
    assert len(rows) == len({row["pid"] for row in rows}) == 30
    for row in rows:
        assert (row["op"], row["mode"], row["template"], row["depth"]) == (6, "reverse", "zoo", 2)
        assert row["solution"].endswith(f"Answer: {row['answer']}.")
        nodes = {node["name"]: node for node in row["graph"]["nodes"]}
        assert str(nodes[row["graph"]["query"]]["value"]) == row["answer"]
        assert all(set(node["parents"]) <= nodes.keys() for node in nodes.values())


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
def test_bytes_depend_on_the_seed_and_not_on_the_processes(tmp_path, suffix):
    for name, seed, jobs in (("one", 5, 1), ("two", 5, 2), ("other", 6, 1)):
        out = tmp_path / (name + suffix)
        assert _run(generate, "--op", 3, "--count", 600, "--seed", seed, "--jobs", jobs, "--out", out).exit_code == 0
    one, two, other = ((tmp_path / (name + suffix)).read_bytes() for name in ("one", "two", "other"))
    assert one == two
    assert one != other


def test_a_parquet_file_holds_the_same_records_as_a_line_file(tmp_path):
    for name in ("rows.jsonl", "rows.parquet"):
        _run(generate, *GENERATE, "--template", "movie", "--out", tmp_path / name)
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == _rows(tmp_path / "rows.jsonl")


def test_a_longer_file_begins_with_the_shorter_one(tmp_path):
    for count in (7, 20):
        _run(generate, "--op", 9, "--count", count, "--out", tmp_path / f"{count}.jsonl")
    assert _rows(tmp_path / "20.jsonl")[:7] == _rows(tmp_path / "7.jsonl")


def test_a_preset_is_narrowed_to_a_mode_and_a_template(tmp_path):
    out = tmp_path / "rows.jsonl"
    _run(generate, "--preset", "id2-10_uniform", "--mode", "reverse", "--count", 40, "--split", "test", "--out", out)
    rows = _rows(out)
    assert {row["mode"] for row in rows} == {"reverse"}
    assert {row["op"] for row in rows} <= set(range(2, 11))


def test_facts_and_answers_are_limited_as_asked(tmp_path):
    out = tmp_path / "rows.jsonl"
    limits = ["--max-facts", 5, "--max-answer", 2, "--max-constant", 2, "--depth", 2]
    _run(generate, "--op", 6, "--mode", "reverse", *limits, "--count", 40, "--out", out)
    rows = _rows(out)
    assert {row["answer"] for row in rows} == {"1", "2"}
    assert {node["constant"] for row in rows for node in row["graph"]["nodes"]} == {None, 1, 2}
    assert max(row["problem"].count(".") for row in rows) <= 5


def test_a_token_budget_is_filled_and_never_exceeded(tmp_path):
    from actors.config import TokenizerConfig
    from actors.policy.tokenizer import build_tokenizer
    from verifier.graphs.tell import training_text

    tokenizer = build_tokenizer(TokenizerConfig())
    tokenizer.save_pretrained(tmp_path)
    out = tmp_path / "rows.jsonl"
    budget = ["--tokens", 20_000, "--tokenizer", tmp_path]
    result = _run(generate, "--preset", "id2-10_uniform", *budget, "--jobs", 1, "--out", out)
    assert result.exit_code == 0, result.exception
    texts = [training_text(row["problem"], row["question"], row["solution"]) for row in _rows(out)]
    spent = sum(len(tokenizer.encode(text)) for text in texts)
    assert 19_000 < spent <= 20_000


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        (["--op", 1], ImpossibleSpec, "op"),
        (["--op", 41], ImpossibleSpec, "op"),
        (["--op", 2, "--depth", 3], ImpossibleSpec, "depth"),
        (["--op", 6, "--max-facts", 10_000], ImpossibleSpec, "max_facts"),
        (["--op", 6, "--max-answer", 10**6], ImpossibleSpec, "max_answer is 1 to 100"),
        (["--op", 20, "--max-constant", 30], ImpossibleSpec, "max_constant is 1 to 25 at op 20"),
        (["--preset", "op17-20_uniform", "--max-constant", 29], ImpossibleSpec, "at op 18"),
        (["--preset", "id2-10"], UnknownPreset, "id2-10"),
        (["--preset", "op17-20_uniform", "--template", "movie"], BadMixture, ""),
        (["--preset", "op17-20_uniform", "--depth", 3], UserError, "depth"),
        (["--op", 6, "--preset", "op17-20_uniform"], UserError, "missing or given twice"),
        ([], UserError, "missing or given twice"),
        (["--op", 6, "--tokens", 9], UserError, "amount"),
        (["--op", 6, "--tokenizer", "."], UserError, "--tokens"),
    ],
)
def test_an_impossible_request_is_refused_and_nothing_is_written(tmp_path, args, error, words):
    caught = _error(generate, *args, "--count", 3, "--out", tmp_path / "rows.jsonl")
    assert isinstance(caught, error)
    assert words in str(caught)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tokenizer_is_refused(tmp_path):
    caught = _error(generate, "--op", 6, "--tokens", 9, "--tokenizer", tmp_path, "--out", tmp_path / "rows.jsonl")
    assert "tokenizer.json" in str(caught)


def test_a_reader_that_has_seen_enough_ends_the_writer_quietly():
    pipe = f"{INTERPLAY} generate --op 12 --count 4000 --jobs 1 --out - | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = _shell("bash", "-c", pipe)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["op"] == 12
    assert b"Traceback" not in done.stderr


def test_two_processes_work_from_a_real_command_line(tmp_path):
    out = tmp_path / "rows.jsonl"
    done = _shell(INTERPLAY, "generate", "--op", "4", "--count", "600", "--jobs", "2", "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b"600 problems\n"
    assert len(_rows(out)) == 600


def test_a_killed_writer_takes_its_processes_with_it():
    command = [INTERPLAY, "generate", "--op", "12", "--count", "4000000", "--jobs", "2", "--out", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline().startswith(b'{"pid"')
        writer.kill()
        writer.communicate(timeout=60)  # returns when the last process that holds the pipe is gone


def test_a_terminal_sees_progress(tmp_path):
    leader, follower = pty.openpty()
    command = [INTERPLAY, "generate", "--op", "4", "--count", "300", "--out", tmp_path / "rows.jsonl"]
    subprocess.run(command, stderr=follower, timeout=100, check=True)
    os.close(follower)
    output = b""
    while chunk := _read(leader):
        output += chunk
    os.close(leader)
    assert b"100%" in output
    assert output.endswith(b"300 problems\r\n")


def test_an_error_is_one_line_with_exit_code_2(tmp_path):
    done = _shell(INTERPLAY, "generate", "--op", "1", "--count", "1", "--out", tmp_path / "rows.jsonl")
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: op ")
    assert done.stderr.count(b"\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_strict_judgements_come_one_a_text_in_order(made, tmp_path):
    out = tmp_path / "judgements.jsonl"
    assert _run(verify, "--problems", made[0], "--texts", made[1], "--out", out).exit_code == 0
    rows, texts = _rows(out), _rows(made[1])
    assert [row["pid"] for row in rows] == [text["pid"] for text in texts]
    assert [row["verified"] for row in rows] == [True, False] * 30
    for row, text in zip(rows, texts, strict=True):
        assert (row["first_error"] is None) == row["verified"]
        assert (row["process_acc"] == 1) == row["verified"]
        for step in row["steps"]:
            assert 0 <= step["start"] <= step["end"] <= len(text["text"])
            assert step["node"]
            assert step["status"] in {"right", "missing"}


def test_reference_judgements_have_the_fields_of_the_original(made, tmp_path):
    out = tmp_path / "judgements.jsonl.gz"
    _run(verify, "--mode", "reference", "--problems", made[0], "--texts", made[1], "--out", out)
    fields = "pid report pred n_steps parsed_answer perfect process_acc extracted em outcome process_reward score"
    assert [list(row) for row in _rows(out)] == [fields.split()] * 60
    assert [row["outcome"] for row in _rows(out)] == [1.0, 0.0] * 30


def test_the_commands_join_into_a_pipe(made):
    pipe = f"gzip -dc {made[1]} | {INTERPLAY} verify --problems {made[0]} | head -n 1"
    done = _shell("bash", "-c", pipe)
    assert json.loads(done.stdout)["verified"] is True
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("problems", "texts", "words"),
    [
        (None, '{"pid": "nobody", "text": ""}', "line 1: no problem has pid 'nobody'"),
        (None, '{"pid": "nobody"}', 'line 1: field "text" is missing'),
        (None, "[]", "line 1: not a JSON object"),
        ("{", "", "line 1: not JSON"),
        ('{"pid": "a", "problem": "", "question": ""}', "", 'line 1: field "solution" is missing'),
        ('{"pid": "a", "problem": "", "question": "", "solution": "?"}', "", 'field "solution": '),
    ],
)
def test_a_bad_record_is_named_and_no_judgement_is_written(made, tmp_path, problems, texts, words):
    out = tmp_path / "out.jsonl"
    given = made[0]
    if problems is not None:
        given = tmp_path / "problems.jsonl"
        given.write_text(problems + "\n", encoding="utf-8")
    caught = _error(verify, "--problems", given, "--out", out, stdin=texts + "\n")
    assert words in str(caught)
    assert not out.exists()


def test_a_pid_that_stands_twice_is_refused(made, tmp_path):
    doubled = tmp_path / "problems.jsonl"
    doubled.write_bytes(gzip.decompress(made[0].read_bytes()) * 2)
    assert "occurs twice" in str(_error(verify, "--problems", doubled, stdin=""))


def test_a_single_trace_is_shown_step_by_step(made, tmp_path):
    pid = _rows(made[0])[0]["pid"]
    shown = _run(verify, "--problems", made[0], "--texts", made[1], "--show", pid).stdout
    assert "verified, process accuracy 1.000" in shown
    assert "\x1b" not in shown
    trace = tmp_path / "trace.txt"
    trace.write_text("\x1b[2J Define adult moose in Nowhere as k; so k = 3. <answer> 3", encoding="utf-8")
    broken = _run(verify, "--problems", made[0], "--show", pid, "--text", trace).stdout
    assert "invented" in broken
    assert "missing" in broken
    assert "not verified, process accuracy 0.000" in broken
    assert "\x1b" not in broken


def test_a_terminal_gets_colours_but_never_the_escapes_of_a_model(made):
    pid = _rows(made[0])[0]["pid"]
    leader, follower = pty.openpty()
    text = "\x1b[2J\x1b]0;owned\x07 Define adult moose in Nowhere as k; so k = 3."
    command = [INTERPLAY, "verify", "--problems", made[0], "--show", pid, "--text", "-"]
    environ = {**os.environ, "TERM": "xterm"}
    environ.pop("NO_COLOR", None)
    subprocess.run(command, input=text.encode(), stdout=follower, timeout=100, check=True, env=environ)
    os.close(follower)
    output = b""
    while chunk := _read(leader):
        output += chunk
    os.close(leader)
    assert b"\x1b[31m" in output
    assert b"\x1b[2J" not in output
    assert b"\x1b]0" not in output


def _read(descriptor):
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other side of a terminal is closed
        return b""


@pytest.mark.parametrize("wrong", [["--text", "trace.txt"], ["--show", "a", "--mode", "reference"]])
def test_flags_that_do_not_go_together_are_refused(made, wrong):
    assert "--show" in str(_error(verify, "--problems", made[0], *wrong, stdin=""))


@pytest.mark.parametrize(("show", "texts"), [("nobody", "{}"), (None, '{"pid": "other", "text": ""}')])
def test_showing_an_unknown_pid_is_refused(made, show, texts):
    pid = show or _rows(made[0])[0]["pid"]
    assert "has pid" in str(_error(verify, "--problems", made[0], "--show", pid, stdin=texts))


def test_a_pasted_problem_is_solved_on_the_command_line():
    text = (
        "The number of adult deer in South Zoo equals 2. The number of adult bear in Bundle Ranch equals 3 times the "
        "number of adult deer in South Zoo. What is the total number of adult animals in Bundle Ranch?"
    )
    done = _shell(INTERPLAY, "solve", stdin=text.encode())
    assert done.returncode == 0
    assert done.stdout.decode().splitlines() == [
        "  1. adult deer in South Zoo = 2",
        "  2. adult bear in Bundle Ranch = 3 * 2 = 6   [1]",
        "  3. total number of adult animals in Bundle Ranch = 6   [2]",
        "answer: 6",
    ]


def test_generated_records_are_solved_to_their_answers_through_a_pipe(made):
    done = _shell("bash", "-c", f"{INTERPLAY} solve {made[0]} --json")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    rows = _rows(made[0])
    assert [str(one["answer"]) for one in found] == [row["answer"] for row in rows]
    for one, row in zip(found, rows, strict=True):
        needed = {node["name"]: node["value"] for node in row["graph"]["nodes"] if node["needed"]}
        assert {step["name"]: step["value"] for step in one["steps"]} == needed
        assert one["equation"]


def test_a_text_without_an_answer_ends_with_code_1_and_the_reason():
    result = _run(solve, stdin="The number of adult fox in South Zoo is nice. How many adult fox does South Zoo have?")
    assert result.exit_code == 1
    assert "no answer: unreadable" in result.stdout
    assert "is nice" in result.stdout
    refused = _run(solve, "--json", stdin="?")
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["fault"]["defect"] == "unreadable"


def test_a_cut_file_to_solve_is_named(made, tmp_path):
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(made[0].read_bytes()[:60])
    assert "damaged gzip" in str(_error(solve, cut))


def test_a_malformed_record_to_solve_is_named():
    assert "line 2" in str(_error(solve, stdin='{"problem": "", "question": ""}\n{"problem": ""}\n'))


@pytest.mark.parametrize(
    ("start", "said"),
    [(b"{", "line 1: longer than 16 MiB"), (b"The ", "line 1: longer than 16 MiB"), (b"The \n", "longer than 16 MiB")],
)
def test_a_small_file_that_unpacks_without_end_is_not_read_to_its_end(tmp_path, monkeypatch, start, said):
    bomb = tmp_path / "bomb.gz"
    with gzip.GzipFile(bomb, "wb", compresslevel=1) as file:
        file.write(start)
        for _ in range(16):
            file.write(b" " * (2 << 20))
    read = []
    unpack = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: read.append(size) or unpack(self, size))
    assert said in str(_error(solve, bomb))
    assert all(0 <= size <= (16 << 20) + 1 for size in read)


def test_a_long_file_is_cut_into_ranges_that_join_without_a_gap():
    bounds = list(problem_files._bounds(620))
    assert bounds == [(0, 250), (250, 500), (500, 620)]
