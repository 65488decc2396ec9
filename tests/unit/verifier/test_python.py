import dataclasses
import itertools
import sys
import threading
import types

import pytest
from pydantic import ValidationError

from verifier.errors import BadTask
from verifier.judgement import Judgement
from verifier.python import PythonConfig, in_time
from verifier.splits import digest_of, split_of_hash
from verifier.task import Address, Item, Stratum, distinct_items

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


def _raises(*arguments):
    raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (7, "is no function"),
        (_raises, r"make\(\) raised RuntimeError: not today"),
        (lambda: object(), "returned no task: it lacks strata, item, judge"),
        (broken(strata=lambda self: ()), "return a tuple of at least one Stratum"),
        (broken(strata=lambda self: ("easy",)), "strata.. has 'easy' in it"),
        (broken(item=lambda self, *a: "2 + 2"), "item.. returned '2 . 2'"),
        (broken(item=_raises), "item.. raised RuntimeError: not today"),
        (changed(gold=None), "has_gold is True, and item .* has no gold"),
        (changed(payload=lambda: 0), "cannot go to another process"),
        (changed(payload=object()), "not equal to its pickled copy"),
        (broken(judge=_raises), "judge.. raised RuntimeError: not today"),
        (broken(judge=lambda *a: True), "the judge returned True"),
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


def test_what_hangs_is_given_up():
    ended = threading.Event()

    def hang() -> None:
        ended.wait(60)

    with pytest.raises(BadTask, match="something in it hangs"):
        in_time(hang, "their:make", patience_s=0.05)
    ended.set()


def test_what_a_check_raises_is_raised():
    with pytest.raises(BadTask, match="no"):
        in_time(_refuse, "their:make")


def _refuse():
    raise BadTask("no")
