"""Paired differences over seeds and problems, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from trainers.evaluation.bands import Bands
from trainers.evaluation.comparison import Metric, Scores, Table, estimate
from trainers.evaluation.evaluate import Evaluation, ProblemScore
from verifier.task import Stratum


def table(**strata: list[list[float]]) -> Table:
    return Table({name: np.asarray(values, float) for name, values in strata.items()})


def test_strata_weigh_the_same_whatever_their_number_of_problems():
    both = table(a=[[1.0, 1.0, 1.0, 1.0]], b=[[0.0]])
    assert estimate(both).mean == pytest.approx(0.5)
    assert both.per_seed == pytest.approx((0.5,))


def test_a_difference_is_taken_problem_by_problem():
    left, right = table(a=[[0.9, 0.1], [0.8, 0.2]]), table(a=[[0.8, 0.0], [0.7, 0.1]])
    difference = estimate(left.minus(right))
    assert difference.mean == pytest.approx(0.1)
    assert (difference.lo, difference.hi) == pytest.approx((0.1, 0.1)), "the problems differ, their difference does not"


def test_other_problems_or_seeds_are_refused():
    with pytest.raises(ValueError, match="same strata, problems and seeds"):
        table(a=[[1.0]]).minus(table(a=[[1.0, 2.0]]))
    with pytest.raises(ValueError, match="same strata, problems and seeds"):
        table(a=[[1.0]]).minus(table(b=[[1.0]]))
    with pytest.raises(ValueError, match="at least one"):
        table(a=[[]])
    with pytest.raises(ValueError, match="as many seeds"):
        table(a=[[1.0]], b=[[1.0], [1.0]])


def test_the_interval_is_that_of_the_crossed_design():
    """Against the analytic variance: seeds and problems as two independent random factors."""
    rng = np.random.default_rng(7)
    seeds, problems = 40, 200
    effects = rng.normal(0, 0.3, (seeds, 1)) + rng.normal(0, 0.5, (1, problems)) + rng.normal(0, 0.1, (seeds, problems))
    found = estimate(Table({"a": effects}))
    deviation = np.sqrt(0.3**2 / seeds + 0.5**2 / problems)
    assert (found.hi - found.lo) / (2 * 1.96 * deviation) == pytest.approx(1.0, abs=0.2)
    assert found.lo < found.mean < found.hi


def test_an_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        values = rng.normal(0, 0.2, (8, 1)) + rng.normal(0, 0.5, (1, 100))
        found = estimate(Table({"a": values}), seed=trial)
        covered += found.lo <= 0 <= found.hi
    assert 0.85 <= covered / 200 <= 0.99


def test_the_same_seed_gives_the_same_interval():
    values = table(a=[[0.1, 0.5, 0.9, 0.3], [0.2, 0.2, 0.8, 0.7]])
    assert estimate(values, 1) == estimate(values, 1)


def test_the_spread_is_the_deviation_between_seeds():
    assert estimate(table(a=[[0.0], [1.0], [2.0]])).spread == pytest.approx(1.0)
    assert estimate(table(a=[[0.4]])).spread == 0.0


def scored(*counts: tuple[int, int, int], seed: int = 0) -> Evaluation:
    """An evaluation of problems with (samples, right answers, verified traces) each, at op 2 and op 3 in turn."""
    strata = (Stratum.of(op=2), Stratum.of(op=3))
    scores = [
        ProblemScore(f"p{i}", strata[i % 2], samples, outcome, strict, strict / samples, {})
        for i, (samples, outcome, strict) in enumerate(counts)
    ]
    return Evaluation("c", 1.0, 0, 0.0, 0.0, tuple(scores), ())


BANDS = Bands(ranges={"all": {"op": "2-3"}, "low": {"op": 2}})


@pytest.mark.parametrize(
    ("metric", "k", "low"),
    [("verified", 1, 0.25), ("outcome", 1, 0.5), ("gap", 1, 0.25), ("process", 1, 0.25), ("verified", 2, 0.5)],
)
def test_a_band_holds_its_strata_by_each_metric(metric: Metric, k: int, low: float):
    scores = Scores([scored((4, 2, 1), (4, 4, 4)), scored((4, 2, 1), (4, 0, 0))])
    assert scores.table(BANDS, "low", metric, k).per_seed == pytest.approx((low, low))
    assert list(scores.table(BANDS, "all", metric, k).strata) == ["op=2", "op=3"]


def test_scores_of_other_problems_or_of_fewer_samples_than_k_are_refused():
    with pytest.raises(ValueError, match="same problems"):
        Scores([scored((4, 2, 1)), scored((4, 2, 1), (4, 2, 1))])
    with pytest.raises(ValueError, match="pass@4 needs 4 samples of every problem"):
        Scores([scored((4, 2, 1), (3, 2, 1))]).table(BANDS, "all", "verified", 4)
