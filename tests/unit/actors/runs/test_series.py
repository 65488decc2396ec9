"""Curves keep every peak in few points, invent nothing, and follow a run that does steps again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from actors.runs.series import MAX_CURVES, POINTS, Series, standing_for


def series(values: Sequence[object], name: str = "reward") -> Series:
    found = Series()
    for step, value in enumerate(values, start=1):
        found.put(step, {name: value})
    return found


def test_few_values_are_all_kept():
    curve = series([0.5, 0.25, 0.75]).curve("reward", range(3))
    assert (curve.steps, curve.values) == ([1, 2, 3], [0.5, 0.25, 0.75])


def test_ten_thousand_values_become_at_most_a_thousand_that_the_run_had_with_every_peak_and_both_ends():
    values = [math.sin(step / 300) for step in range(10_000)]
    values[1234], values[7777] = 50.0, -50.0
    curve = series(values).curve("reward", range(10_000))
    assert len(curve.steps) <= POINTS
    assert {1, 1235, 7778, 10_000} <= set(curve.steps)
    assert [values[step - 1] for step in curve.steps] == curve.values
    assert curve.steps == sorted(set(curve.steps))


def test_every_number_of_values_is_thinned_within_the_bound():
    for count in (1, 2, 9, 10, 11, 12, 19, 20, 21, 97, 1003):
        chosen = standing_for(np.arange(count, dtype=float), 10)
        assert len(chosen) <= 10
        assert (chosen[0], chosen[-1]) == (0, count - 1)
    assert standing_for(np.zeros(0), 10).tolist() == []


def test_what_is_no_finite_number_is_left_out_of_a_curve():
    curve = series([0.5, None, "x", math.nan, math.inf, 10**400, 1]).curve("reward", range(7))
    assert (curve.steps, curve.values) == ([1, 7], [0.5, 1.0])


def test_a_number_that_comes_later_or_not_always_has_its_own_steps():
    found = Series()
    for step, row in enumerate([{}, {"kl": 1.0}, {"entropy": 2.0}, {"kl": 3.0}], start=1):
        found.put(step, row)
    assert found.curve("kl", range(4)).steps == [2, 4]
    assert found.curve("entropy", range(4)).steps == [3]
    assert found.row(3) == {"kl": 3.0, "entropy": None}


def test_steps_that_are_done_again_replace_the_old_ones_and_all_after_them():
    found = series([0.1, 0.2, 0.3, 0.4])
    found.put(2, {"reward": 0.9})
    assert found.curve("reward", range(2)).values == [0.1, 0.9]
    assert list(found.steps) == [1, 2]
    assert found.rewinds == 1


def test_a_range_of_steps_is_found_by_its_bounds():
    found = series([0.1] * 10)
    assert found.within(3, 5) == range(2, 5)
    assert found.within(11, 99) == range(10, 10)


def test_strata_without_end_are_left_out():
    found = Series()
    found.put(1, {f"op={op}": 1.0 for op in range(MAX_CURVES + 5)})
    assert len(found.names) == MAX_CURVES
    assert len(found.left_out) == 5
