"""A live diagnosis tells each finding once, when it begins, and agrees with the one afterwards."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actors.diagnosis import thresholds as at
from actors.diagnosis.findings import LIVE, PAGE, Watch, diagnose
from actors.diagnosis.rules import RULES
from tests.unit.actors.diagnosis.test_rules import BEGINS, FAULTS, HEALTHY, stage


@pytest.mark.parametrize(("name", "numbers"), FAULTS.items())
def test_a_live_diagnosis_says_once_what_the_whole_one_says(name, numbers):
    watch, told = Watch("rl"), []
    for event in stage(numbers):
        told += [(event["step"], finding) for finding in watch.see(event)]
    ((at_step, finding),) = told
    (whole,) = diagnose(stage(numbers))
    assert (finding.name, finding.since) == (whole.name, whole.since) == (name, BEGINS)
    assert at_step <= BEGINS + 9


def test_a_resumed_stage_is_held_against_its_own_beginning():
    events = stage(FAULTS["entropy-collapse"])
    before = events[: BEGINS + 1]
    watch = Watch("rl", before)
    assert [f.name for event in events[BEGINS + 1 :] for f in watch.see(event)] == ["entropy-collapse"]


def test_steps_that_are_done_again_replace_those_of_the_lost_life():
    watch = Watch("rl")
    two, one = stage(FAULTS["never-ending"]), stage(FAULTS["never-ending"], begins=BEGINS - 1, ends=BEGINS - 1)
    for event in [*two[: BEGINS + 1], *one[BEGINS - 2 :]]:
        assert watch.see(event) == []


def test_steps_that_a_resume_undid_are_not_diagnosed():
    events = [*stage(FAULTS["entropy-collapse"]), *stage()[BEGINS - 1 : BEGINS + 1]]
    assert [finding.name for finding in diagnose(events[:-2])] == ["entropy-collapse"]
    assert diagnose(events) == []


def test_a_fall_that_takes_longer_than_a_live_diagnosis_looks_back_is_found_afterwards_as_the_docs_say():
    solved = [*[0.6] * 10, *(0.6 - 0.5 * step / 3 / LIVE for step in range(3 * LIVE))]
    numbers = ({**HEALTHY, "strict": share, "reward": share, "entropy": 4.0 - 5 * share} for share in solved)
    events = [{"event": "rl_step", "stage": "rl", "step": n, "updates": n, **one} for n, one in enumerate(numbers, 1)]
    watch = Watch("rl")
    assert [finding for event in events for finding in watch.see(event)] == []
    assert [finding.name for finding in diagnose(events)] == ["learning-rate-too-high"]
    page = " ".join((Path(__file__).parents[4] / PAGE).read_text().split())
    assert f"looks back on the last {LIVE} steps besides the first {at.BASELINE}" in page


@pytest.mark.parametrize("name", ["reward-hacked", "learning-rate-too-high"])
def test_the_least_share_that_can_fall_decides_and_is_said(name):
    (rule,) = (rule for rule in RULES if rule.name == name)
    fault = FAULTS.get(name, {"reward": 0.6})
    found = {
        share: [f.name for f in diagnose(stage({**fault, "strict": share / 9}, strict=share))]
        for share in (at.WORTH * 0.9, at.WORTH * 1.1)
    }
    assert [name in names for names in found.values()] == [False, True]
    assert re.search(rf"which (is|solved) {at.WORTH:g} or more", rule.when)


def test_every_rule_has_its_section_in_the_docs_with_the_thresholds_that_hold():
    page = (Path(__file__).parents[4] / PAGE).read_text()
    for rule in RULES:
        assert f"## {rule.name.replace('-', ' ').capitalize()}\n" in page
        assert rule.when in " ".join(page.split()), f"put this into the section of {rule.name}: {rule.when}"
