"""Evaluation: sampled pass@k per stratum and band, outcome and process-verified side by side, on held-out problems.

An `Evaluation` keeps the score of every problem, so that bands, intervals and paired differences are all computed from
one record. Protocol: the paper's section on evaluation, with the unbiased estimator of pass@k, 1 - C(n-c, k) / C(n, k).
Sampling is never greedy: the letters of op-graph traces are uniform noise, and the most likely letter is often one
that is already used.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain
from statistics import fmean
from typing import Any, Final, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from actors.records import GroupRequest, JudgeRequest, RolloutGroup, Sampling
from trainers.evaluation.asking import AskedPolicy
from trainers.evaluation.bands import Bands
from verifier.errors import BadTask, Failure
from verifier.estimators import Interval, bootstrap_interval, paired_interval, pass_at_k
from verifier.families import AnyTask, open_task, opens
from verifier.judgement import Judgement, StepStatus, TraceJudgement, from_record
from verifier.recovery import Outcome, Plants
from verifier.rewards.registry import Reward
from verifier.seeds import derive
from verifier.task import Address, Item, Stratum, prompt_text

Kind = Literal["strict", "outcome"]
STAGE_SEED: Final = 1  # of an eval stage's items: the same for every seed of a run, so that runs can be compared
RL_SEED: Final = 2  # of those evaluated inside RL, which are others: `best` is chosen by them
KEPT_TEXTS = 1000  # of an evaluation, spread over its strata: about 2 MB of op-graph traces


class EvalConfig(BaseModel):
    """What to sample. The strata of the task are the rows; the target band gets more items, since it decides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: AnyTask = Field(description="the problems to measure on")
    problems: int = Field(default=40, ge=1, description="held out, of each stratum outside the target band [problems]")
    target_problems: int = Field(
        default=150, ge=1, description="held out, of each stratum of the target band [problems]"
    )
    samples: int = Field(default=8, ge=1, description="of each problem; pass@k is given for k up to this [completions]")
    temperature: float = Field(default=1.0, gt=0, description="of sampling; arXiv 2512.07783 evaluates at 0.7")
    max_tokens: int = Field(default=160, ge=1, description="longest completion [tokens]")
    recovery: bool = Field(
        default=False,
        exclude_if=lambda asked: not asked,  # so that a stage which does not ask stays the stage it was
        description="also plant an error in a right trace of each problem and count recoveries; in eval stages only",
    )

    @field_validator("recovery")
    @classmethod
    def _errors_can_be_planted(cls, recovery: bool, info: ValidationInfo) -> bool:
        task = info.data.get("task")
        if recovery and task is not None and opens(info) and not isinstance(open_task(task), Plants):
            raise BadTask(f"no errors can be planted in traces of the family {task.family}: leave recovery out")
        return recovery

    def per_stratum(self, target: bool) -> int:
        """The number of items of a stratum."""
        return self.target_problems if target else self.problems


class NotJudged(Failure):
    """The judge failed on every completion of an item, so it has no score; the message has the first error."""


@dataclass(frozen=True, slots=True)
class ProblemScore:
    """What `samples` completions of one item scored: counts of right answers and of verified traces.

    `strict`, `process_accuracy` and `traces` are None where the family judges no steps. `errors` counts all steps that
    are not right, by status; `first_errors` the first one of each completion, by status and then by its number among
    the steps. `traces` is the number of completions with different steps or statuses; the letters are ignored.
    """

    problem_id: str
    stratum: Stratum
    samples: int
    outcome: int
    strict: int | None
    process_accuracy: float | None
    errors: dict[str, int]
    first_errors: dict[str, list[int]] = field(default_factory=dict)
    traces: int | None = None

    @property
    def right(self) -> int:
        """The completions that are verified, or right where no steps are judged."""
        return self.outcome if self.strict is None else self.strict

    @property
    def solved(self) -> bool:
        """Whether at least half of its completions are verified (right, where no steps are judged)."""
        return 2 * self.right >= self.samples


@dataclass(frozen=True, slots=True)
class RecoveryScore:
    """What the completions made of one error planted in an item's gold trace; `outcomes` counts them by outcome."""

    problem_id: str
    stratum: Stratum
    alternative: str
    step: int
    outcomes: dict[str, int]

    @property
    def recovered(self) -> float:
        """The share of the completions that recovered, in [0, 1]."""
        return self.outcomes.get(Outcome.RECOVERED, 0) / sum(self.outcomes.values())


@dataclass(frozen=True, slots=True)
class TextSample:
    """One completion to look at: the item, the text, and its judgement."""

    address: Address
    prompt: str
    text: str
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One checkpoint's scores on one fixed set of problems, and one text per stratum to look at.

    `recovery` is empty unless the evaluation was asked for it. `texts` are those of the first problems of each stratum,
    in the order of the scores: one completion that ended as most of its problem's did.
    """

    checkpoint: str
    temperature: float
    tokens: int
    flops: float
    seconds: float
    scores: tuple[ProblemScore, ...]
    samples: tuple[TextSample, ...]
    recovery: tuple[RecoveryScore, ...] = ()
    texts: tuple[TextSample, ...] = ()

    def strata(self) -> tuple[Stratum, ...]:
        """The measured strata, in the order of the items."""
        return tuple(dict.fromkeys(s.stratum for s in self.scores))

    def record(self) -> dict[str, Any]:
        """The JSON form, without `texts`, which few of its readers want (`texts_record`)."""
        return {name: value for name, value in asdict(self).items() if name != "texts"}

    def texts_record(self) -> list[dict[str, Any]]:
        """The JSON form of `texts`."""
        return [asdict(text) for text in self.texts]

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Evaluation:
        """The inverse of `record`; `texts` are empty."""
        scores = tuple(_problem_scores(record["scores"]))
        samples = tuple(_text_sample(s) for s in record["samples"])
        recovery = tuple(
            RecoveryScore(**{**s, "stratum": Stratum.from_record(s["stratum"])}) for s in record.get("recovery", ())
        )
        return cls(**{**record, "scores": scores, "samples": samples, "recovery": recovery})

    def with_texts(self, record: list[dict[str, Any]]) -> Evaluation:
        """The same evaluation with the texts of a `texts_record`."""
        return replace(self, texts=tuple(_text_sample(text) for text in record))


def _problem_score(record: dict[str, Any]) -> ProblemScore:
    return ProblemScore(**{**record, "stratum": Stratum.from_record(record["stratum"])})


def _problem_scores(records: Sequence[dict[str, Any]]) -> Iterator[ProblemScore]:
    """The scores, which stand by stratum: neighbours share one, since making one takes longer than the rest."""
    same: dict[str, Any] | None = None
    stratum = None
    for record in records:
        if stratum is None or record["stratum"] != same:
            same, stratum = record["stratum"], Stratum.from_record(record["stratum"])
        yield ProblemScore(**{**record, "stratum": stratum})


def _text_sample(record: dict[str, Any]) -> TextSample:
    placed = Address.from_record(record["address"])
    return TextSample(placed, record["prompt"], record["text"], from_record(record["judgement"]))


@dataclass(frozen=True, slots=True)
class Measured:
    """All that stays of a group: an evaluation of a million completions does not keep their tokens."""

    score: ProblemScore
    sample: TextSample
    typical: TextSample
    tokens: int
    flops: float

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """The inverse of `asdict`."""
        texts = {name: _text_sample(record[name]) for name in ("sample", "typical")}
        return cls(**{**record, **texts, "score": _problem_score(record["score"])})


class Memory(Protocol):
    """What an evaluation measured before it was ended; `trainers.evaluation.unfinished.Unfinished` is one in a file."""

    def get(self, item: Item) -> Measured | None:
        """What was measured of an item; None if it was not."""
        ...

    def add(self, item: Item, measured: Measured) -> None:
        """Keep what was measured of an item."""
        ...


async def evaluate(
    policy: AskedPolicy,
    checkpoint: str,
    items: Sequence[Item],
    config: EvalConfig,
    seed: int,
    progress: Callable[[int, int], None],
    memory: Memory | None = None,
) -> Evaluation:
    """Sample and judge every item; `checkpoint` only names the policy in the result.

    The seed of an item depends on (seed, its id) alone, so that two checkpoints are compared on the same draws.
    `progress` is called with (items done, items in all). Items that are in `memory` are not asked again. Raises
    NotJudged.
    """
    started = time.monotonic()
    sampling = Sampling(config.max_tokens, config.temperature, stop_token_ids=policy.end_ids)
    done = 0

    async def one(number: int, item: Item) -> Measured:
        nonlocal done
        measured = memory.get(item) if memory is not None else None
        if measured is None:
            request = GroupRequest(number, derive(seed, "eval", item.id), policy.encode(item), config.samples, sampling)
            group = await policy.rollout(request, JudgeRequest(config.task, item, REWARDS))
            measured = _measured(group, policy.cost(group))
            if memory is not None:
                memory.add(item, measured)
        done += 1
        progress(done, len(items))
        return measured

    asks = [partial(one, number, item) for number, item in enumerate(items)]
    measured = await policy.each(asks, config.samples)
    firsts = {one.score.stratum: one.sample for one in reversed(measured)}
    return Evaluation(
        checkpoint=checkpoint,
        temperature=config.temperature,
        tokens=sum(one.tokens for one in measured),
        flops=sum(one.flops for one in measured),
        seconds=time.monotonic() - started,
        scores=tuple(one.score for one in measured),
        samples=tuple(firsts[stratum] for stratum in dict.fromkeys(item.stratum for item in items)),
        texts=_kept_texts(measured),
    )


def _kept_texts(measured: Sequence[Measured]) -> tuple[TextSample, ...]:
    """The typical texts of the first problems of each stratum."""
    left = Counter(dict.fromkeys((one.score.stratum for one in measured), 0))
    most = KEPT_TEXTS // max(1, len(left))
    kept: list[TextSample] = []
    for one in measured:
        left[one.score.stratum] += 1
        if left[one.score.stratum] <= most:
            kept.append(one.typical)
    return tuple(kept)


def _measured(group: RolloutGroup, flops: float) -> Measured:
    """Raises NotJudged."""
    item = group.item
    samples = [
        TextSample(item.address, prompt_text(item.prompt), rollout.text, rollout.judgement)
        for rollout in group.rollouts
        if rollout.judgement is not None
    ]
    if not samples:
        raise NotJudged(f"no completion of item {item.id} could be judged: {group.error}")
    counted = score(group)
    typical = next((s for s in samples if s.judgement.solved == counted.solved), samples[0])
    return Measured(counted, samples[0], typical, sum(len(r.completion.token_ids) for r in group.rollouts), flops)


REWARDS = (Reward("outcome"),)  # evaluation counts judgements, but a request for judging names a reward


def held_out(config: EvalConfig, bands: Bands, seed: int) -> list[Item]:
    """The fixed items of an evaluation, by stratum: distinct ones of the test split."""
    task = open_task(config.task)
    return [item for s, count in held_out_counts(config, bands).items() for item in task.held_out(s, count, seed)]


def held_out_counts(config: EvalConfig, bands: Bands) -> dict[Stratum, int]:
    """How many items of each stratum are held out."""
    target = bands.target
    return {
        s: config.per_stratum(target is not None and bands.holds(target, s)) for s in open_task(config.task).strata()
    }


def score(group: RolloutGroup) -> ProblemScore:
    """Count one group, without the completions on which the judge failed."""
    judgements = [r.judgement for r in group.rollouts if r.judgement is not None]
    traces = [j for j in judgements if isinstance(j, TraceJudgement)]
    errors = Counter(s.status.value for j in traces for s in j.steps if s.status is not StepStatus.RIGHT)
    return ProblemScore(
        problem_id=group.item.id,
        stratum=group.item.stratum,
        samples=len(judgements),
        outcome=sum(j.right for j in judgements),
        strict=sum(j.verified for j in traces) if traces else None,
        process_accuracy=sum(j.process_accuracy for j in traces) / len(traces) if traces else None,
        errors=dict(sorted(errors.items())),
        first_errors=_first_errors(traces),
        traces=len({tuple((s.name, s.status) for s in j.steps) for j in traces}) if traces else None,
    )


def _first_errors(traces: Sequence[TraceJudgement]) -> dict[str, list[int]]:
    places = Counter((j.steps[j.first_error].status.value, j.first_error) for j in traces if j.first_error is not None)
    return {
        status: [places[status, place] for place in range(1 + max(p for s, p in places if s == status))]
        for status in sorted({status for status, _ in places})
    }


def kinds(scores: Sequence[ProblemScore]) -> tuple[Kind, ...]:
    """The kinds of pass@k that these scores have: by verified traces, if steps were judged, and by answers."""
    return ("strict", "outcome") if any(s.strict is not None for s in scores) else ("outcome",)


def powers(samples: int) -> list[int]:
    """The k of the curves: 1, 2, 4, ... up to `samples`."""
    return [2**i for i in range(samples.bit_length())]


def asked(scores: Sequence[ProblemScore]) -> int:
    """The completions asked for each problem; one on which the judge failed has fewer judged ones. 0 without scores."""
    return max([s.samples for s in scores], default=0)


def curve(scores: Sequence[ProblemScore], kind: Kind) -> dict[str, float]:
    """Mean pass@k for every k up to the samples asked, over the problems that have k judged ones.

    This mean and those of `interval` and `gain` are over strata, as in `trainers.evaluation.comparison`: a stratum with
    more problems has no more weight.
    """
    return {str(k): fmean(chain(*_stratified(_judged(scores, k), kind, k))) for k in powers(asked(scores))}


def interval(scores: Sequence[ProblemScore], kind: Kind, k: int, seed: int) -> Interval:
    """Mean pass@k with its 95% bootstrap interval over the problems of each stratum that have k judged samples."""
    return bootstrap_interval(_stratified(_judged(scores, k), kind, k), seed)


def gain(before: Sequence[ProblemScore], after: Sequence[ProblemScore], kind: Kind, k: int, seed: int) -> Interval:
    """After minus before in mean pass@k with its 95% bootstrap interval, paired by problem.

    Problems without k judged samples on both sides are left out.
    """
    ids = [s.problem_id for s in before]
    assert ids == [s.problem_id for s in after], "paired evaluations hold the same problems in the same order"
    pairs = [(b, a) for b, a in zip(before, after, strict=True) if min(b.samples, a.samples) >= k]
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    return paired_interval(_stratified(first, kind, k), _stratified(second, kind, k), seed)


def _pass(score: ProblemScore, kind: Kind, k: int) -> float:
    return pass_at_k(score.samples, (score.strict or 0) if kind == "strict" else score.outcome, k)


def _judged(scores: Sequence[ProblemScore], k: int) -> list[ProblemScore]:
    return [score for score in scores if score.samples >= k]


def _stratified(scores: Sequence[ProblemScore], kind: Kind, k: int) -> list[list[float]]:
    """pass@k by stratum, weighted: the mean over all problems is that over strata. Equally large strata weigh 1."""
    found: dict[Stratum, list[float]] = {}
    for score in scores:
        found.setdefault(score.stratum, []).append(_pass(score, kind, k))
    return [[len(scores) / (len(found) * len(of)) * value for value in of] for of in found.values()]
