"""Each fault is named from the numbers that show it, since the step at which it began, and a healthy stage has none."""

from __future__ import annotations

from typing import Any

import pytest

from actors.diagnosis import thresholds as at
from actors.diagnosis.findings import Finding, diagnose

STEPS = 30
BEGINS = 16
HEALTHY: dict[str, Any] = {
    "reward": 0.3, "strict": 0.3, "outcome": 0.6, "completion_tokens": 50.0, "truncated": 0.02, "no_gradient": 0.4,
    "all_solved": 0.1, "distinct": 1.0, "verifier_errors": 0, "completions": 384, "entropy": 1.0, "gradient_norm": 0.1,
    "learning_rate": 4e-4, "mismatch_mean": 1e-6, "mismatch_max": 1e-5, "effective_share": 1.0, "capped_share": 0.0,
    "masked_share": 0.0, "lag_mean": 0.0, "skipped": 0,
}  # fmt: skip


def stage(bad: dict[str, Any] | None = None, begins: int = BEGINS, ends: int = STEPS, **always: Any) -> list[dict]:
    """The events of a stage whose steps `begins` to `ends` have the numbers of `bad`."""
    events, updates = [], 0
    for step in range(1, STEPS + 1):
        numbers = {**HEALTHY, **always, **((bad or {}) if begins <= step <= ends else {})}
        updates += numbers.pop("updated", True)
        events.append({"event": "rl_step", "stage": "rl", "step": step, "updates": updates, **numbers})
    return events


def only(events: list[dict]) -> Finding:
    (finding,) = diagnose(events)
    return finding


FAULTS = {
    "entropy-collapse": {"entropy": 0.2},
    "length-runaway": {"completion_tokens": 90.0},
    "never-ending": {"truncated": 0.5},
    "learning-rate-too-high": {"strict": 0.02, "reward": 0.02, "entropy": 2.0},
    "engine-disagrees": {"mismatch_mean": 0.2},
    "no-signal": {"updated": False, "gradient_norm": None, "no_gradient": 1.0, "strict": 0.3},
    "stale-data": {"lag_mean": 3.0, "effective_share": 0.3},
    "verifier-errors": {"verifier_errors": 1},
    "duplicate-samples": {"distinct": 0.25},
}


@pytest.mark.parametrize(("name", "numbers"), FAULTS.items())
def test_a_fault_is_named_since_the_step_at_which_it_began(name, numbers):
    finding = only(stage(numbers))
    assert (finding.name, finding.stage, finding.since, finding.until) == (name, "rl", BEGINS, None)
    assert finding.docs == f"docs/diagnosis.md#{name}"
    assert finding.knob
    assert any(character.isdigit() for character in finding.evidence)


@pytest.mark.parametrize(("name", "numbers"), FAULTS.items())
def test_it_is_named_within_ten_steps(name, numbers):
    assert only(stage(numbers)[: BEGINS + 9]).name == name


@pytest.mark.parametrize("name", [name for name in FAULTS if name != "verifier-errors"])
def test_two_steps_are_chance_and_what_has_ended_is_told_with_its_end(name):
    assert diagnose(stage(FAULTS[name], ends=BEGINS + 1)) == []
    finding = only(stage(FAULTS[name], ends=BEGINS + 5))
    assert (finding.name, finding.since, finding.until) == (name, BEGINS, BEGINS + 5)
    assert f"in steps {BEGINS} to {BEGINS + 5}" in finding.line


def test_a_reward_that_rises_while_verified_traces_fall_is_named():
    events = stage({"reward": 0.6, "strict": 0.15})
    finding = only(events)
    assert finding.name == "reward-hacked"
    assert BEGINS <= finding.since <= BEGINS + at.SMOOTH
    assert diagnose(stage({"reward": 0.6})) == []
    assert diagnose(stage({"reward": 0.6, "strict": None})) == []


def test_a_healthy_stage_has_no_finding_also_where_it_learns():
    assert diagnose(stage()) == []
    better = [{**e, "strict": 0.3 + 0.01 * e["step"], "reward": 0.3 + 0.01 * e["step"], "entropy": 1 - 0.02 * e["step"]}
              for e in stage()]  # fmt: skip
    assert diagnose(better) == []


def test_longer_completions_that_solve_more_are_no_runaway():
    assert diagnose(stage({"completion_tokens": 90.0, "strict": 0.5, "reward": 0.5}, begins=6)) == []


def test_a_fall_of_what_is_solved_with_calm_gradients_is_not_put_down_to_the_learning_rate():
    assert diagnose(stage({"strict": 0.02})) == []
    assert only(stage({"strict": 0.02, "gradient_norm": 2.0})).name == "learning-rate-too-high"
    assert only(stage({"strict": 0.02, "skipped": 1})).name == "learning-rate-too-high"


@pytest.mark.parametrize(("solved", "said"), [(0.9, "too easy"), (0.0, "too hard")])
def test_problems_that_are_too_easy_are_told_from_those_that_are_too_hard(solved, said):
    finding = only(stage({"no_gradient": 0.95, "all_solved": solved}))
    assert finding.name == "no-signal"
    assert said in finding.knob


def test_the_newest_step_without_an_update_is_told_at_once():
    events = stage({"updated": False, "no_gradient": 1.0})[:BEGINS]
    assert (only(events).name, only(events).since) == ("no-signal", BEGINS)


def test_a_stage_without_any_update_is_told_since_its_first_step():
    finding = only(stage(updated=False, no_gradient=1.0))
    assert (finding.name, finding.since) == ("no-signal", 1)
    assert f"{STEPS} without an update" in finding.evidence


def test_older_tokens_differ_from_the_learner_without_any_fault_of_the_engine():
    assert diagnose(stage({"mismatch_mean": 0.2, "lag_mean": 1.0})) == []


def test_short_answers_may_repeat():
    assert diagnose(stage({"distinct": 0.2}, completion_tokens=5.0)) == []


def test_single_verifier_errors_far_apart_are_no_finding():
    events = stage()
    for place in (2, 14, 26):
        events[place]["verifier_errors"] = 1
    assert diagnose(events) == []


def test_events_of_an_older_form_and_numbers_that_are_not_finite_are_read_as_unknown():
    bare = [{"event": "rl_step", "stage": "rl", "step": step, "reward": 0.3, "entropy": None} for step in range(1, 9)]
    assert diagnose(bare) == []


def test_stages_are_told_apart_and_a_step_that_was_done_again_counts_once():
    again = stage(FAULTS["never-ending"])
    events = [*again, *(e for e in stage() if e["step"] >= BEGINS), *({**e, "stage": "more"} for e in again)]
    assert [(f.stage, f.name) for f in diagnose(events)] == [("more", "never-ending")]


def test_ten_thousand_bad_steps_are_looked_through_at_once():
    events = [{**stage(FAULTS["never-ending"])[20], "step": step, "updates": step} for step in range(1, 10_001)]
    assert only(events).since == 1
