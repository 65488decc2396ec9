"""How often a checkpoint recovers: one error planted in the gold trace of every item, and what is made of it.

The map of one problem is the probe's (docs/http.md); this is the number that compares checkpoints over many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from random import Random

from actors.records import GroupRequest, JudgeRequest, RolloutGroup, Sampling
from trainers.evaluation.asking import AskedPolicy
from trainers.evaluation.evaluate import REWARDS, EvalConfig, Evaluation, RecoveryScore
from verifier.estimators import Interval, bootstrap_interval
from verifier.families import open_task
from verifier.judgement import TraceJudgement
from verifier.recovery import ALTERNATIVES, Outcome, Planted, Plants, outcome
from verifier.seeds import derive
from verifier.task import Item, Stratum, Task


@dataclass(frozen=True, slots=True)
class PlantedItem:
    """An item with an error planted in its gold trace."""

    item: Item
    error: Planted

    @property
    def continued(self) -> Item:
        """The item as it is asked: the prompt goes on with the trace up to the error."""
        assert isinstance(self.item.prompt, str), "a trace that is asked for in chat cannot be continued"
        return replace(self.item, prompt=f"{self.item.prompt} {self.error.given}")


def planted_items(config: EvalConfig, items: Sequence[Item], seed: int) -> list[PlantedItem]:
    """One error for every item in which one can be planted; its step and kind depend on (seed, the item's id) alone."""
    task: Task = open_task(config.task)
    assert isinstance(task, Plants), "EvalConfig asks for recovery where errors can be planted only"
    found = ((item, _planted(task, task, item, seed)) for item in items)
    return [PlantedItem(item, error) for item, error in found if error is not None]


def _planted(task: Task, plants: Plants, item: Item, seed: int) -> Planted | None:
    assert item.gold is not None, "a family that plants errors knows its gold traces"
    trace = item.gold.strip()
    judgement = task.judge(item, trace)
    assert isinstance(judgement, TraceJudgement)
    draw = Random(derive(seed, "recovery", item.id))  # noqa: S311 - no secret
    alternatives = sorted(ALTERNATIVES, key=lambda _: draw.random())  # first, so that each kind has its third
    steps = sorted(range(len(judgement.steps)), key=lambda _: draw.random())
    for alternative, step in product(alternatives, steps):
        made = plants.plant(item, trace, step, alternative, derive(seed, item.id))
        if isinstance(made, Planted):
            return made
    return None


async def with_recovery(
    evaluation: Evaluation, planted: Sequence[PlantedItem], policy: AskedPolicy, config: EvalConfig, seed: int
) -> Evaluation:
    """The evaluation with what the same policy makes of each planted error; a trace has `max_tokens` in all."""

    async def one(number: int, one: PlantedItem) -> tuple[RecoveryScore, int, float]:
        prompt_ids = policy.encode(one.continued)
        left = config.max_tokens - (len(prompt_ids) - len(policy.encode(one.item)))
        sampling = Sampling(max(1, left), config.temperature, stop_token_ids=policy.end_ids)
        drawn_with = derive(seed, "recovery draws", one.item.id)
        request = GroupRequest(number, drawn_with, prompt_ids, config.samples, sampling)
        # The reward worker sees the continuation only; the whole trace is judged here.
        group = await policy.rollout(request, JudgeRequest(config.task, one.item, REWARDS))
        return recovery_score(config, one, group), _tokens(group), policy.cost(group)

    asks = [partial(one, number, error) for number, error in enumerate(planted)]
    measured = await policy.each(asks, config.samples)
    return replace(
        evaluation,
        tokens=evaluation.tokens + sum(tokens for _, tokens, _ in measured),
        flops=evaluation.flops + sum(flops for _, _, flops in measured),
        recovery=tuple(score for score, _, _ in measured),
    )


def recovery_score(config: EvalConfig, planted: PlantedItem, group: RolloutGroup) -> RecoveryScore:
    """Count what became of the error in the completions of a group, without those whose text never came back."""
    item, error = planted.item, planted.error
    task: Task = open_task(config.task)
    assert isinstance(task, Plants)
    counts: Counter[Outcome] = Counter()
    for rollout in group.rollouts:
        if rollout.error is not None and not rollout.text:  # the engine aborted it, or its reward workers were lost
            continue
        text = error.given + rollout.text
        judgement = task.judge(item, text)
        assert isinstance(judgement, TraceJudgement)
        as_if = task.judge_as_if(error, text)
        cut_off = rollout.completion.finish_reason == "length"
        counts[outcome(error, judgement, as_if, len(error.given), cut_off)] += 1
    return RecoveryScore(
        problem_id=item.id,
        stratum=item.stratum,
        alternative=error.alternative,
        step=error.step,
        outcomes={outcome.value: count for outcome, count in sorted(counts.items())},
    )


def recovery_rate(scores: Sequence[RecoveryScore], seed: int) -> Interval:
    """The mean share of completions that recovered, with its 95% bootstrap interval over the items of each stratum."""
    shares: dict[Stratum, list[float]] = {}
    for score in scores:
        if score.outcomes:
            shares.setdefault(score.stratum, []).append(score.recovered)
    return bootstrap_interval(list(shares.values()), seed)


def _tokens(group: RolloutGroup) -> int:
    return sum(len(rollout.completion.token_ids) for rollout in group.rollouts)
