"""An evaluation that was killed asks the problems that are left, and ends as if it had not been."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from actors.records import GroupRequest, JudgeRequest, RolloutGroup
from tests.unit.trainers.evaluation.test_evaluate import BANDS, CONFIG, run, sample
from trainers.evaluation.evaluate import EvalConfig, held_out
from trainers.evaluation.unfinished import Unfinished, unfinished_path

ITEMS = held_out(CONFIG, BANDS, seed=1)


class Killed(Exception):
    pass


class Drawing:
    """Draws groups and remembers their items; after `last` of them it is killed."""

    def __init__(self, last: int | None = None) -> None:
        self.asked: list[str] = []
        self.last = last

    async def __call__(self, request: GroupRequest, by: JudgeRequest) -> RolloutGroup:
        if len(self.asked) == self.last:
            raise Killed
        self.asked.append(by.item.id)
        return await sample(request, by)


def memory(folder: Path, weights: str = "w", config: EvalConfig = CONFIG, seed: int = 0) -> Unfinished:
    return Unfinished(unfinished_path(folder, "before"), weights, config, ITEMS, seed)


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The run folder of an evaluation that was killed after three problems."""
    with pytest.raises(Killed):
        run(drawn_by=Drawing(3), memory=memory(tmp_path))
    return tmp_path


def test_what_was_measured_before_a_kill_is_not_asked_again_and_changes_nothing(killed: Path) -> None:
    rest = Drawing()
    found = run(drawn_by=rest, memory=memory(killed))
    assert rest.asked == [item.id for item in ITEMS[3:]]
    assert found == replace(run(), seconds=found.seconds)


def test_a_line_that_was_cut_off_is_measured_again(killed: Path) -> None:
    path = unfinished_path(killed, "before")
    path.write_text(path.read_text()[:-20])
    rest = Drawing()
    found = run(drawn_by=rest, memory=memory(killed))
    assert rest.asked == [item.id for item in ITEMS[2:]]
    assert found == replace(run(), seconds=found.seconds)
    again = Drawing()
    run(drawn_by=again, memory=memory(killed))
    assert again.asked == []


@pytest.mark.parametrize(
    "other", [{"weights": "others"}, {"config": CONFIG.model_copy(update={"temperature": 0.7})}, {"seed": 1}]
)
def test_nothing_is_taken_from_another_evaluation(killed: Path, other: dict) -> None:
    drawing = Drawing()
    run(drawn_by=drawing, memory=memory(killed, **other))
    assert drawing.asked == [item.id for item in ITEMS]


def test_a_problem_that_the_judge_failed_on_keeps_its_fewer_samples(tmp_path: Path) -> None:
    async def failing(request: GroupRequest, by: JudgeRequest) -> RolloutGroup:
        first, *others = (group := await sample(request, by)).rollouts
        return replace(group, rollouts=(replace(first, judgement=None, reward=None, error="fault"), *others))

    found = run(drawn_by=failing, memory=memory(tmp_path))
    nothing = Drawing(0)
    assert run(drawn_by=nothing, memory=memory(tmp_path)).scores == found.scores
    assert {score.samples for score in found.scores} == {3}
