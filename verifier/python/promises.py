"""What a task of the user's own promises, tried on a few items of every stratum when its recipe is read.

Its strata are told apart by their names; its items are the same at every call and can be pickled, those of training
are none of those that are held out; its judge gives judgements that can be counted, the gold text a right one. Every
error names the object and says what to change.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast, get_args

from verifier.errors import BadJudgement, BadTask, TooFewItems
from verifier.judgement import Judgement, TraceJudgement, checked
from verifier.outside.import_path import load_object
from verifier.seeds import Index
from verifier.task import Address, Item, Message, Role, Split, Stratum, Task, prompt_text

_SEED: Final = 0
# Numbers, as pre-training and evaluation count items, and slots of training steps, as RL asks for them.
_INDICES: Final[tuple[Index, ...]] = (0, 1, 2, 3, 4, 5, (0, 0, 0), (1, 2, 1))
_OF_A_SLOT: Final = (
    "; RL asks with (step, place, attempt) for an index: draw from verifier.seeds.item_seed(seed, index)"
)
_HELD_OUT: Final = 2  # items asked of a stratum, or one where it has no more
_NEEDED: Final = ("strata", "item", "judge", "held_out", "has_steps", "has_gold")

_Given = TypeVar("_Given")


def made(path: str) -> Task:
    """What the factory at the path returns. Raises BadImportPath and BadTask."""
    factory = load_object(path)
    if not callable(factory):
        raise BadTask(f"{path} is no function: name one without arguments that returns a task")
    try:
        task: Any = factory()
    except (Exception, SystemExit) as error:
        raise BadTask(f"{path}() raised {type(error).__name__}: {error}") from error
    missing = [name for name in _NEEDED if not hasattr(task, name)]
    if missing:
        raise BadTask(f"{path}() returned no task: it lacks {', '.join(missing)} (see verifier.task.Task)")
    return task


def check_promises(path: str, task: Task) -> None:
    """Raises BadTask, which names the promise that is broken."""
    again = made(path)
    trained: list[Item] = []
    tested: list[Item] = []
    strata = _strata(path, task)
    if strata != _strata(path, again):
        raise BadTask(f"{path}: strata() differs from call to call; make it a fixed tuple")
    for stratum in strata:
        items = _items(path, task, stratum, "train")
        _check_same(path, items, _items(path, again, stratum, "train"))
        _check_judge(path, task, items[0])
        trained += items
        tested += [*_items(path, task, stratum, "test"), *_held_out(path, task, stratum)]
    _check_ids(path, [*trained, *tested])
    _check_splits(path, trained, tested)


# Strata


def _strata(path: str, task: Task) -> tuple[Stratum, ...]:
    strata: Any = _call(path, "strata()", task.strata)
    if not (isinstance(strata, tuple) and strata):
        raise BadTask(f"{path}: strata() returned {strata!r:.60}; return a tuple of at least one Stratum")
    found = cast(tuple[Any, ...], strata)
    for each in found:
        _check_stratum(path, each)
    names = [stratum.name for stratum in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadTask(f"{path}: two strata are called {twice!r}; give each stratum values of its own")
    return found


def _check_stratum(path: str, stratum: Any) -> None:
    if not isinstance(stratum, Stratum):
        raise BadTask(f"{path}: strata() has {stratum!r:.60} in it; make it a verifier.task.Stratum")
    axes: Any = stratum.axes
    if not (isinstance(axes, tuple) and axes and all(map(_is_axis, cast(tuple[Any, ...], axes)))):
        raise BadTask(
            f"{path}: a stratum has the axes {axes!r:.60}; make each a name with a text or a number, "
            "as Stratum.of(level=1) does"
        )


def _is_axis(axis: Any) -> bool:
    if not (isinstance(axis, tuple) and len(cast(tuple[Any, ...], axis)) == 2):
        return False
    name, value = cast(tuple[Any, Any], axis)
    is_value = isinstance(value, int | float | str) and value == value  # NaN is not equal to its copy
    return isinstance(name, str) and bool(name) and is_value


# Items


def _items(path: str, task: Task, stratum: Stratum, split: Split) -> list[Item]:
    return [_item(path, task, Address(stratum, _SEED, index, split)) for index in _INDICES]


def _item(path: str, task: Task, address: Address) -> Item:
    asked = f"item({address.stratum}, {address.seed}, {address.index}, {address.split!r})"
    hint = _OF_A_SLOT if isinstance(address.index, tuple) else ""
    item = _call(path, asked, lambda: task.item(address.stratum, address.seed, address.index, address.split), hint)
    _check_item(path, task, item)
    if item.address != address:
        raise BadTask(f"{path}: {asked} has the address {item.address!r:.200}; make it that of the four arguments")
    return item


def _check_item(path: str, task: Task, item: Any) -> None:
    if not isinstance(item, Item):
        raise BadTask(f"{path}: item() returned {item!r:.60}; return a verifier.task.Item")
    _check_texts(path, item)
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


def _check_texts(path: str, item: Item) -> None:
    """Whatever the fields of an item are declared to be, a user's own may hold anything."""
    identity, prompt, gold = cast(tuple[Any, Any, Any], (item.id, item.prompt, item.gold))
    if not (isinstance(identity, str) and identity):
        raise BadTask(f"{path}: an item has the id {identity!r:.60}; make it a text that is not empty")
    if not (_is_chat(prompt) or (isinstance(prompt, str) and prompt)):
        raise BadTask(
            f"{path}: item {identity} has the prompt {prompt!r:.60}; make it a text that is not empty, or a tuple of "
            "verifier.task.Message"
        )
    if not (gold is None or isinstance(gold, str)):
        raise BadTask(f"{path}: item {identity} has the gold {gold!r:.60}; make it a text or None")


def _is_chat(prompt: Any) -> bool:
    if not isinstance(prompt, tuple):
        return False
    messages = cast(tuple[Any, ...], prompt)
    return bool(messages) and all(isinstance(message, Message) and _is_said(message) for message in messages)


def _is_said(message: Message) -> bool:
    content: Any = message.content
    return message.role in get_args(Role) and isinstance(content, str)


def _check_same(path: str, items: Sequence[Item], again: Sequence[Item]) -> None:
    for item, other in zip(items, again, strict=True):
        if item != other:
            address = item.address
            raise BadTask(
                f"{path}: item {address.index} of {address.stratum} differs from call to call; draw from the seed alone"
            )


def _check_ids(path: str, items: Sequence[Item]) -> None:
    """An item may be drawn at several addresses; two that ask different things are two items."""
    known: dict[str, Item] = {}
    for item in items:
        if known.setdefault(item.id, item).prompt != item.prompt:
            raise BadTask(
                f"{path}: two items have the id {item.id!r:.60} and different prompts; give each an id of its own"
            )


def _check_splits(path: str, trained: Sequence[Item], tested: Sequence[Item]) -> None:
    """Of what is asked, and not of ids alone: an id may hold the name of the split, and the problem be the same."""
    ids, prompts = {item.id for item in trained}, {item.prompt for item in trained}
    shared = next((item for item in tested if item.id in ids or item.prompt in prompts), None)
    if shared is not None:
        raise BadTask(
            f"{path}: item {shared.id} ({prompt_text(shared.prompt)!r:.60}) is in the split train and in test; let "
            "item() draw other problems for every split"
        )


def _held_out(path: str, task: Task, stratum: Stratum) -> tuple[Item, ...]:
    """The held-out items of a stratum that were tried. Raises BadTask."""
    first = _held_out_of(path, task, stratum, 1)
    try:
        found = _held_out_of(path, task, stratum, _HELD_OUT)
    except BadTask as error:
        if isinstance(error.__cause__, TooFewItems):
            return first
        raise
    if found[:1] != first:
        raise BadTask(f"{path}: held_out() of more items begins with others; let a longer set begin with the shorter")
    return found


def _held_out_of(path: str, task: Task, stratum: Stratum, count: int) -> tuple[Item, ...]:
    asked = f"held_out({stratum}, {count}, {_SEED})"
    found: Any = _call(path, asked, lambda: task.held_out(stratum, count, _SEED))
    if not (isinstance(found, tuple) and len(cast(tuple[Any, ...], found)) == count):
        raise BadTask(f"{path}: {asked} returned {found!r:.60}; return a tuple of {count}, or raise TooFewItems")
    items = cast(tuple[Item, ...], found)
    for item in items:
        _check_item(path, task, item)
        address = item.address
        if item != _item(path, task, Address(stratum, address.seed, address.index, "test")):
            raise BadTask(f"{path}: held_out gives an item that item() of its address does not give")
    if len({item.id for item in items}) < count:
        raise BadTask(f"{path}: {asked} gives item {items[0].id} twice; return distinct items")
    return items


# Judgements


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
    judgement = _call(path, "judge()", lambda: task.judge(item, text))
    try:
        return checked(judgement, text)
    except BadJudgement as error:
        raise BadTask(f"{path}: judging item {item.id}: {error}") from error


def _call(path: str, name: str, call: Callable[[], _Given], hint: str = "") -> _Given:
    """What the call gives. Raises BadTask for whatever it raises."""
    try:
        return call()
    except BaseException as error:  # SystemExit too; no Ctrl-C arrives here, in a thread of the check's own
        raise BadTask(f"{path}: {name} raised {type(error).__name__}: {error}{hint}") from error
