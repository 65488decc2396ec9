"""`interplay rollouts` on a run folder: chosen rows as a table, as JSON lines, in colour, and judged again."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from actors.rollouts.store import RolloutStore, parts
from cluster.commands.runs.rollouts import main
from cluster.recipe.load import load
from cluster.run.folder import RunFolder
from cluster.run.results.rollouts import axes_of
from tests.rollouts import judged_group, step_rollouts
from verifier.errors import UserError
from verifier.task import prompt_text


@pytest.fixture
def run(tmp_path: Path) -> Path:
    RunFolder(tmp_path / "r").open(load("smoke", ["stages.rl.rl.task={ops: [2, 3], max_facts: 4}"]), resume=False)
    store = RolloutStore(tmp_path / "r", "rl", 0, 99)
    for step in (1, 2):
        store.write(step_rollouts(step))
    return tmp_path / "r"


def told(run: Path, *options: str, code: int = 0) -> str:
    import typer

    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, [str(run), *options], env={"COLUMNS": "200"})
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def test_the_table_shows_the_newest_steps_first(run):
    lines = told(run).splitlines()
    assert lines[0].split()[:5] == ["step", "slot", "stratum", "status", "reward"]
    assert [line.split()[0] for line in lines[1:]] == ["2"] * 6 + ["1"] * 6
    assert len(told(run, "--step", "1", "--status", "cut").splitlines()) == 1 + 2
    assert len(told(run, "--limit", "3").splitlines()) == 1 + 3


def test_a_stage_that_the_run_does_not_have_is_refused_with_those_it_has(run):
    with pytest.raises(UserError, match="r has no RL stage lr") as refused:
        main(str(run), stage="lr")
    assert refused.value.fix == "Its RL stages: rl."
    assert len(told(run, "--stage", "rl").splitlines()) == 1 + 12


def test_json_lines_hold_all_that_is_stored(run):
    rows = [json.loads(line) for line in told(run, "--format", "jsonl", "--stratum", "op=3").splitlines()]
    assert len(rows) == 6
    assert rows[0]["judgement"]["steps"][0]["status"] == "right"
    assert rows[0]["address"]["index"] == [2, 1, 0]
    assert len(rows[0]["logprobs"]) == len(rows[0]["completion_ids"])


def test_a_trace_is_shown_with_its_problem_and_its_judgement(run):
    shown = told(run, "--format", "trace", "--status", "solved")
    assert "step 2, slot 0.0, completion 0: solved, reward 1" in shown
    assert "verified, process accuracy 1.000" in shown
    asked = prompt_text(judged_group(0, step=2).item.prompt)
    assert " ".join(asked.split()) in " ".join(shown.split())


def test_stored_texts_judged_again_are_the_same_and_a_difference_is_named(run):
    assert told(run, "--judge-again") == "judged 12 again, 0 differ\n"
    path = parts(run / "rollouts" / "rl")[1]
    table = pq.read_table(path)
    answers = ["999", *table["answer"].to_pylist()[1:]]
    place = table.schema.get_field_index("answer")
    pq.write_table(table.set_column(place, table.schema.field(place), [answers]), path)
    assert told(run, "--judge-again", code=1).splitlines() == [
        "differs: stage rl, step 1, slot 0.0.0 (" + table["stratum"][0].as_py() + ")", "judged 12 again, 1 differ"
    ]  # fmt: skip


def test_a_damaged_part_costs_a_warning_and_nothing_else(run):
    path = parts(run / "rollouts" / "rl")[2]
    path.write_bytes(path.read_bytes()[:200])
    shown = told(run)
    assert "step-000002.parquet cannot be read" in shown
    assert sum(line.startswith("1 ") for line in shown.splitlines()) == 6


def test_a_stratum_that_is_no_stratum_is_refused():
    assert axes_of("op=4, mode=forward") == {"op": "4", "mode": "forward"}
    with pytest.raises(UserError, match="is not AXIS=VALUE"):
        axes_of("op 4")
