"""As many groups are asked at once as fill the engines, and one that fails ends the others."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, cast

import pytest

from trainers.evaluation.asking import AskedPolicy


def policy(sequences: int) -> AskedPolicy:
    return AskedPolicy(cast(Any, None), lambda item: (1,), (3,), lambda group: 0.0, sequences)


@pytest.mark.parametrize(("sequences", "group_size", "groups"), [(8, 8, 64), (512, 8, 128), (24 * 256, 1, 12288)])
def test_the_groups_that_are_open_fill_the_engines_twice(sequences, group_size, groups):
    assert policy(sequences).groups_at_once(group_size) == groups


async def test_results_come_in_order_and_no_more_are_open_than_have_a_place():
    now, most = 0, 0

    async def one(number: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001 * (number % 3))
        now -= 1
        return number

    assert await policy(80).each([partial(one, number) for number in range(300)], 2) == list(range(300))
    assert most == 80


async def test_one_that_fails_cancels_the_others():
    ended: list[int] = []

    async def one(number: int) -> None:
        if number == 5:
            raise ValueError("five")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    with pytest.raises(ValueError, match="five"):
        await policy(8).each([partial(one, number) for number in range(10)], 8)
    await asyncio.sleep(0)
    assert sorted(ended) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
