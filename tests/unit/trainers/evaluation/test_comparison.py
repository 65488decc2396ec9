"""Paired differences over seeds and problems, and their intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainers.evaluation.bands import Bands
from trainers.evaluation.comparison import Estimate, Metric, Scores, Table, Values, estimate, estimates
from trainers.evaluation.evaluate import Evaluation, ProblemScore, RecoveryScore
from verifier.task import Stratum


def table(**strata: list[list[float]]) -> Table:
    return of_arrays(**{name: np.asarray(values, float) for name, values in strata.items()})


def of_arrays(**strata: Values) -> Table:
    """A table of problems that are called by their number."""
    return Table(strata, {name: tuple(map(str, range(values.shape[1]))) for name, values in strata.items()})


def sure(of: Table, seed: int = 0) -> Estimate:
    """The estimate of a table that has one."""
    found = estimate(of, seed)
    assert found is not None
    return found


def test_strata_weigh_the_same_whatever_their_number_of_problems():
    both = table(a=[[1.0, 1.0, 1.0, 1.0]], b=[[0.0]])
    assert sure(both).mean == pytest.approx(0.5)
    assert both.per_seed == pytest.approx((0.5,))


def test_a_difference_is_taken_problem_by_problem():
    left, right = table(a=[[0.9, 0.1], [0.8, 0.2]]), table(a=[[0.8, 0.0], [0.7, 0.1]])
    difference = sure(left.minus(right))
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
    found = sure(of_arrays(a=effects))
    deviation = np.sqrt(0.3**2 / seeds + 0.5**2 / problems)
    assert (found.hi - found.lo) / (2 * 1.96 * deviation) == pytest.approx(1.0, abs=0.2)
    assert found.lo < found.mean < found.hi


def test_an_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        values = rng.normal(0, 0.2, (8, 1)) + rng.normal(0, 0.5, (1, 100))
        found = sure(of_arrays(a=values), seed=trial)
        covered += found.lo <= 0 <= found.hi
    assert 0.85 <= covered / 200 <= 0.99


def test_the_same_seed_gives_the_same_interval():
    values = table(a=[[0.1, 0.5, 0.9, 0.3], [0.2, 0.2, 0.8, 0.7]])
    assert sure(values, 1) == sure(values, 1)


def test_the_spread_is_the_deviation_between_seeds():
    assert sure(table(a=[[0.0], [1.0], [2.0]])).spread == pytest.approx(1.0)
    assert sure(table(a=[[0.4]])).spread == 0.0


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


def test_scores_of_seeds_that_were_not_evaluated_alike_are_refused():
    with pytest.raises(ValueError, match="not evaluated alike: only one of them has op 3"):
        Scores([scored((4, 2, 1)), scored((4, 2, 1), (4, 2, 1))])
    with pytest.raises(ValueError, match="with 4 and 8 samples"):
        Scores([scored((4, 2, 1)), scored((8, 2, 1))])


def test_values_of_other_problems_are_not_subtracted():
    """They have the same shape, so that a difference would look like one."""
    one = of_arrays(a=np.ones((1, 2)))
    with pytest.raises(ValueError, match="same strata, problems and seeds"):
        one.minus(Table(one.strata, {"a": ("0", "another")}))


def test_a_problem_with_too_few_judged_samples_is_left_out_on_both_sides():
    few = Scores([scored((4, 4, 4), (4, 4, 4), (3, 0, 0))]).table(BANDS, "all", "verified", 4)
    many = Scores([scored((4, 0, 0), (4, 0, 0), (4, 4, 4))]).table(BANDS, "all", "verified", 4)
    assert sure(few).mean == 1
    assert sure(many).mean == pytest.approx((0.5 + 0) / 2), "it has the problem that the other lacks"
    assert sure(few.minus(many)).per_seed == sure(few.minus(many)).per_seed == (1.0,)
    assert sure(many.minus(few)).mean == -1


def test_a_stratum_of_which_no_problem_has_enough_samples_has_no_estimate():
    table = Scores([scored((4, 2, 1), (3, 2, 1))]).table(BANDS, "all", "verified", 4)
    assert estimate(table) is None
    assert estimate(Scores([scored((4, 2, 1), (3, 2, 1))]).table(BANDS, "low", "verified", 4)) is not None


def recovering(*outcomes: dict[str, int]) -> Evaluation:
    """An evaluation of problems of one stratum, with what became of the error planted in each of the last ones."""
    evaluation = scored(*[(4, 2, 1)] * 5)
    of = evaluation.scores[-len(outcomes) :]
    planted = (RecoveryScore(s.problem_id, s.stratum, "value", 0, o) for s, o in zip(of, outcomes, strict=True))
    return replace(evaluation, recovery=tuple(planted))


def test_recovery_is_compared_error_by_error_and_a_problem_without_one_is_left_out_on_both_sides():
    half, none, all_ = {"other": 2, "recovered": 2}, {"other": 4}, {"recovered": 3}
    left = Scores([recovering(half, none, half, none, all_)]).table(BANDS, "all", "recovery", 1)
    right = Scores([recovering({}, all_, none, all_)]).table(BANDS, "all", "recovery", 1)  # p0 has no error, p1 no text
    assert sure(left).mean == pytest.approx(((0.5 + 0.5 + 1) / 3 + 0) / 2)
    assert sure(left.minus(right)).mean == pytest.approx(((0.5 - 1 + 1 - 1) / 2 + 0) / 2)


def test_where_no_errors_were_planted_there_is_no_recovery():
    assert estimate(Scores([scored((4, 2, 1), (4, 2, 1))]).table(BANDS, "all", "recovery", 1)) is None


def test_tables_that_are_resampled_together_have_the_numbers_of_each_alone():
    rng = np.random.default_rng(5)
    shapes = [(3, 150, 30), (3, 150, 30), (1, 150, 30), (3, 150, 30), (3, 149, 30), (2, 7, 4)] * 3
    tables = [of_arrays(a=rng.random((seeds, a)), b=rng.random((seeds, b))) for seeds, a, b in shapes]
    assert estimates(tables) == [estimate(table) for table in tables]


def test_some_seeds_of_a_table_are_those_of_its_arm():
    both = table(a=[[0.2, 0.4], [0.6, 1.0], [0.0, 0.0]])
    assert both.at([2, 0]).per_seed == pytest.approx((0.0, 0.3))
