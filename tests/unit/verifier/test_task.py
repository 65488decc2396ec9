import json
import pickle
from dataclasses import asdict

import pytest

from tests.tasks import Sums
from verifier.errors import TooFewItems
from verifier.task import Address, Stratum, labels

TASK = Sums()
ONE, TWO = TASK.strata()


def test_a_stratum_is_named_by_its_axes_in_their_order():
    stratum = Stratum.of(op=4, mode="forward", template="zoo")
    assert str(stratum) == "op=4 mode=forward template=zoo"
    assert stratum["mode"] == "forward"
    assert pickle.loads(pickle.dumps(stratum)) == stratum


def test_labels_tell_the_axes_on_which_strata_differ():
    strata = [Stratum.of(op=op, mode="forward") for op in (2, 3)]
    assert list(labels(strata).values()) == ["op 2", "op 3"]
    assert list(labels(strata[:1]).values()) == ["op=2 mode=forward"]
    assert list(labels([Stratum.of(game="sudoku")]).values()) == ["game sudoku"]


def test_labels_tell_an_axis_that_some_strata_lack():
    sums = [Stratum.of(dataset="sums"), Stratum.of(dataset="sums", terms=3)]
    assert list(labels(sums).values()) == ["dataset=sums", "terms 3"]
    assert list(labels([*sums, Stratum.of(dataset="gcd")]).values()) == [
        "dataset sums",
        "dataset sums terms 3",
        "dataset gcd",
    ]


def test_distinct_items_are_those_of_their_addresses_and_a_longer_set_begins_with_the_shorter():
    items = TASK.held_out(TWO, 30, seed=4)
    assert len({item.id for item in items}) == 30
    assert items[:10] == TASK.held_out(TWO, 10, seed=4)
    for item in items:
        address = item.address
        assert TASK.item(address.stratum, address.seed, address.index, address.split) == item
        assert address.split == "test"
        assert item.stratum == TWO


@pytest.mark.parametrize("index", [3, (1, 0, 2)])
def test_an_address_comes_back_from_a_file(index):
    address = Address(TWO, 7, index, "train")
    assert Address.from_record(json.loads(json.dumps(address.record()))) == address
    assert address.record() == asdict(address)


def test_a_stratum_with_too_few_items_says_so():
    with pytest.raises(TooFewItems, match=r"digits=1 has only 5[0-9] distinct test items, not 100: ask for fewer"):
        TASK.held_out(ONE, 100, seed=0)


def test_a_stratum_gives_every_item_that_it_has():
    with pytest.raises(TooFewItems) as refusal:
        TASK.held_out(ONE, 100, seed=0)
    there = int(str(refusal.value).split("has only ")[1].split()[0])
    sets = [{item.id for item in TASK.held_out(ONE, there, seed=seed)} for seed in (0, 1)]
    assert sets[0] == sets[1]
