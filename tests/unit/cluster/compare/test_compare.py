"""Runs side by side: what differs comes first, bands are paired by problem, and what cannot be paired is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from actors.telemetry import EventLog
from cluster.commands.runs.compare import main
from cluster.compare.content import NotComparable, content
from cluster.compare.page import page
from cluster.compare.runs import compared
from cluster.recipe.load import load
from cluster.run.folder import RunFolder
from trainers.evaluation.evaluate import Evaluation, ProblemScore
from trainers.evaluation.ledger import StageRecord
from verifier.errors import UserError
from verifier.task import Stratum

STRATA = [Stratum.of(op=op, mode="forward") for op in (2, 3)]


def evaluation(*, strict: int = 1, problems: int = 6, temperature: float = 1.0, prefix: str = "p", strata=STRATA):
    scores = [
        ProblemScore(f"{prefix}{s.name}{n}", s, 4, 3, strict + (n % 2), 0.5, {})
        for s in strata
        for n in range(problems)
    ]
    return Evaluation("c", temperature, 10, 2e6, 1.0, tuple(scores), ())


def run(folder: Path, after: Evaluation | None, *changes: str, steps: int = 12) -> Path:
    """A finished run: an evaluation before, RL steps that drift, and `after`."""
    made = RunFolder(folder)
    made.open(load("smoke", list(changes)), resume=False)
    made.save_evaluation("before", evaluation())
    if after is not None:
        made.save_evaluation("after", after)
    made.finish(StageRecord("rl", "rl", 2.0, 1000, 1e9, 1e4))
    with EventLog(made.metrics) as log:
        for step in range(1, steps + 1):
            log.write("rl_step", stage="rl", step=step, reward=step / 20, strict=step / 20, entropy=1.0, updates=step)
    return folder


def told(*arguments: str, code: int = 0) -> str:
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def test_what_differs_comes_first_then_bands_against_the_first_run(tmp_path):
    a = run(tmp_path / "a", evaluation(strict=1))
    b = run(tmp_path / "b", evaluation(strict=2), "stages.rl.rl.prompts_per_step=4", "seed=3")
    found = content(compared([str(a), str(b)]))
    assert found["differences"] == {"seed": [0, 3], "stages.rl.rl.prompts_per_step": [8, 4]}
    edge = found["bands"]["edge"]
    assert edge["axes"] == "op 3"
    verified = edge["scores"]["verified_pass@1"]
    assert verified["a"]["score"]["mean"] == pytest.approx(1.5 / 4)
    assert verified["a"]["difference"] is None
    assert verified["b"]["difference"]["mean"] == pytest.approx(0.25)
    assert verified["b"]["difference"]["lo"] == pytest.approx(0.25)  # paired: every problem differs by one sample
    assert set(edge["scores"]) == {f"{m}_pass@{k}" for m in ("verified", "outcome") for k in (1, 2)}
    assert found["costs"]["b"] == {"tokens": 1000, "flops": 1e9, "paper_tokens": 1e4, "seconds": 2.0}
    lines = told(str(a), str(b)).splitlines()
    assert lines[0].split() == ["recipe", "a", "b"]
    assert lines[1].split() == ["seed", "0", "3"]
    assert json.loads(told(str(a), str(b), "--json")) == json.loads(json.dumps(found))


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (evaluation(problems=5), "on 12 and 10 problems"),
        (evaluation(temperature=0.7), "at temperature 1 and 0.7"),
        (evaluation(prefix="q"), r"on other problems \(12 of 12 differ\)"),
        (evaluation(strata=[*STRATA, Stratum.of(op=4, mode="forward")]), "only one of them has op 4"),
    ],
)
def test_runs_that_were_not_evaluated_on_the_same_problems_are_refused_with_the_reason(tmp_path, other, why):
    a, b = run(tmp_path / "a", evaluation()), run(tmp_path / "b", other)
    with pytest.raises(NotComparable, match=f"a and b were not evaluated alike: {why}"):
        content(compared([str(a), str(b)]))


def test_a_run_that_is_not_evaluated_yet_is_compared_in_all_else(tmp_path):
    a, b, c = (run(tmp_path / name, after) for name, after in (("a", evaluation()), ("b", None), ("c", evaluation())))
    found = content(compared([str(a), str(b), str(c)]))
    assert found["unmeasured"] == ["b"]
    assert list(found["bands"]["edge"]["scores"]["verified_pass@1"]) == ["a", "c"]
    assert found["curves"]["b"]["rl"]["step"] == list(range(1, 13))
    assert "b has no last evaluation yet" in told(str(a), str(b))


def test_runs_are_held_against_the_first_that_was_measured_and_it_is_named(tmp_path):
    a, b, c = (run(tmp_path / name, after) for name, after in (("a", None), ("b", evaluation()), ("c", evaluation())))
    found = content(compared([str(a), str(b), str(c)]))
    of = found["bands"]["edge"]["scores"]["verified_pass@1"]
    assert [name for name, one in of.items() if one["difference"] is None] == ["b"]
    assert "against b" in told(str(a), str(b), str(c))
    assert "<th>against b</th>" in page(found)
    assert "held against b." in page(found)


def test_runs_without_bands_are_compared_over_the_whole_task(tmp_path):
    none = ("bands={}",)
    a, b = run(tmp_path / "a", evaluation(), *none), run(tmp_path / "b", evaluation(strict=2), *none)
    found = content(compared([str(a), str(b)]))
    (band,) = found["bands"]
    assert band == "whole task"
    assert found["bands"][band]["scores"]["verified_pass@1"]["b"]["difference"]["mean"] == pytest.approx(0.25)
    assert "<caption>whole task</caption>" in page(found)


def test_the_page_stands_alone_and_shows_names_as_text(tmp_path):
    a = run(tmp_path / "a", evaluation())
    b = run(tmp_path / "b<i>", evaluation(strict=2), "seed=3")
    told(str(a), str(b), "--html", str(tmp_path / "out.html"))
    page = (tmp_path / "out.html").read_text()
    assert page.index("What differs") < page.index("Bands") < page.index("Curves") < page.index("What it cost")
    assert "b&lt;i&gt;" in page
    assert "<i>" not in page
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)\s*=\s*"(?!#)|url\((?!#)|@import', page)


def test_the_legend_names_every_run_as_its_folder_is_called(tmp_path):
    names = ["_first", r"$a$\frac", "plain"]
    folders = [str(run(tmp_path / name, evaluation())) for name in names]
    drawn = page(content(compared(folders)))
    drawn = drawn[drawn.index("<svg") : drawn.index("</svg>")]
    assert re.findall(r"<text[^>]*>([^<]*(?:first|frac|plain))</text>", drawn) == names


def test_a_page_that_cannot_be_written_is_refused_with_the_reason(tmp_path):
    a, b = run(tmp_path / "a", evaluation()), run(tmp_path / "b", evaluation())
    with pytest.raises(UserError, match="cannot write"):
        main([str(a), str(b)], html=str(tmp_path / "nowhere" / "out.html"))


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    a, b = run(tmp_path / "x" / "demo", evaluation()), run(tmp_path / "y" / "demo", evaluation())
    assert [one.name for one in compared([str(a), str(b)])] == ["x/demo", "y/demo"]


def test_one_run_alone_and_a_run_named_twice_are_refused(tmp_path):
    a = run(tmp_path / "a", evaluation())
    with pytest.raises(UserError, match="One run alone"):
        compared([str(a)])
    with pytest.raises(UserError, match="is named twice"):
        compared([str(a), str(a)])
