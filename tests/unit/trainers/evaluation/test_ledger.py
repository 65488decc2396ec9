from __future__ import annotations

import pytest

from actors.records import Completion, Rollout, RolloutGroup
from tests.tasks import ITEM
from trainers.evaluation.ledger import paper_tokens, sampling_flops


def test_the_papers_own_checks_of_equal_compute_hold():
    assert paper_tokens(51_200 * 6, 2048) == pytest.approx(1.05e9, rel=0.01)
    assert paper_tokens(122_000 * 6, 2048) == pytest.approx(2.5e9, rel=0.01)


def test_sampling_costs_a_forward_pass_of_the_prompt_once_and_of_every_token_written():
    rollouts = tuple(
        Rollout(Completion(i, (7,) * written, (-1.0,) * written, "stop", 0, 0), "", None, None)
        for i, written in enumerate((10, 30))
    )
    group = RolloutGroup(0, ITEM, (5,) * 20, rollouts)
    assert sampling_flops(group, lambda context: 1.0) == 20 + 10 + 30
    assert sampling_flops(group, lambda context: context) == 20 * 10 + 10 * 25 + 30 * 35
