"""Claims are decided by their written rule, and by nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from cluster.study.claims import Decision, Greater, Side, Unchanged, decide
from trainers.evaluation.comparison import Estimate, Table, Terms
from verifier.task import Stratum


def greater(**fields: object) -> Greater:
    given = {"name": "c", "says": "a beats b", "arm": "a", "against": ["b"], "band": "edge", **fields}
    return Greater.model_validate(given)


def unchanged(margin: float) -> Unchanged:
    return Unchanged(name="c", says="a is as b", arm="a", against=("b",), band="edge", margin=margin)


STRATUM = Stratum.of(op=4)
IDS = tuple(map(str, range(200)))
TERMS = Terms(1.0, 32, IDS, (STRATUM,) * len(IDS))


def tables(**means: list[float]) -> dict[str, Side]:
    """Arms with a mean for each seed, over 200 problems that all differ."""
    problems = np.linspace(-0.3, 0.3, len(IDS))
    arms = {
        name: Table({STRATUM.name: np.asarray(m)[:, None] + problems}, {STRATUM.name: IDS}) for name, m in means.items()
    }
    return {name: Side(TERMS, table) for name, table in arms.items()}


@pytest.mark.parametrize(
    ("difference", "decision"),
    [
        (Estimate(0.10, 0.05, 0.15, (0.09, 0.10, 0.11)), Decision.SUPPORTED),
        (Estimate(0.10, -0.01, 0.21, (0.09, 0.10, 0.11)), Decision.NOT_RESOLVED),
        (Estimate(0.10, 0.05, 0.15, (0.20, 0.11, -0.01)), Decision.NOT_RESOLVED),
        (Estimate(0.10, 0.02, 0.18, (0.02, 0.10, 0.18)), Decision.NOT_RESOLVED),  # less than twice the spread
        (Estimate(-0.10, -0.15, -0.05, (-0.09, -0.10, -0.11)), Decision.REFUTED),
        (Estimate(0.0, 0.0, 0.0, (0.0, 0.0, 0.0)), Decision.NOT_RESOLVED),
    ],
)
def test_greater_needs_the_sign_of_every_seed_the_interval_and_more_than_the_spread(
    difference: Estimate, decision: Decision
):
    assert greater().decide(difference) is decision


@pytest.mark.parametrize(
    ("lo", "hi", "decision"),
    [
        (-0.02, 0.03, Decision.SUPPORTED),
        (-0.02, 0.04, Decision.NOT_RESOLVED),
        (0.02, 0.05, Decision.NOT_RESOLVED),
        (0.04, 0.06, Decision.REFUTED),
        (-0.09, -0.04, Decision.REFUTED),
    ],
)
def test_unchanged_needs_the_whole_interval_within_the_margin(lo: float, hi: float, decision: Decision):
    assert unchanged(0.03).decide(Estimate((lo + hi) / 2, lo, hi, (0.0,))) is decision


def test_a_claim_against_several_arms_holds_against_each():
    arms = tables(a=[0.5, 0.51, 0.49], b=[0.3, 0.31, 0.29], c=[0.3, 0.3, 0.31], d=[0.7, 0.7, 0.71])
    assert decide(greater(against=["b", "c"]), arms).decision is Decision.SUPPORTED
    assert decide(greater(against=["b", "d"]), arms).decision is Decision.REFUTED
    assert [c.against for c in decide(greater(against=["b", "d"]), arms).comparisons] == ["b", "d"]
    arms["c"] = tables(c=[0.5, 0.52, 0.48])["c"]
    assert decide(greater(against=["b", "c"]), arms).decision is Decision.NOT_RESOLVED


def test_a_claim_whose_runs_are_not_all_there_is_not_resolved_and_says_which():
    arms = tables(a=[0.5, 0.51], b=[0.3, 0.31])
    assert decide(greater(), arms).decision is Decision.SUPPORTED
    verdict = decide(greater(), arms, missing=["b/2"])
    assert (verdict.decision, verdict.missing) == (Decision.NOT_RESOLVED, ("b/2",))
    assert verdict.comparisons[0].difference is not None
    assert verdict.comparisons[0].difference.mean == pytest.approx(0.2), "what there is, is shown"
    assert decide(greater(), {}, missing=["a/0", "b/0"]).comparisons == ()


def test_arms_that_were_not_evaluated_alike_are_not_compared_and_it_says_why():
    arms = tables(a=[0.5, 0.51], b=[0.3, 0.31], c=[0.3, 0.31])
    others = ("another", *IDS[1:])
    arms["b"] = Side(replace(TERMS, problems=others), Table(arms["b"].table.strata, {STRATUM.name: others}))
    verdict = decide(greater(against=["b", "c"]), arms)
    assert verdict.decision is Decision.NOT_RESOLVED
    assert verdict.comparisons[0].difference is None
    assert verdict.comparisons[0].why_none == "not evaluated alike: on other problems (1 of 200 differ)"
    assert verdict.comparisons[1].decision is Decision.SUPPORTED


def test_a_pair_without_enough_judged_samples_is_not_resolved_and_it_says_why():
    arms = tables(a=[0.5, 0.51], b=[0.3, 0.31])
    arms["b"] = replace(arms["b"], table=Table({STRATUM.name: np.full((2, 200), np.nan)}, {STRATUM.name: IDS}))
    (pair,) = decide(greater(k=16), arms).comparisons
    assert (pair.difference, pair.decision) == (None, Decision.NOT_RESOLVED)
    assert "no problem has 16 judged samples" in pair.why_none
    (pair,) = decide(greater(metric="recovery"), arms).comparisons
    assert "no problem has completions of a planted error" in pair.why_none


def test_a_claim_about_one_arm_twice_or_with_a_k_that_means_nothing_is_refused():
    with pytest.raises(ValidationError, match="names an arm twice"):
        greater(against=["a"])
    with pytest.raises(ValidationError, match="names an arm twice"):
        greater(against=["b", "b"])
    for metric in ("process", "recovery"):
        with pytest.raises(ValidationError, match=f"k: the metric {metric} has no k; leave it out"):
            greater(metric=metric, k=4)


def test_one_seed_decides_no_claim_however_large_the_difference():
    arms = tables(a=[0.9], b=[0.1])
    for claim in (greater(), unchanged(1.0)):
        verdict = decide(claim, arms)
        assert verdict.decision is verdict.comparisons[0].decision is Decision.NOT_RESOLVED
        assert verdict.comparisons[0].difference is not None, "what there is, is shown"
    two = tables(a=[0.9, 0.91], b=[0.1, 0.1])
    assert decide(greater(), two).decision is Decision.SUPPORTED
