"""The numbers of a step's event, from its rollouts: rewards, shares of judgements, lengths, strata."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from actors.records import RolloutGroup
from trainers.rl.curriculum import Curriculum, State
from trainers.rl.drawing import DrawnStep
from verifier.judgement import Judgement, TraceJudgement
from verifier.task import labels


def solved(groups: Sequence[RolloutGroup]) -> list[list[bool]]:
    """Which samples of each group were solved."""
    return [[r.judgement is not None and r.judgement.solved for r in g.rollouts] for g in groups]


def lengths(drawn: DrawnStep) -> list[int]:
    """The length of every judged sequence, prompt and completion, in tokens."""
    return [len(g.prompt_ids) + len(r.completion.token_ids) for g in drawn.judged for r in g.rollouts]


def statistics(drawn: DrawnStep) -> dict[str, float]:
    """Means over the judged completions, and counts."""
    rollouts = [r for g in drawn.judged for r in g.rollouts]
    judgements = [r.judgement for r in rollouts if r.judgement is not None]
    return {
        "reward": fmean(r.reward for r in rollouts if r.reward is not None),
        **_shares(judgements),
        "completion_tokens": fmean(len(r.completion.token_ids) for r in rollouts),
        "truncated": fmean(r.completion.finish_reason == "length" for r in rollouts),
        "no_gradient": 1 - len(drawn.trained) / len(drawn.judged),
        "all_solved": fmean(bool(group) and all(group) for group in solved(drawn.judged)),
        "distinct": fmean(map(_distinct, drawn.judged)),
        "verifier_errors": drawn.failed,
        "judged_groups": len(drawn.judged),
        "trained_groups": len(drawn.trained),
        "completions": len(rollouts),
        "longest": max(lengths(drawn)),
    }


def _distinct(group: RolloutGroup) -> float:
    """The different completions of a group, as a share of all; 1 for a group without any."""
    drawn = [rollout.completion.token_ids for rollout in group.rollouts]
    return len(set(drawn)) / len(drawn) if drawn else 1.0


def by_stratum(curriculum: Curriculum, state: State, drawn: DrawnStep) -> dict[str, dict[str, Any]]:
    """Per stratum: its share and pass rate in the curriculum, and its samples in this step."""
    names = labels(curriculum.mixture.strata)
    told: dict[str, dict[str, Any]] = {}
    for stratum, view in curriculum.view(state).items():
        passes = [s for g in solved([g for g in drawn.judged if g.item.stratum == stratum]) for s in g]
        told[names[stratum]] = {
            "share": view.share,
            "pass_rate": view.pass_rate,
            "samples": len(passes),
            "solved": sum(passes),
        }
    return told


def _shares(judgements: Sequence[Judgement]) -> dict[str, float]:
    """Means over the judged texts; the means over steps only where the family judges steps."""
    traces = [j for j in judgements if isinstance(j, TraceJudgement)]
    shares = {"outcome": fmean(j.right for j in judgements), "score": fmean(j.score for j in judgements)}
    if not traces:
        return shares
    return {
        "strict": fmean(j.verified for j in traces),
        **shares,
        "process_accuracy": fmean(j.process_accuracy for j in traces),
    }
