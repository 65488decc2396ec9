"""The loop trains on every group once, in order, whatever order groups finish in, and goes on where it was saved."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from actors.records import Completion, GroupRequest, JudgeRequest, Rollout, RolloutGroup
from actors.rollouts.table import StepRollouts
from actors.weights.parity import ParityReference
from actors.weights.version import WeightVersion
from tests.judgements import verified
from trainers.config import RlConfig
from trainers.interruption import Interrupted
from trainers.learner.skipped import MAX_SKIPPED, NotFinite
from trainers.records import Batch, StepReport
from trainers.rl.buffer import StaleGroupError
from trainers.rl.drawing import VerifierBroken
from trainers.rl.loop import LoopHooks, LoopState, RlLoop, Score

TASKS = {"ops": [2, 3], "max_facts": 4}


class FakeFleet:
    """Draws rewards from the request's seed; `delays` shuffles the order in which groups come back.

    The groups whose numbers are in `without` have no gradient; with `equal` none has. The verifier fails on the first
    `failing` completions of `failing_groups`, or of all groups.
    """

    def __init__(
        self,
        delays: int | None = None,
        equal: bool = False,
        failing: int = 0,
        without: frozenset[int] = frozenset(),
        failing_groups: frozenset[int] | None = None,
    ) -> None:
        self.without = without
        self.failing_groups = failing_groups
        self.order = random.Random(delays) if delays is not None else None
        self.equal = equal
        self.failing = failing
        self.asked: list[GroupRequest] = []
        self.items: dict[int, str] = {}
        self.version = 0
        self.sequences = 8

    async def rollout(self, request: GroupRequest, by: JudgeRequest) -> RolloutGroup:
        self.asked.append(request)
        self.items[request.group_id] = by.item.id
        if self.order is not None:
            for _ in range(self.order.randrange(20)):
                await asyncio.sleep(0)
        draw = random.Random(request.seed)
        equal = self.equal or request.group_id in self.without
        rollouts = tuple(self._rollout(i, draw, equal) for i in range(request.group_size))
        if self.failing_groups is None or request.group_id in self.failing_groups:
            failed = tuple(_failed(rollout, request.group_id) for rollout in rollouts[: self.failing])
            rollouts = (*failed, *rollouts[self.failing :])
        return RolloutGroup(request.group_id, by.item, request.prompt_ids, rollouts)

    def _rollout(self, index: int, draw: random.Random, equal: bool) -> Rollout:
        right = not equal and (index == 0 or draw.random() < 0.5) and index != 1
        completion = Completion(index, (5, 6, 3), (-1.0, -1.0, -1.0), "stop", self.version, self.version)
        return Rollout(completion, "", verified(right), float(right))

    async def sync(self, weights) -> list:
        self.version = weights.version
        return []


def _failed(rollout: Rollout, group: int) -> Rollout:
    index = rollout.completion.index
    return Rollout(rollout.completion, "", None, None, error=f"fault {index} of group {group}")


class FakeLearner:
    """Remembers what it was given; its weights are the sum of all advantages it saw."""

    def __init__(self, skips: int = 0) -> None:
        self.batches: list[Batch] = []
        self.skips = skips

    async def step(self, batch: Batch) -> StepReport:
        self.batches.append(batch)
        return StepReport(
            0.0,
            1.0,
            1e-4,
            0.0,
            1.0,
            0.0,
            0.0,
            0.0,
            1.0,
            0.0,
            0.0,
            0.0,
            batch.tokens,
            1,
            10.0,
            0.1,
            len(self.batches) <= self.skips,
        )

    async def publish(self, version: int) -> WeightVersion:
        return WeightVersion(version, (), (), "", ParityReference((), ()))

    async def lost(self) -> None:
        await asyncio.Event().wait()


def config(**fields) -> RlConfig:
    base = {
        "task": TASKS,
        "steps": 4,
        "prompts_per_step": 3,
        "group_size": 4,
        "max_tokens": 8,
        "checkpoint_every": 2,
        "refills": 0,
        "learning": {"optimizer": {"learning_rate": 1e-4}},
    }
    return RlConfig.model_validate(base | fields)


class Run:
    """A loop whose disk refuses the first checkpoint of each step in `refusals`."""

    def __init__(
        self,
        fleet: FakeFleet | None = None,
        learner: FakeLearner | None = None,
        refusals: tuple[int, ...] = (),
        **fields,
    ) -> None:
        self.fleet = fleet or FakeFleet()
        self.learner = learner or FakeLearner()
        refused = list(refusals)
        self.saved: list[tuple[LoopState, Score]] = []
        self.ahead: list[dict] = []
        self.evaluated: list[int] = []
        self.events: list[tuple[str, dict]] = []
        self.kept: list[StepRollouts] = []

        async def save(state: LoopState, score: Score) -> bool:
            if state.step in refused:
                refused.remove(state.step)
                return False
            self.saved.append((state, score))
            self.ahead.append(self.loop.drawing.finished())
            return True

        async def evaluate(step: int) -> float:
            self.evaluated.append(step)
            return step / 10

        self.loop = RlLoop(
            config(**fields),
            7,
            self.fleet,
            self.learner,
            lambda item: (1, 2),
            (3,),
            LoopHooks(
                lambda group: 100.0,
                save,
                evaluate,
                lambda event, **values: self.events.append((event, values)),
                self.kept.append,
            ),
        )

    def go(self) -> Run:
        asyncio.run(self.loop.run())
        return self


def test_every_step_learns_from_all_its_groups_and_saves_when_due():
    run = Run().go()
    assert run.loop.state.step == 4
    assert len(run.learner.batches) == 4
    assert [state.step for state, _ in run.saved] == [2, 4]
    assert [v["step"] for e, v in run.events if e == "rl_step"] == [1, 2, 3, 4]
    assert [(v["completions"], v["longest"]) for e, v in run.events if e == "rl_step"] == [(12, 5)] * 4
    assert run.loop.state.flops == 4 * (10.0 + 3 * 100.0)
    assert len({r.group_id for r in run.fleet.asked}) == len(run.fleet.asked) == 12


def test_the_rollouts_since_the_last_checkpoint_score_the_next_one_also_where_one_between_was_not_written():
    each, refused = Run(checkpoint_every=1).go(), Run(checkpoint_every=1, refusals=(2,)).go()
    values = [score.value for _, score in each.saved]
    assert values[1] != values[2]
    assert [state.step for state, _ in refused.saved] == [1, 3, 4]
    assert refused.saved[1][1].value == pytest.approx((values[1] + values[2]) / 2)


def test_asked_to_stop_after_a_checkpoint_that_was_not_written_the_loop_tries_it_again():
    run = Run(refusals=(2,))
    emit = lambda event, **values: run.loop.stop() if values.get("step") == 2 else None  # noqa: E731
    run.loop.hooks = replace(run.loop.hooks, emit=emit)
    with pytest.raises(Interrupted):
        run.go()
    assert [state.step for state, _ in run.saved] == [2]


def test_the_order_in_which_groups_finish_changes_nothing_that_is_learned():
    straight, shuffled = Run(FakeFleet()).go(), Run(FakeFleet(delays=3)).go()
    for a, b in zip(straight.learner.batches, shuffled.learner.batches, strict=True):
        for s, t in zip(a.streams, b.streams, strict=True):
            assert s.advantage.tolist() == t.advantage.tolist()
            assert s.input_ids.tolist() == t.input_ids.tolist()


def test_a_restored_loop_asks_what_the_straight_one_asked():
    straight = Run(curriculum="frontier").go()
    resumed = Run(curriculum="frontier")
    resumed.loop.restore(straight.saved[0][0])
    resumed.fleet.version = 2  # the loop expects the engines at the step it was restored to
    resumed.go()
    assert [r for r in straight.fleet.asked if r.group_id >= 6] == resumed.fleet.asked
    assert resumed.loop.state == straight.loop.state


@pytest.mark.parametrize(("budget", "steps"), [({"flops": 931}, 4), ({"flops": 930}, 3), ({"paper_tokens": 101}, 2)])
def test_a_loop_ends_with_the_step_that_reaches_its_budget_also_when_it_is_restored(budget, steps):
    # A step costs 310 FLOPs, and 5/3 of 12 sequences of 5 tokens.
    straight = Run(steps=None, checkpoint_every=1, **budget).go()
    assert straight.loop.state.step == steps
    resumed = Run(steps=None, checkpoint_every=1, **budget)
    resumed.loop.restore(straight.saved[0][0])
    resumed.fleet.version = 1
    resumed.go()
    assert resumed.loop.state == straight.loop.state
    first, *others = (batch.spent_share for batch in straight.learner.batches)
    assert first == 0
    assert others == [batch.spent_share for batch in resumed.learner.batches] == sorted(set(others))


def told(run: Run, event: str) -> list[dict]:
    return [values for name, values in run.events if name == event]


def test_groups_without_a_gradient_are_replaced_within_bounds_and_never_trained_on():
    run = Run(FakeFleet(equal=True), refills=2, steps=1).go()
    assert [r.group_id for r in run.fleet.asked] == list(range(9))
    assert run.learner.batches == []
    assert run.loop.state.step == 1
    assert run.loop.drawing.buffer.counts()["dropped"] == 9


@pytest.mark.parametrize("delays", [None, 3, 4, 5])
def test_a_step_trains_on_exactly_as_many_groups_as_it_wants_whatever_order_they_come_in(delays):
    run = Run(FakeFleet(delays, without=frozenset({0, 2, 4})), prompts_per_step=3, refills=2, steps=1).go()
    assert sorted(r.group_id for r in run.fleet.asked) == [0, 1, 2, 3, 4, 5]
    (step,) = told(run, "rl_step")
    assert (step["trained_groups"], step["judged_groups"], step["no_gradient"]) == (3, 6, 0.5)
    assert len({int(c) for s in run.learner.batches[0].streams for c in s.completion}) == 3 * 4


def test_a_refilled_run_that_is_resumed_asks_what_the_unbroken_one_asked():
    fields = {"curriculum": "frontier", "refills": 1, "max_staleness": 1, "prompts_per_step": 40}
    fields["task"] = {"ops": list(range(2, 9)), "max_facts": 8}
    without = frozenset(range(0, 320, 3))
    straight = Run(FakeFleet(without=without), **fields).go()
    resumed = Run(FakeFleet(delays=2, without=without), **fields)
    resumed.loop.restore(straight.saved[0][0])
    resumed.fleet.version = 2
    resumed.go()
    asked = lambda run: {number: item for number, item in run.fleet.items.items() if number >= 160}  # noqa: E731
    assert asked(straight) == asked(resumed)
    assert resumed.loop.state == straight.loop.state


def test_updates_left_out_because_they_are_not_finite_are_no_updates():
    run = Run(learner=FakeLearner(skips=2)).go()
    assert [e["updates"] for e in told(run, "rl_step")][:3] == [0, 0, 1]
    assert run.loop.state.updates == 2


def test_a_step_of_which_all_updates_were_left_out_is_none_although_it_has_fewer_than_the_recipe_says():
    class Skips(FakeLearner):
        async def step(self, batch: Batch) -> StepReport:
            return replace(await super().step(batch), skipped=len(batch.minibatches))

    run = Run(FakeFleet(without=frozenset(range(0, 12, 3))), Skips(), learning={"minibatches": 3}).go()
    assert [len(batch.minibatches) for batch in run.learner.batches] == [2] * 4
    assert run.loop.state.updates == 0


def test_groups_whose_advantages_are_all_zero_are_replaced_though_their_rewards_differ():
    class MostlyRight(FakeFleet):
        def _rollout(self, index: int, draw: random.Random, equal: bool) -> Rollout:
            made = super()._rollout(index, draw, equal)
            return replace(made, reward=float(index > 1))

    fields: dict[str, Any] = {"group_size": 4, "refills": 1, "steps": 1}
    run = Run(MostlyRight(), learning={"algorithm": "pass_at_k", "pass_k": 3}, **fields).go()
    assert len(run.fleet.asked) == 6
    assert run.learner.batches == []
    assert len(Run(MostlyRight(), **fields).go().learner.batches) == 1


def test_an_evaluation_between_steps_gives_the_score_of_the_checkpoint():
    held_out = {"task": TASKS, "problems": 1, "samples": 1}
    run = Run(eval_every=2, eval=held_out, steps=5, checkpoint_every=1).go()
    assert run.evaluated == [0, 2, 4]
    assert [s.evaluated for _, s in run.saved] == [False, True, False, True, False]
    assert [s.value for _, s in run.saved if s.evaluated] == [0.2, 0.4]


@pytest.mark.parametrize("steps", [3, 2])
def test_asking_to_stop_ends_an_evaluation_and_saves_what_was_learned_before_it_also_after_the_last_step(steps):
    held_out = {"task": TASKS, "problems": 1, "samples": 1}
    fields = {"eval_every": 2, "eval": held_out, "steps": steps, "checkpoint_every": 2}
    stopped = Run(**fields)

    async def endless(step: int) -> float:
        if step:
            stopped.loop.stop()
            await asyncio.Event().wait()
        return 0.0

    stopped.loop.hooks = replace(stopped.loop.hooks, evaluate=endless)
    with pytest.raises(Interrupted):
        stopped.go()
    ((state, score),) = stopped.saved
    assert (state.step, score.evaluated) == (2, False)
    resumed = Run(**fields)
    resumed.loop.restore(state, evaluated=score.evaluated)
    resumed.fleet.version = 2
    assert resumed.go().evaluated == [2]


def test_a_policy_that_was_evaluated_before_it_was_saved_is_not_evaluated_again():
    held_out = {"task": TASKS, "problems": 1, "samples": 1}
    resumed = Run(eval_every=2, eval=held_out, steps=4)
    resumed.loop.restore(LoopState(step=2), evaluated=True)
    resumed.fleet.version = 2
    assert resumed.go().evaluated == [4]


DETERMINISTIC = {
    "order": "deterministic",
    "max_staleness": 2,
    "learning": {"optimizer": {"learning_rate": 1e-4}, "correction": {"weights": "none"}},
}


@pytest.mark.parametrize("delays", [None, 1, 2])
def test_in_deterministic_order_a_step_is_drawn_wholly_by_the_oldest_version_allowed(delays):
    run = Run(FakeFleet(delays), steps=6, **DETERMINISTIC).go()
    versions = [{int(v) for s in batch.streams for v in s.weight_version} for batch in run.learner.batches]
    assert versions == [{0}, {0}, {0}, {1}, {2}, {3}]


def test_a_version_that_comes_while_a_group_is_drawn_is_refused_in_deterministic_order():
    class Hasty(FakeFleet):
        def _rollout(self, index: int, draw: random.Random, equal: bool) -> Rollout:
            self.version += 1
            return super()._rollout(index, draw, equal)

    with pytest.raises(StaleGroupError):
        Run(Hasty(), **DETERMINISTIC).go()


def test_a_deterministic_run_that_is_resumed_trains_on_the_groups_it_had_drawn_ahead():
    fields: dict[str, Any] = DETERMINISTIC | {"steps": 6, "refills": 1}
    without = frozenset(range(0, 36, 9))
    straight = Run(FakeFleet(delays=1, without=without), **fields).go()
    resumed = Run(FakeFleet(delays=5, without=without), **fields)
    assert sorted(straight.ahead[0]) == [2, 3]
    numbers = [group.group_id for group in straight.ahead[0][3]]
    assert numbers == sorted(numbers)
    resumed.loop.restore(straight.saved[0][0], straight.ahead[0])
    resumed.fleet.version = 2
    resumed.go()
    assert min(r.group_id for r in resumed.fleet.asked) == 4 * 6
    for a, b in zip(straight.learner.batches[2:], resumed.learner.batches, strict=True):
        for s, t in zip(a.streams, b.streams, strict=True):
            assert s.weight_version.tolist() == t.weight_version.tolist()
            assert s.advantage.tolist() == t.advantage.tolist()
    assert resumed.loop.state == straight.loop.state


@pytest.mark.parametrize(("staleness", "drawn_meanwhile"), [(0, []), (1, [3, 4, 5])])
def test_with_staleness_the_next_step_is_drawn_while_this_one_learns(staleness, drawn_meanwhile):
    class Slow(FakeLearner):
        """Its first step takes long enough for all that is under way to be asked for."""

        async def step(self, batch: Batch) -> StepReport:
            if not self.batches:
                await asyncio.sleep(0.05)
                order.extend(request.group_id for request in fleet.asked)
            return await super().step(batch)

    order: list[int] = []
    fleet = FakeFleet()
    run = Run(fleet, Slow(), max_staleness=staleness).go()
    assert order == [0, 1, 2, *drawn_meanwhile]
    assert [request.group_id for request in fleet.asked] == list(range(12))
    assert run.loop.drawing.buffer.counts()["consumed"] == 12


@pytest.mark.parametrize("steps", [4, 1])
def test_asking_to_stop_saves_after_the_step_and_ends_also_in_the_last_one(steps):
    run = Run(steps=steps)

    def stop_after_first(event, **values):
        run.loop.stop()

    run.loop.hooks = replace(run.loop.hooks, emit=stop_after_first)
    with pytest.raises(Interrupted):
        run.go()
    assert run.loop.state.step == 1
    assert [state.step for state, _ in run.saved] == [1]


def test_a_verifier_that_fails_often_stops_the_run_rather_than_teach():
    with pytest.raises(VerifierBroken, match=r"12 of 12 completions of step 0; its first error: fault 0 of group 0$"):
        Run(FakeFleet(failing=4, delays=5)).go()


def test_the_verifiers_first_error_of_a_step_is_told_with_its_numbers():
    run = Run(FakeFleet(failing=1, failing_groups=frozenset({4})), prompts_per_step=3).go()
    told = [(step["verifier_errors"], step["verifier_error"]) for event, step in run.events if event == "rl_step"]
    assert told == [(0, None), (1, "fault 0 of group 4"), (0, None), (0, None)]


def test_a_few_steps_without_a_finite_gradient_are_left_out_and_too_many_in_a_row_stop_the_run():
    assert Run(learner=FakeLearner(skips=MAX_SKIPPED), steps=12).go().loop.state.step == 12
    with pytest.raises(NotFinite, match="11 steps in a row"):
        Run(learner=FakeLearner(skips=11), steps=12).go()
