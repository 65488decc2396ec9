"""The curriculum asks reproducibly and leans to the edge of competence."""

from __future__ import annotations

from collections import Counter

from trainers.rl.curriculum import Curriculum
from verifier.families import config_of, open_task
from verifier.task import Value

TASK = config_of("graphs").model_validate({"ops": [2, 3, 4], "max_facts": 6})


def curriculum_of(seed: int, kind) -> Curriculum:
    return Curriculum(open_task(TASK), TASK.mixture(), seed, kind)


def ops(curriculum: Curriculum, step: int, count: int = 60) -> Counter[Value]:
    return Counter(curriculum.item(step, place, 0).stratum["op"] for place in range(count))


def test_a_slot_has_one_problem_and_other_slots_have_others():
    first, second = (curriculum_of(7, "mixture") for _ in range(2))
    slots = [(0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0)]
    problems = [first.item(*slot) for slot in slots]
    assert problems == [second.item(*slot) for slot in slots]
    assert len({p.id for p in problems}) == len(slots)


def test_all_that_is_asked_belongs_to_the_training_split():
    curriculum = curriculum_of(0, "mixture")
    assert {curriculum.item(0, place, 0).address.split for place in range(100)} == {"train"}


def test_the_frontier_curriculum_prefers_the_stratum_that_is_neither_solved_nor_hopeless():
    curriculum = curriculum_of(0, "frontier")
    strata = [
        next(p.stratum for i in range(99) if (p := curriculum.item(0, i, 0)).stratum["op"] == op) for op in (2, 3, 4)
    ]
    for _ in range(20):
        curriculum.report(strata, [[True] * 8, [True, False] * 4, [False] * 8])
    asked = ops(curriculum, 1)
    assert asked[3] > 0.7 * asked.total()
    assert asked[2] + asked[4] > 0, "the floor keeps every cell in play"


def test_a_restored_curriculum_goes_on_as_the_one_it_was_saved_from():
    curriculum = curriculum_of(3, "frontier")
    curriculum.report([curriculum.item(0, 0, 0).stratum], [[True, False]])
    other = curriculum_of(3, "frontier")
    other.restore(curriculum.state())
    assert [other.item(1, i, 0) for i in range(20)] == [curriculum.item(1, i, 0) for i in range(20)]
