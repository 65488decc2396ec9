"""Evaluation draws reproducibly, counts what was judged, and pairs what it compares."""

from __future__ import annotations

import asyncio
import json
import random
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from actors.records import Completion, GroupRequest, JudgeRequest, Rollout, RolloutGroup
from tests.judgements import trace, verified
from tests.tasks import ITEM
from trainers.evaluation import evaluate as evaluation_module
from trainers.evaluation.asking import LEAST_AT_ONCE, AskedPolicy
from trainers.evaluation.bands import Bands
from trainers.evaluation.comparison import Scores, estimate
from trainers.evaluation.evaluate import (
    EvalConfig,
    Evaluation,
    Memory,
    NotJudged,
    ProblemScore,
    asked,
    curve,
    evaluate,
    gain,
    held_out,
    interval,
    kinds,
    powers,
    score,
)
from verifier.judgement import Judgement, StepStatus
from verifier.task import Stratum

CONFIG = EvalConfig.model_validate(
    {"task": {"ops": [2, 3], "max_facts": 4}, "problems": 3, "target_problems": 5, "samples": 4, "max_tokens": 8}
)


BANDS = Bands(ranges={"edge": {"op": 3}}, target="edge")


def rollout(index: int, right: bool | None) -> Rollout:
    completion = Completion(index, (5, 3), (-1.0, -1.0), "stop", 0, 0)
    if right is None:
        return Rollout(completion, "", None, None, error="fault")
    return Rollout(completion, "text", verified(right), float(right))


Ask = Callable[[GroupRequest, JudgeRequest], Awaitable[RolloutGroup]]


async def sample(request: GroupRequest, by: JudgeRequest) -> RolloutGroup:
    draw = random.Random(request.seed)
    rollouts = tuple(rollout(i, draw.random() < 0.5) for i in range(request.group_size))
    return RolloutGroup(request.group_id, by.item, request.prompt_ids, rollouts)


def asked_policy(drawn_by: Ask = sample) -> AskedPolicy:
    return AskedPolicy(drawn_by, lambda item: (1,), (3,), lambda group: 2.0, sequences=8)


def run(seed: int = 0, drawn_by: Ask = sample, memory: Memory | None = None) -> Evaluation:
    problems = held_out(CONFIG, bands=BANDS, seed=1)
    return asyncio.run(evaluate(asked_policy(drawn_by), "c", problems, CONFIG, seed, lambda done, total: None, memory))


def test_an_item_that_no_judgement_was_given_on_stops_the_evaluation_with_the_judges_words():
    async def unjudged(request: GroupRequest, by: JudgeRequest) -> RolloutGroup:
        group = await sample(request, by)
        if request.group_id != 4:
            return group
        return replace(group, rollouts=tuple(rollout(i, None) for i in range(request.group_size)))

    fifth = held_out(CONFIG, bands=BANDS, seed=1)[4].id
    with pytest.raises(NotJudged, match=f"no completion of item {fifth} could be judged: fault"):
        run(drawn_by=unjudged)


def test_a_text_of_each_problem_is_kept_that_ended_as_most_did_up_to_a_number_of_each_stratum(monkeypatch):
    monkeypatch.setattr(evaluation_module, "KEPT_TEXTS", 8)

    async def mostly(request: GroupRequest, by: JudgeRequest) -> RolloutGroup:
        right = request.group_id % 2 == 0
        rollouts = tuple(rollout(i, right if i else not right) for i in range(request.group_size))
        return RolloutGroup(request.group_id, by.item, request.prompt_ids, rollouts)

    found = run(drawn_by=mostly)
    assert [one.address.stratum["op"] for one in found.texts] == [2] * 3 + [3] * 4
    assert [one.judgement.solved for one in found.texts] == [True, False, True, False, True, False, True]
    assert [score.solved for score in found.scores][:7] == [one.judgement.solved for one in found.texts]
    record, texts = (json.loads(json.dumps(part)) for part in (found.record(), found.texts_record()))
    assert Evaluation.from_record(record) == replace(found, texts=())
    assert Evaluation.from_record(record).with_texts(texts) == found


class Watched(RolloutGroup):
    """A group whose end a weak reference tells."""

    __slots__ = ("__weakref__",)


def test_no_more_groups_are_kept_than_are_drawn_at_once():
    config = CONFIG.model_copy(update={"problems": 60, "target_problems": 60})
    problems = held_out(config, bands=BANDS, seed=1)
    given: list[weakref.ref[Watched]] = []
    alive: list[int] = []

    async def counted(request: GroupRequest, by: JudgeRequest) -> RolloutGroup:
        await asyncio.sleep(0)
        if request.group_id == len(problems) - 1:
            alive.append(sum(one() is not None for one in given))
        group = await sample(request, by)
        watched = Watched(group.group_id, group.item, group.prompt_ids, group.rollouts)
        given.append(weakref.ref(watched))
        return watched

    asyncio.run(evaluate(asked_policy(counted), "c", problems, config, 0, lambda done, total: None))
    assert len(problems) == 120
    assert len(given) == 120
    assert len(alive) == 1
    assert alive[0] <= LEAST_AT_ONCE


def scores(*strict: int, samples: int = 4) -> list[ProblemScore]:
    return [ProblemScore(f"p{i}", Stratum.of(op=2), samples, samples, c, 1.0, {}) for i, c in enumerate(strict)]


def test_held_out_problems_are_distinct_test_problems_and_the_target_band_has_more():
    problems = held_out(CONFIG, bands=BANDS, seed=1)
    assert [p.stratum["op"] for p in problems] == [2] * 3 + [3] * 5
    assert {p.address.split for p in problems} == {"test"}
    assert len({p.id for p in problems}) == 8


def test_the_same_seed_draws_the_same_and_a_record_survives_json():
    assert run().scores == run().scores
    assert run(seed=5).scores != run().scores
    read = Evaluation.from_record(json.loads(json.dumps(run().record())))
    assert (read.scores, read.samples) == (run().scores, run().samples)


def test_a_completion_that_the_verifier_failed_on_is_no_sample():
    (problem, *_) = held_out(CONFIG, bands=Bands(), seed=1)
    judged = score(RolloutGroup(0, problem, (1,), (rollout(0, True), rollout(1, None), rollout(2, False))))
    assert (judged.samples, judged.strict, judged.outcome) == (2, 1, 2)


def test_curves_are_the_unbiased_estimate_at_powers_of_two():
    assert powers(8) == [1, 2, 4, 8]
    assert powers(6) == [1, 2, 4]
    assert curve(scores(2, 0), "strict") == {"1": 0.25, "2": pytest.approx((5 / 6) / 2), "4": 0.5}


def test_a_gain_is_paired_by_problem_and_refuses_other_problems():
    found = gain(scores(0, 1, 2), scores(1, 2, 3), "strict", 1, seed=0)
    assert found.mean == found.lo == found.hi == 0.25
    with pytest.raises(AssertionError):
        gain(scores(1), [], "strict", 1, seed=0)


def test_a_completion_that_was_not_judged_costs_its_problem_the_largest_k_and_no_other_problem():
    before, after = scores(0, 2, 4), scores(2, 4, 4)
    short = [*before[:2], replace(before[2], samples=3, strict=3)]
    assert asked(short) == 4
    assert curve(short, "strict") == {
        "1": pytest.approx((0 + 0.5 + 1) / 3),
        "2": pytest.approx((0 + 5 / 6 + 1) / 3),
        "4": pytest.approx((0 + 1) / 2),
    }
    assert interval(short, "strict", 4, seed=0).mean == 0.5
    assert gain(short, after, "strict", 4, seed=0).mean == 0.5
    assert gain(after, short, "strict", 1, seed=0).mean == pytest.approx(-1 / 3)


def test_an_interval_draws_problems_within_their_stratum():
    easy, hard = scores(4, 4, 4), [replace(s, stratum=Stratum.of(op=3)) for s in scores(0, 0, 0)]
    found = interval([*easy, *hard], "strict", 1, seed=0)
    assert found.mean == found.lo == found.hi == 0.5


def test_a_stratum_with_more_problems_has_no_more_weight_here_than_in_a_comparison():
    easy = [replace(s, stratum=Stratum.of(op=2)) for s in scores(4, 2)]
    hard = [replace(s, problem_id=f"h{i}", stratum=Stratum.of(op=3)) for i, s in enumerate(scores(0, 1, 0, 0, 0, 3))]
    both = [*easy, *hard]
    measured = Evaluation("c", 1.0, 1, 1.0, 1.0, tuple(both), ())
    compared = estimate(Scores([measured]).table(Bands(ranges={"all": {"op": "2-3"}}), "all", "verified", 1))
    assert compared is not None
    assert curve(both, "strict")["1"] == pytest.approx(compared.mean) == pytest.approx((0.75 + 1 / 6) / 2)
    found = interval(both, "strict", 1, seed=0)
    assert found.mean == pytest.approx(compared.mean)
    assert (found.lo, found.hi) == pytest.approx((compared.lo, compared.hi), abs=0.05)
    zeros = [replace(s, strict=0) for s in both]
    assert gain(zeros, both, "strict", 1, seed=0).mean == pytest.approx(compared.mean)


def test_scores_of_a_family_without_steps_are_read_by_the_answer_alone():
    judgements = [Judgement(right=right) for right in (True, False)]
    rollouts = tuple(
        Rollout(Completion(i, (5, 3), (-1.0, -1.0), "stop", 0, 0), "text", judgement, judgement.score)
        for i, judgement in enumerate(judgements)
    )
    judged = score(RolloutGroup(0, ITEM, (1,), rollouts))
    assert (judged.samples, judged.outcome, judged.strict, judged.process_accuracy) == (2, 1, None, None)
    assert kinds([judged]) == ("outcome",)
    assert kinds(scores(1)) == ("strict", "outcome")


def test_a_score_counts_first_errors_by_status_and_place_and_traces_apart():
    right, value, early = StepStatus.RIGHT, StepStatus.WRONG_VALUE, StepStatus.TOO_EARLY
    judgements = [
        trace(right, right),
        trace(right, value),
        trace(right, value, early),
        trace(early),
        trace(right, right),
    ]
    rollouts = tuple(
        Rollout(Completion(i, (5, 3), (-1.0, -1.0), "stop", 0, 0), "text", judgement, 0.0)
        for i, judgement in enumerate(judgements)
    )
    judged = score(RolloutGroup(0, ITEM, (1,), rollouts))
    assert judged.first_errors == {"too early": [1], "wrong value": [0, 2]}
    assert judged.traces == 4
