"""The curriculum asks reproducibly and leans to the edge of competence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.rl.curriculum import FLOOR, MEMORY, Curriculum, State
from verifier.families import config_of, open_task

TASK = config_of("graphs").model_validate({"ops": [2, 3, 4], "max_facts": 6})


def curriculum_of(seed: int, kind) -> Curriculum:
    return Curriculum(open_task(TASK), TASK.mixture(), seed, kind)


CURRICULUM = curriculum_of(0, "frontier")
STRATA = CURRICULUM.mixture.strata


def known(rates: Sequence[float], samples: int = 4000) -> State:
    """What is known after many samples of each stratum at these pass rates."""
    solved = [[i < rate * samples for i in range(samples)] for rate in rates]
    return CURRICULUM.after(CURRICULUM.beginning(), STRATA, solved)


def test_a_slot_has_one_problem_and_other_slots_have_others():
    first, second = (curriculum_of(7, "mixture") for _ in range(2))
    slots = [(0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0)]
    problems = [first.item(first.beginning(), *slot) for slot in slots]
    assert problems == [second.item(second.beginning(), *slot) for slot in slots]
    assert len({p.id for p in problems}) == len(slots)


def test_all_that_is_asked_belongs_to_the_training_split():
    assert {CURRICULUM.item(CURRICULUM.beginning(), 0, p, 0).address.split for p in range(100)} == {"train"}


def test_the_mixture_curriculum_keeps_to_the_shares_whatever_it_learns():
    mixture = curriculum_of(0, "mixture")
    state = mixture.after(mixture.beginning(), STRATA, [[True] * 8, [True, False] * 4, [False] * 8])
    assert mixture.shares(state) == mixture.mixture.shares


def test_shares_are_in_proportion_to_the_variance_of_the_reward_above_a_floor():
    shares = CURRICULUM.shares(known([0.5, 0.35, 0.0]))
    even = 1 / 3
    best, near, hopeless = (s - FLOOR * even for s in shares)
    assert near / best == pytest.approx(0.35 * 0.65 / 0.25, rel=0.01)  # 91% of the best variance, 91% of its share
    assert hopeless < 0.01
    assert shares[2] >= FLOOR * even


def test_questions_are_drawn_by_the_shares():
    state = known([0.5, 0.1, 0.0])
    asked = Counter(CURRICULUM.item(state, 0, place, 0).stratum for place in range(600))
    for stratum, share in zip(STRATA, CURRICULUM.shares(state), strict=True):
        assert asked[stratum] / 600 == pytest.approx(share, abs=0.06)


def test_results_fade_with_samples_and_not_with_steps():
    solved, unsolved = [[True] * 6] * 3, [[False] * 6] * 3
    small = large = known([1.0, 1.0, 1.0], samples=300)
    for _ in range(100):
        small = CURRICULUM.after(small, STRATA, unsolved)
    large = CURRICULUM.after(large, STRATA * 100, unsolved * 100)
    assert small[0][0] == pytest.approx(large[0][0])
    assert large[0][0] == pytest.approx(300 * 2.718281828 ** -(1800 / (3 * MEMORY)))
    assert CURRICULUM.after(small, STRATA, solved)[0][0] > small[0][0]


def test_pass_rates_and_shares_can_be_looked_at():
    view = CURRICULUM.view(known([0.5, 0.1, 0.0]))
    assert [round(v.pass_rate, 2) for v in view.values()] == [0.5, 0.1, 0.0]
    assert sum(v.share for v in view.values()) == pytest.approx(1.0)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=3, max_size=3))
def test_shares_always_add_up_and_keep_to_the_floor(state: list[tuple[float, float]]):
    shares = CURRICULUM.shares(tuple(state))
    assert sum(shares) == pytest.approx(1.0)
    assert min(shares) >= FLOOR / 3 - 1e-9
