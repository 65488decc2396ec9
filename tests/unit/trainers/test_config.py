from __future__ import annotations

import pytest
from pydantic import ValidationError

from trainers.config import LearningConfig, OptimizerConfig


def test_the_cosine_course_warms_up_peaks_and_ends_where_it_should():
    config = OptimizerConfig(learning_rate=1.0, final_learning_rate=0.1, schedule="cosine", warmup_steps=4)
    rates = [config.rate_at(step, 104) for step in range(105)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[54] == pytest.approx(0.55)
    assert rates[104] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_the_course_stays_at_its_end_beyond_the_last_step():
    config = OptimizerConfig(learning_rate=1.0, final_learning_rate=0.1, schedule="cosine")
    assert config.rate_at(500, 100) == pytest.approx(0.1)


def test_a_constant_rate_is_constant_after_the_warm_up():
    config = OptimizerConfig(learning_rate=2.0, warmup_steps=2)
    assert [config.rate_at(step, 10) for step in (0, 1, 2, 9)] == [1.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize("wrong", [{"loss": "ppo"}, {"clip_low": 1.5}, {"minibatches": 0}, {"beta": 0.1}])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        LearningConfig(**wrong)
