"""A budget is one of three units, and a stage ends with the first step that reaches it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from trainers.budget import NOTHING, Budget, Budgeted, Spent


@pytest.mark.parametrize("unit", ["steps", "flops", "paper_tokens"])
def test_a_stage_says_its_length_in_one_of_three_units(unit):
    assert Budgeted.model_validate({unit: 12}).budget == Budget(unit, 12)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "not none"),
        ({"steps": 3, "flops": 1e9}, "not flops and steps"),
        ({"flops": 1, "paper_tokens": 2}, "not fl"),
    ],
)
def test_none_and_more_than_one_are_refused_by_name(given, said):
    with pytest.raises(ValidationError, match=said):
        Budgeted.model_validate(given)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"flops": -1}, {"flops": "inf"}, {"paper_tokens": 0}])
def test_a_budget_that_cannot_be_spent_is_refused_once(wrong):
    with pytest.raises(ValidationError) as refusal:
        Budgeted.model_validate(wrong)
    (error,) = refusal.value.errors()
    assert error["loc"] == tuple(wrong)


def test_a_budget_is_reached_by_the_first_step_at_or_above_it():
    budget = Budget("flops", 100.0)
    assert [budget.reached(Spent(steps=9, flops=f)) for f in (0.0, 99.9, 100.0, 130.0)] == [False, False, True, True]
    assert [budget.share(Spent(flops=f)) for f in (0.0, 25.0, 130.0)] == [0.0, 0.25, 1.0]


def test_the_steps_of_a_budget_are_estimated_at_the_mean_cost_so_far():
    assert Budget("steps", 7).steps(NOTHING) == 7
    assert Budget("flops", 100.0).steps(NOTHING) == 0
    assert Budget("flops", 100.0).steps(Spent(steps=2, flops=10.0)) == 20
    assert Budget("paper_tokens", 100.0).steps(Spent(steps=3, paper_tokens=120.0)) == 3


def test_only_what_steps_cost_is_in_the_estimate_of_their_number():
    budget, drawn = Budget("flops", 1000.0), Spent(flops=500.0)
    assert budget.steps(drawn, since=drawn) == 0
    assert [budget.steps(Spent(steps=n, flops=500.0 + 10 * n), since=drawn) for n in (1, 5, 25, 50)] == [50] * 4
    resumed = Spent(steps=20, flops=700.0)
    assert budget.steps(Spent(steps=21, flops=710.0), since=resumed) == 50
