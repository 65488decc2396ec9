"""The wording of a recipe's tasks becomes the mixture that it says."""

import pytest

from verifier.graphs.family import GraphsConfig
from verifier.graphs.presets import preset


def test_the_limits_of_a_recipe_reach_every_spec():
    mixture = GraphsConfig(ops=(2, 5), shares=(0.25, 0.75), mode="reverse", max_facts=6, max_answer=9, max_constant=7)
    specs = [mixture.grid().spec(cell) for cell in mixture.grid().cells]
    assert [(spec.op, spec.mode) for spec in specs] == [(2, "reverse"), (5, "reverse")]
    assert all((spec.max_facts, spec.max_answer, spec.max_constant) == (6, 9, 7) for spec in specs)


def test_a_preset_is_taken_as_it_is():
    tasks = GraphsConfig(preset="op11-14_uniform")
    assert tasks.grid() == preset("op11-14_uniform")
    assert GraphsConfig.model_validate(tasks.model_dump(mode="json")) == tasks


def test_parts_are_stories_and_modes_with_shares_of_their_own_and_the_limits_in_common():
    task = GraphsConfig.model_validate(
        {
            "parts": [{"ops": [2, 4], "share": 0.99}, {"ops": [2], "share": 0.01, "template": "school"}],
            "max_facts": 4,
        }
    )
    assert [s.name for s in task.mixture().strata] == [
        "op=2 mode=forward template=zoo depth=2",
        "op=4 mode=forward template=zoo depth=2",
        "op=2 mode=forward template=school depth=2",
    ]
    assert task.mixture().shares == (0.495, 0.495, 0.01)
    assert {task.grid().spec(cell).max_facts for cell in task.grid().cells} == {4}
    assert GraphsConfig.model_validate(task.model_dump(mode="json")) == task


@pytest.mark.parametrize(
    ("tasks", "hint"),
    [
        ({}, "either a preset, parts or the ops"),
        ({"ops": [2], "preset": "op11-14_uniform"}, "either a preset, parts or the ops"),
        ({"ops": [2], "parts": [{"ops": [2], "share": 1}]}, "either a preset, parts or the ops"),
        ({"template": "school", "parts": [{"ops": [2], "share": 1}]}, "leave shares, mode, template, depth out"),
        ({"parts": [{"ops": [2, 3], "share": 0.9}]}, "the shares sum to 0.9"),
        ({"parts": [{"ops": [2], "share": 0.5}, {"ops": [2], "share": 0.5}]}, "op=2 .*named twice"),
        ({"ops": [2, 2]}, "op=2 .*named twice"),
        ({"preset": "op11-14"}, "unknown preset 'op11-14'"),
        ({"preset": "op11-14_uniform", "max_answer": 4}, "already sets all these fields"),
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
