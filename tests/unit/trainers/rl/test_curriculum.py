"""The curriculum asks reproducibly and leans to the edge of competence."""

from __future__ import annotations

from collections import Counter

from trainers.rl.curriculum import Curriculum
from trainers.tasks import TaskConfig
from verifier.graphs.splits import split_of

TASKS = TaskConfig(ops=(2, 3, 4), max_facts=6)


def ops(curriculum: Curriculum, step: int, count: int = 60) -> Counter[int]:
    return Counter(curriculum.problem(step, place, 0).spec.op for place in range(count))


def test_a_slot_has_one_problem_and_other_slots_have_others():
    first, second = (Curriculum(TASKS.mixture(), 7, "mixture") for _ in range(2))
    slots = [(0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0)]
    problems = [first.problem(*slot) for slot in slots]
    assert problems == [second.problem(*slot) for slot in slots]
    assert len({p.problem for p in problems}) == len(slots)


def test_all_that_is_asked_belongs_to_the_training_split():
    curriculum = Curriculum(TASKS.mixture(), 0, "mixture")
    assert {split_of(curriculum.problem(0, place, 0)) for place in range(100)} == {"train"}


def test_the_edge_curriculum_prefers_the_cell_that_is_neither_solved_nor_hopeless():
    curriculum = Curriculum(TASKS.mixture(), 0, "edge")
    specs = [next(p.spec for i in range(99) if (p := curriculum.problem(0, i, 0)).spec.op == op) for op in (2, 3, 4)]
    for _ in range(20):
        curriculum.report(specs, [[True] * 8, [True, False] * 4, [False] * 8])
    asked = ops(curriculum, 1)
    assert asked[3] > 0.7 * asked.total()
    assert asked[2] + asked[4] > 0, "the floor keeps every cell in play"


def test_a_restored_curriculum_goes_on_as_the_one_it_was_saved_from():
    curriculum = Curriculum(TASKS.mixture(), 3, "edge")
    curriculum.report([curriculum.problem(0, 0, 0).spec], [[True, False]])
    other = Curriculum(TASKS.mixture(), 3, "edge")
    other.restore(curriculum.state())
    assert [other.problem(1, i, 0) for i in range(20)] == [curriculum.problem(1, i, 0) for i in range(20)]
