from __future__ import annotations

from trainers.deaths import DeathLimit


def test_deaths_are_forgotten_when_the_work_gets_further_than_ever() -> None:
    limit = DeathLimit(2)
    assert [limit.one_too_many() for _ in range(2)] == [False, False]
    limit.reached(3)
    assert [limit.one_too_many() for _ in range(2)] == [False, False]
    limit.reached(3)
    limit.reached(2)
    assert limit.one_too_many()
