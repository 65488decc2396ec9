"""Evaluation: sampled pass@k per op and band, outcome and process-verified side by side, on held-out problems.

An `Evaluation` keeps what every problem scored, so that bands, intervals and paired differences are computed from one
record and never from one another. Protocol: paper section on evaluation, with the unbiased estimator of pass@k
(1 - C(n-c, k) / C(n, k)) throughout. Sampling is never greedy: letters are uniform noise, and the arg-max letter
repeats one that is taken.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from actors.records import GroupRequest, RolloutGroup, Sampling
from trainers.tasks import TaskConfig
from verifier.estimators import Interval, bootstrap_interval, paired_interval, pass_at_k
from verifier.graphs.problem import Problem
from verifier.graphs.splits import problems_for_eval
from verifier.judgement import StepStatus
from verifier.seeds import derive

GROUPS_IN_FLIGHT = 64  # enough to fill every engine's batch, few enough for a steady progress line


class EvalConfig(BaseModel):
    """What to sample. `tasks.ops` are the rows; the target band decides, so it gets more problems per op."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: TaskConfig
    problems: int = Field(default=40, ge=1, description="held-out problems per op outside the target band")
    target_problems: int = Field(default=150, ge=1, description="held-out problems per op of the target band")
    samples: int = Field(default=8, ge=1, description="completions per problem; pass@k is given for k up to this")
    temperature: float = Field(default=1.0, gt=0)
    max_tokens: int = Field(default=160, ge=1)

    def per_op(self, target: bool) -> int:
        """Problems of one op."""
        return self.target_problems if target else self.problems


@dataclass(frozen=True, slots=True)
class ProblemScore:
    """What `samples` completions of one problem scored: counts of right answers and of verified traces."""

    problem_id: str
    op: int
    mode: str
    template: str
    samples: int
    outcome: int
    strict: int
    process_accuracy: float
    errors: dict[str, int]


@dataclass(frozen=True, slots=True)
class TraceSample:
    """One completion to look at, with all that judging it again takes: the verdict follows from the texts."""

    problem_id: str
    op: int
    problem: str
    question: str
    solution: str
    text: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One checkpoint's scores on one fixed set of problems, and one trace per op to look at."""

    checkpoint: str
    temperature: float
    tokens: int
    flops: float
    seconds: float
    scores: tuple[ProblemScore, ...]
    samples: tuple[TraceSample, ...]

    def ops(self, ops: Sequence[int]) -> list[ProblemScore]:
        """The scores of the problems whose op is in `ops`."""
        return [s for s in self.scores if s.op in set(ops)]

    def record(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Evaluation:
        """The inverse of `record`."""
        scores = tuple(ProblemScore(**s) for s in record["scores"])
        samples = tuple(TraceSample(**s) for s in record["samples"])
        return cls(**{**record, "scores": scores, "samples": samples})


Sample = Callable[[GroupRequest, Problem], Awaitable[RolloutGroup]]
"""Samples one prompt and judges every completion: what evaluation needs of a fleet."""


async def evaluate(
    sample: Sample,
    checkpoint: str,
    problems: Sequence[Problem],
    encode: Callable[[Problem], tuple[int, ...]],
    config: EvalConfig,
    stop_token_ids: tuple[int, ...],
    cost: Callable[[RolloutGroup], float],
    seed: int,
    progress: Callable[[int, int], None],
) -> Evaluation:
    """Sample and judge every problem with the weights that `sample` draws with; `checkpoint` is only written down.

    The seed of a problem depends on (seed, its id) alone, so that two checkpoints are compared on the same draws.
    `cost` gives the FLOPs of drawing a group; `progress` is told (problems done, problems in all).
    """
    gate = asyncio.Semaphore(GROUPS_IN_FLIGHT)
    started = time.monotonic()
    done = 0

    async def one(number: int, problem: Problem) -> RolloutGroup:
        nonlocal done
        sampling = Sampling(config.max_tokens, config.temperature, stop_token_ids=stop_token_ids)
        request = GroupRequest(number, derive(seed, "eval", problem.id), encode(problem), config.samples, sampling)
        async with gate:
            group = await sample(request, problem)
        done += 1
        progress(done, len(problems))
        return group

    groups = await asyncio.gather(*(one(i, p) for i, p in enumerate(problems)))
    judged = [(g.problem, r.text) for g in groups for r in g.rollouts if r.verdict is not None]
    firsts = {problem.spec.op: _trace(problem, text) for problem, text in reversed(judged)}
    return Evaluation(
        checkpoint=checkpoint,
        temperature=config.temperature,
        tokens=sum(len(r.completion.token_ids) for g in groups for r in g.rollouts),
        flops=sum(map(cost, groups)),
        seconds=time.monotonic() - started,
        scores=tuple(score(g) for g in groups),
        samples=tuple(firsts[op] for op in sorted(firsts)),
    )


def _trace(problem: Problem, text: str) -> TraceSample:
    return TraceSample(problem.id, problem.spec.op, problem.problem, problem.question, problem.solution, text)


def held_out(config: EvalConfig, target_ops: Collection[int], seed: int) -> list[Problem]:
    """The fixed problems of an evaluation, by op: distinct ones of the test split."""
    mixture = config.tasks.mixture()
    sets = {n: problems_for_eval(mixture, n, seed) for n in {config.problems, config.target_problems}}
    return [p for op in sorted(sets[config.problems]) for p in sets[config.per_op(op in target_ops)][op]]


def score(group: RolloutGroup) -> ProblemScore:
    """Count one group; completions on which the verifier failed are left out of the samples."""
    verdicts = [r.verdict for r in group.rollouts if r.verdict is not None]
    errors = Counter(s.status.value for v in verdicts for s in v.steps if s.status is not StepStatus.RIGHT)
    spec = group.problem.spec
    return ProblemScore(
        problem_id=group.problem.id,
        op=spec.op,
        mode=spec.mode,
        template=spec.template,
        samples=len(verdicts),
        outcome=sum(v.right for v in verdicts),
        strict=sum(v.verified for v in verdicts),
        process_accuracy=sum(v.process_accuracy for v in verdicts) / max(1, len(verdicts)),
        errors=dict(sorted(errors.items())),
    )


def powers(samples: int) -> list[int]:
    """The k of the curves: 1, 2, 4, ... up to `samples`."""
    return [2**i for i in range(samples.bit_length())]


def curve(scores: Sequence[ProblemScore], kind: str) -> dict[str, float]:
    """Mean pass@k over problems for every k that all problems have samples for. `kind`: "outcome" or "strict"."""
    ks = powers(min((s.samples for s in scores), default=0))
    return {str(k): sum(_passes(scores, kind, k)) / len(scores) for k in ks}


def interval(scores: Sequence[ProblemScore], kind: str, k: int, seed: int) -> Interval:
    """Mean pass@k with its 95% bootstrap interval over problems."""
    return bootstrap_interval(_passes(scores, kind, k), seed)


def gain(before: Sequence[ProblemScore], after: Sequence[ProblemScore], kind: str, k: int, seed: int) -> Interval:
    """After minus before in pass@k, paired by problem, with its 95% bootstrap interval."""
    ids = [s.problem_id for s in before]
    assert ids == [s.problem_id for s in after], "paired evaluations hold the same problems in the same order"
    return paired_interval(_passes(before, kind, k), _passes(after, kind, k), seed)


def _passes(scores: Sequence[ProblemScore], kind: str, k: int) -> list[float]:
    return [pass_at_k(s.samples, s.strict if kind == "strict" else s.outcome, k) for s in scores]
