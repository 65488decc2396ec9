"""A task of the user's own: `package.module:factory`, a function without arguments that returns a `verifier.task.Task`.

Only a recipe names it. Its promises are tried before anything starts: it imports, it is a task, its items are the same
at every call and can be pickled, and its judge gives judgements, the gold text a right one.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from threading import Thread
from typing import Any, Literal, Self, cast

from pydantic import Field, ValidationInfo, model_validator

from verifier.errors import BadTask
from verifier.families import TaskConfig, open_task, opens
from verifier.import_path import load_object
from verifier.judgement import Judgement, TraceJudgement, checked
from verifier.task import Item, Stratum, Task

_PATIENCE_S = 60.0
_SEED = 0
_ITEMS = 8
_NEEDED = ("strata", "item", "judge", "held_out", "has_steps", "has_gold")


class PythonConfig(TaskConfig, frozen=True):
    """A task of the user's own."""

    family: Literal["python"] = "python"
    object: str = Field(description="package.module:factory, in the folder that the run is started from or installed")

    @model_validator(mode="after")
    def _keeps_its_promises(self, info: ValidationInfo) -> Self:
        if opens(info):
            in_time(lambda: check_promises(self.object, open_task(self)), self.object)
        return self

    def task(self) -> Task:
        """What the factory returns. Raises BadImportPath and BadTask."""
        return made(self.object)


def made(path: str) -> Task:
    """What the factory at the path returns. Raises BadImportPath and BadTask."""
    factory = load_object(path)
    if not callable(factory):
        raise BadTask(f"{path} is no function: name one without arguments that returns a task")
    try:
        task: Any = factory()
    except Exception as error:
        raise BadTask(f"{path}() raised {type(error).__name__}: {error}") from error
    missing = [name for name in _NEEDED if not hasattr(task, name)]
    if missing:
        raise BadTask(f"{path}() returned no task: it lacks {', '.join(missing)} (see verifier.task.Task)")
    return task


def in_time(check: Callable[[], None], path: str, patience_s: float = _PATIENCE_S) -> None:
    """Run the check in a thread and raise what it raises; BadTask where it does not end."""
    caught: list[Exception] = []

    def run() -> None:
        try:
            check()
        except Exception as error:
            caught.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(patience_s)
    if thread.is_alive():
        raise BadTask(f"{path}: no item was made and judged within {patience_s:g} s; something in it hangs")
    if caught:
        raise caught[0]


def check_promises(path: str, task: Task) -> None:
    """Try a few items of every stratum. Raises BadTask, which names the promise that is broken."""
    strata = _strata(path, task)
    again = made(path)
    for stratum in strata:
        _check_items(path, task, again, stratum)
        _check_judge(path, task, _item(path, task, stratum, 0))
        _check_held_out(path, task, stratum)


def _check_items(path: str, task: Task, again: Task, stratum: Stratum) -> None:
    for index in range(_ITEMS):
        item = _item(path, task, stratum, index)
        if item != _item(path, again, stratum, index):
            raise BadTask(f"{path}: item {index} of {stratum} differs from call to call; draw from the seed alone")


def _item(path: str, task: Task, stratum: Stratum, index: int) -> Item:
    item = _call(path, "item", lambda: task.item(stratum, _SEED, index, "train"))
    _check_item(path, task, item)
    return item


def _strata(path: str, task: Task) -> tuple[Stratum, ...]:
    strata: Any = _call(path, "strata", task.strata)
    if not (isinstance(strata, tuple) and strata):
        raise BadTask(f"{path}: strata() returned {strata!r:.60}; return a tuple of at least one Stratum")
    found = cast(tuple[Any, ...], strata)
    for each in found:
        if not isinstance(each, Stratum):
            raise BadTask(f"{path}: strata() has {each!r:.60} in it; make it a verifier.task.Stratum")
    return found


def _check_item(path: str, task: Task, item: Any) -> None:
    if not isinstance(item, Item):
        raise BadTask(f"{path}: item() returned {item!r:.60}; return a verifier.task.Item")
    if task.has_gold and item.gold is None:
        raise BadTask(f"{path}: has_gold is True, and item {item.id} has no gold text")
    try:
        same = pickle.loads(pickle.dumps(item)) == item  # noqa: S301 - the user's own item, pickled a moment ago
    except Exception as error:
        raise BadTask(
            f"{path}: item {item.id} cannot go to another process ({type(error).__name__}: {error}); "
            "keep plain data in its payload"
        ) from error
    if not same:
        raise BadTask(f"{path}: item {item.id} is not equal to its pickled copy; make its payload a frozen dataclass")


def _check_judge(path: str, task: Task, item: Item) -> None:
    for text in (item.gold or "", "?"):
        judgement = _judged(path, task, item, text)
        if judgement != _judged(path, task, item, text):
            raise BadTask(f"{path}: judging item {item.id} twice gives two judgements; let nothing but the text decide")
        if task.has_steps != isinstance(judgement, TraceJudgement):
            raise BadTask(f"{path}: has_steps is {task.has_steps}, and judge() returns {type(judgement).__name__}")
    if item.gold is not None and not _judged(path, task, item, item.gold).right:
        raise BadTask(f"{path}: the gold text of item {item.id} is judged wrong")


def _judged(path: str, task: Task, item: Item, text: str) -> Judgement:
    return checked(_call(path, "judge", lambda: task.judge(item, text)), text)


def _check_held_out(path: str, task: Task, stratum: Stratum) -> None:
    for item in _call(path, "held_out", lambda: task.held_out(stratum, 1, _SEED)):
        _check_item(path, task, item)
        if item != _call(path, "item", lambda i=item: task.item(stratum, i.address.seed, i.address.index, "test")):
            raise BadTask(f"{path}: held_out gives an item that item() of its address does not give")


def _call(path: str, name: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        raise BadTask(f"{path}: {name}() raised {type(error).__name__}: {error}") from error
