from itertools import combinations

import pytest

from verifier.estimators import bootstrap_interval, paired_interval, pass_at_k


def test_pass_at_k_is_the_share_of_all_choices_of_k_samples_that_hold_a_right_one():
    for n in range(1, 8):
        for c in range(n + 1):
            for k in range(1, n + 1):
                choices = list(combinations([True] * c + [False] * (n - c), k))
                assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, choices)) / len(choices))


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 0), (4, 2, 5)])
def test_pass_at_k_refuses_impossible_counts(n, c, k):
    with pytest.raises(ValueError, match=r"samples"):
        pass_at_k(n, c, k)


def test_an_interval_is_reproducible_holds_the_mean_and_narrows_with_more_problems():
    few = bootstrap_interval([[0.0, 1.0] * 8], seed=3)
    many = bootstrap_interval([[0.0, 1.0] * 200], seed=3)
    assert few == bootstrap_interval([[0.0, 1.0] * 8], seed=3)
    assert few.lo <= few.mean == 0.5 <= few.hi
    assert many.hi - many.lo < few.hi - few.lo
    assert bootstrap_interval([[0.25]], 0).lo == 0.25
    wide = bootstrap_interval([[0.0, 1.0] * 8], seed=3, level=0.99)
    assert wide.hi - wide.lo >= few.hi - few.lo


@pytest.mark.parametrize(
    ("seed", "level", "lo", "hi"),
    [
        (3, 0.95, 0.37623762376237624, 0.5795379537953795),
        (4, 0.95, 0.37854785478547853, 0.5854785478547855),
        (3, 0.5, 0.4429042904290429, 0.5118811881188119),
        (3, 0.3, 0.4561056105610561, 0.4970297029702971),
        (3, 0.001, 0.47722772277227726, 0.4775577557755775),
    ],
)
def test_an_interval_is_these_percentiles_of_these_draws_and_a_report_made_again_says_the_same(seed, level, lo, hi):
    values = [((i * 37) % 101) / 101 for i in range(30)]
    interval = bootstrap_interval([values], seed, level)
    assert (interval.lo, interval.hi) == (pytest.approx(lo, abs=1e-12), pytest.approx(hi, abs=1e-12))
    assert paired_interval([[0.0] * 30], [values], seed, level) == interval


def test_problems_are_drawn_anew_within_their_stratum_so_that_strata_that_differ_widen_nothing():
    apart = bootstrap_interval([[0.0] * 10, [1.0] * 30], seed=3)
    assert (apart.mean, apart.lo, apart.hi) == (0.75, 0.75, 0.75)
    pooled = bootstrap_interval([[0.0] * 10 + [1.0] * 30], seed=3)
    assert pooled.lo < 0.75 < pooled.hi


def test_an_interval_needs_values_and_a_level():
    with pytest.raises(ValueError, match=r"^an interval needs at least one value in each stratum$"):
        bootstrap_interval([], 0)
    with pytest.raises(ValueError, match="in each stratum"):
        bootstrap_interval([[1.0], []], 0)
    for level in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"^the level of an interval lies in \(0, 1\), not"):
            bootstrap_interval([[1.0]], 0, level=level)


def test_paired_differences_are_taken_problem_by_problem():
    before, after = [[0.0, 0.5], [1.0]], [[0.25, 0.75], [1.25]]
    gain = paired_interval(before, after, seed=1)
    assert (gain.mean, gain.lo, gain.hi) == (0.25, 0.25, 0.25)
    with pytest.raises(ValueError, match="same problems"):
        paired_interval([[1.0], [1.0]], [[1.0, 2.0]], seed=1)
