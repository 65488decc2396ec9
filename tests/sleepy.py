"""A task whose judge hangs, as a symbolic checker may."""

import time

from verifier.families import TaskConfig
from verifier.judgement import Judgement
from verifier.task import Item, Task


class Sleepy(TaskConfig, frozen=True):
    """Settings and task in one: nothing but a judge that sleeps for ever."""

    family: str = "sleepy"

    def task(self) -> Task:
        return self  # pyright: ignore[reportReturnType]

    def judge(self, item: Item, text: str) -> Judgement:
        while True:
            time.sleep(1)
