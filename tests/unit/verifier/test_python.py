import dataclasses
import itertools
import sys
import types
from typing import Any

import pytest
from pydantic import ValidationError

from verifier.errors import TooFewItems
from verifier.judgement import Judgement, TraceJudgement
from verifier.python.family import PythonConfig
from verifier.seeds import item_seed
from verifier.splits import digest_of, split_of_hash
from verifier.task import Address, Item, Message, Stratum, distinct_items

EASY = Stratum.of(level="easy")
_COUNT = itertools.count()


class Doubling:
    """The task of these tests, with every promise kept; each test breaks one."""

    has_steps = False
    has_gold = True

    def strata(self):
        return (EASY,)

    def item(self, stratum, seed, index, split):
        numbers = (int(digest_of(f"{seed} {index} {attempt}")[:4], 16) % 1000 for attempt in itertools.count())
        number = next(n for n in numbers if split_of_hash(digest_of(str(n))) == split)
        return Item(str(number), Address(stratum, seed, index, split), f"2 * {number} =", f" {2 * number}", number)

    def judge(self, item, text):
        return Judgement(right=text.strip() == str(2 * item.payload), answer=text.strip()[:20])

    def held_out(self, stratum, count, seed):
        return distinct_items(self, stratum, count, seed)


@pytest.fixture
def named(request):
    """Puts a factory where an import path finds it."""
    name = f"their_module_{next(_COUNT)}"

    def put(factory) -> str:
        sys.modules[name] = module = types.ModuleType(name)
        vars(module)["make"] = factory
        return f"{name}:make"

    yield put
    sys.modules.pop(name, None)


def broken(**methods):
    return type("Broken", (Doubling,), methods)


def changed(**fields):
    item = Doubling.item
    return broken(item=lambda self, *address: dataclasses.replace(item(self, *address), **fields))


def test_a_task_that_keeps_its_promises_is_taken(named):
    config = PythonConfig(object=named(Doubling))
    (stratum,) = config.task().strata()
    assert stratum == EASY
    assert config.mixture().shares == (1.0,)


def _said(role: Any, content: Any) -> Message:
    return Message(role, content)


NO_AXES: tuple[Any, ...] = (
    *(None, (), [("level", 1)], (["level", 1],), ("level",)),
    *((("level", None),), (("level", [1]),), (("level", float("nan")),), (("", 1),), ((1, 1),)),
)
NO_PROMPTS: tuple[Any, ...] = (
    5,
    "",
    None,
    (),
    [Message("user", "2 * 3")],
    ("2 * 3",),
    (_said("nobody", "6"),),
    (_said("user", 6),),
)


def _raises(*arguments):
    raise RuntimeError("not today")


def _leaves(*arguments):
    raise SystemExit("bad config")


def _interrupts(*arguments):
    raise KeyboardInterrupt


def _of_one_split(self, stratum, seed, index, split):
    return dataclasses.replace(
        Doubling.item(self, stratum, seed, index, "train"), address=Address(stratum, seed, index, split)
    )


def _named_by_split(self, stratum, seed, index, split):
    return dataclasses.replace(_of_one_split(self, stratum, seed, index, split), id=f"{split} {index}")


def _twice(self, stratum, count, seed):
    return (self.item(stratum, seed, 0, "test"),) * count


def _backwards(self, stratum, count, seed):
    return Doubling.held_out(self, stratum, count, seed)[::-1]


def _lying(value):
    def judge(self, item, text):
        right = text.strip() == str(2 * item.payload)
        return TraceJudgement(
            right, verified=value, process_accuracy=1.0, steps=(), first_error=None, faults=(), needed=1
        )

    return judge


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (7, "is no function"),
        (_raises, r"make\(\) raised RuntimeError: not today"),
        (lambda: object(), "returned no task: it lacks strata, item, judge"),
        (broken(strata=lambda self: ()), "return a tuple of at least one Stratum"),
        (broken(strata=lambda self: ("easy",)), "strata.. has 'easy' in it"),
        (broken(item=lambda self, *a: "2 + 2"), "item.. returned '2 . 2'"),
        (broken(item=_raises), r"item\(level=easy, 0, 0, 'train'\) raised RuntimeError: not today"),
        (broken(item=_leaves), "raised SystemExit: bad config"),
        (broken(judge=_leaves), r"judge\(\) raised SystemExit: bad config"),
        (broken(judge=_interrupts), r"judge\(\) raised KeyboardInterrupt"),
        (_leaves, r"make\(\) raised SystemExit: bad config"),
        (broken(has_gold=property(_raises)), "raised RuntimeError: not today"),
        (
            broken(item=lambda self, s, seed, index, split: Doubling.item(self, s, seed, index + 1, split)),
            r"has the address Address\(.*; make it that of the four arguments",
        ),
        (
            broken(item=lambda self, s, seed, index, split: Doubling.item(self, s, seed, index % 7, split)),
            r"item\(level=easy, 0, \(0, 0, 0\), 'train'\) raised TypeError: .*; RL asks with \(step, place, attempt\)",
        ),
        (broken(strata=lambda self: (EASY, EASY)), "two strata are called 'level=easy'; give each"),
        (broken(strata=lambda self: (Stratum.of(n=1), Stratum.of(n="1"))), "two strata are called 'n=1'"),
        (broken(strata=lambda self: (Stratum.of(n=next(_COUNT)),)), r"strata\(\) differs from call to call"),
        *(
            (broken(strata=lambda self, axes=axes: (Stratum(axes),)), "a stratum has the axes .*; make each a name")
            for axes in NO_AXES
        ),
        *(
            (changed(prompt=prompt), "has the prompt .*; make it a text that is not empty, or a tuple of")
            for prompt in NO_PROMPTS
        ),
        *((changed(id=identity), "an item has the id .*; make it a text") for identity in (7, "", None)),
        (changed(gold=6), "has the gold 6; make it a text or None"),
        (changed(id="one"), "two items have the id 'one' and different prompts; give each an id of its own"),
        (broken(item=_of_one_split), r"item \d+ \('2 \* \d+ ='\) is in the split train and in test; let item"),
        (broken(item=_named_by_split), r"item test \S+ \('2 \* \d+ ='\) is in the split train and in test"),
        (broken(held_out=lambda *a: ()), r"held_out\(level=easy, 1, 0\) returned \(\); return a tuple of 1"),
        (broken(held_out=lambda *a: 7), "returned 7; return a tuple of 1"),
        (broken(held_out=_raises), r"held_out\(level=easy, 1, 0\) raised RuntimeError"),
        (broken(held_out=_twice), r"held_out\(level=easy, 2, 0\) gives item \d+ twice; return distinct items"),
        (broken(held_out=_backwards), "let a longer set begin with the shorter"),
        (broken(has_steps=True, judge=_lying(50.0)), r"verified is 50\.0"),
        (broken(has_steps=True, judge=_lying(float("nan"))), "verified is nan"),
        (changed(gold=None), "has_gold is True, and item .* has no gold"),
        (changed(payload=lambda: 0), "cannot go to another process"),
        (changed(payload=object()), "not equal to its pickled copy"),
        (broken(judge=_raises), "judge.. raised RuntimeError: not today"),
        (broken(judge=lambda *a: True), r"their_module_\d+:make: judging item \d+: the judge returned True"),
        (broken(judge=lambda *a: Judgement(True, partial=float("nan"))), "partial is nan"),
        (broken(judge=lambda *a: Judgement(True, partial=2.0)), "partial is 2.0"),
        (broken(judge=lambda *a: Judgement(False)), "gold text of item .* is judged wrong"),
        (broken(judge=lambda *a: Judgement(True, str(next(_COUNT)))), "twice gives two judgements"),
        (broken(has_steps=True), "has_steps is True, and judge.. returns Judgement"),
        (
            broken(item=lambda self, s, *a: Item(str(next(_COUNT)), Address(s, *a), "?", " x", None)),
            "differs from call to call",
        ),
        (
            broken(held_out=lambda self, s, *a: (Doubling.item(self, s, 0, 1, "train"),)),
            "held_out gives an item that item.. of its address does not give",
        ),
    ],
)
def test_a_broken_promise_is_named(named, factory, message):
    with pytest.raises(ValidationError, match=message):
        PythonConfig(object=named(factory))


@pytest.mark.parametrize("path", ["nowhere", "no_such_package.x:make", "json:make"])
def test_a_path_that_leads_nowhere_is_named(path):
    with pytest.raises(ValidationError, match=r"no import path|does not import|has no make"):
        PythonConfig(object=path)


def test_a_module_that_leaves_while_it_is_imported_is_named(tmp_path, monkeypatch):
    (tmp_path / "leaves_at_once.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValidationError, match=r"leaves_at_once does not import \(SystemExit: 3\)"):
        PythonConfig(object="leaves_at_once:make")


def _last(self, stratum, count, seed):
    if count > 1:
        raise TooFewItems("there is one")
    return Doubling.held_out(self, stratum, count, seed)


@pytest.mark.parametrize(
    "factory",
    [
        broken(held_out=_last),
        broken(has_gold=False),
    ],
)
def test_one_item_to_hold_out_is_enough_and_gold_is_not_needed(named, factory):
    assert PythonConfig(object=named(factory)).task().strata() == (EASY,)


def test_a_task_that_is_asked_by_slots_as_rl_asks_draws_from_both_kinds_of_index(named):
    asked = []

    def item(self, stratum, seed, index, split):
        asked.append(index)
        number = item_seed(seed, index) % 1000 * 2 + (split == "test")
        chat = (Message("system", "Double."), Message("user", str(number)))
        return Item(str(number), Address(stratum, seed, index, split), chat, f" {2 * number}", number)

    PythonConfig(object=named(broken(item=item)))
    assert {type(index) for index in asked} == {int, tuple}
