"""Budgets: what a key may ask for in a minute, and what a refusal tells it."""

from __future__ import annotations

import pytest

from serving.http.admission import Budget
from serving.http.errors import TooManyRequests


def test_a_budget_pays_for_tokens_and_fills_again():
    now = 0.0
    budget = Budget("token", per_minute=600, burst=600, clock=lambda: now)
    assert budget.per_minute == 600
    budget.take("a", 500)
    budget.take("b", 600)
    with pytest.raises(TooManyRequests) as refused:
        budget.take("a", 200)
    assert refused.value.retry_after_s == 10
    now = 10.0
    budget.take("a", 200)
    now = 1000.0
    budget.take("a", 10_000)


def test_a_refusal_names_the_unit_and_the_whole_seconds_until_so_many_are_there():
    now = 0.0
    budget = Budget("request", per_minute=60, burst=2, clock=lambda: now)
    budget.take("a", 2)
    now = 0.5
    with pytest.raises(
        TooManyRequests, match="this key's requests per minute are used up; try again in 1 s"
    ) as refused:
        budget.take("a")
    assert refused.value.retry_after_s == 1
    with pytest.raises(TooManyRequests) as refused:
        budget.take("a", 2)
    assert refused.value.retry_after_s == 2
    now = 1.0
    budget.take("a")
    with pytest.raises(TooManyRequests):
        budget.take("a")


def test_a_refused_request_costs_nothing_and_nothing_fills_beyond_the_burst():
    now = 0.0
    budget = Budget("token", per_minute=60, burst=10, clock=lambda: now)
    budget.take("a", 8)
    for _ in range(3):
        with pytest.raises(TooManyRequests):
            budget.take("a", 5)
    budget.take("a", 2)
    now = 10_000.0
    budget.take("a", 10)
    with pytest.raises(TooManyRequests):
        budget.take("a", 1)


def test_a_budget_forgets_the_names_that_asked_longest_ago():
    budget = Budget("request", per_minute=1, burst=1, clock=lambda: 0.0)
    for name in range(4096):
        budget.take(str(name))
    with pytest.raises(TooManyRequests):
        budget.take("0")
    budget.take("one more")
    budget.take("1")
    with pytest.raises(TooManyRequests):
        budget.take("0")
