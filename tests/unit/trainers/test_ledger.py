from __future__ import annotations

import pytest

from trainers.ledger import paper_prompts, paper_tokens, sampling_flops


def test_the_papers_own_checks_of_equal_compute_hold():
    assert paper_tokens(51_200, 6, 2048) == pytest.approx(1.05e9, rel=0.01)
    assert paper_tokens(122_000, 6, 2048) == pytest.approx(2.5e9, rel=0.01)


def test_a_budget_buys_the_prompts_that_cost_it():
    assert paper_prompts(4_000_000, 8, 192) == 1562
    assert paper_tokens(paper_prompts(4_000_000, 8, 192), 8, 192) <= 4_000_000


def test_sampling_costs_a_forward_pass_of_prompt_and_completion():
    assert sampling_flops(generated=50, prompt=90, flops_per_token=2.0) == 280
