"""The wording of a recipe's tasks becomes the mixture that it says."""

import pytest

from verifier.graphs.family import GraphsConfig
from verifier.graphs.splits import preset


def test_the_limits_of_a_recipe_reach_every_spec():
    mixture = GraphsConfig(ops=(2, 5), shares=(0.25, 0.75), mode="reverse", max_facts=6, max_answer=9, max_constant=7)
    specs = [mixture.grid().spec(cell) for cell in mixture.grid().cells]
    assert [(spec.op, spec.mode) for spec in specs] == [(2, "reverse"), (5, "reverse")]
    assert all((spec.max_facts, spec.max_answer, spec.max_constant) == (6, 9, 7) for spec in specs)


def test_a_preset_is_taken_as_it_is():
    tasks = GraphsConfig(preset="op11-14_uniform")
    assert tasks.grid() == preset("op11-14_uniform")
    assert GraphsConfig.model_validate(tasks.model_dump(mode="json")) == tasks


@pytest.mark.parametrize(
    ("tasks", "hint"),
    [
        ({}, "either a preset or the ops"),
        ({"ops": [2], "preset": "op11-14_uniform"}, "either a preset or the ops"),
        ({"preset": "op11-14"}, "unknown preset 'op11-14'"),
        ({"preset": "op11-14_uniform", "max_answer": 4}, "leave the other fields out"),
        ({"ops": [2, 3], "shares": [1.0]}, "1 shares for 2 ops"),
        ({"ops": [2, 3], "shares": [0.5, 0.6]}, "the shares sum to 1.1"),
        ({"ops": [2], "depth": 3}, "op is 4 to 40 at depth 3"),
        ({"ops": [2, 40], "max_constant": 13}, "max_constant is 1 to 12 at op 40"),
        ({"ops": [2], "max_constants": 13}, "Extra inputs"),
    ],
)
def test_tasks_that_make_no_sense_are_refused_with_the_field(tasks, hint):
    with pytest.raises(ValueError, match=hint):
        GraphsConfig.model_validate(tasks)
