import pickle
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from actors.config import TemplateName
from verifier.families import FAMILIES, AnyTask, config_of, drawing, open_task, phrases
from verifier.graphs.problem import TEMPLATES


class Settings(BaseModel, frozen=True):
    task: AnyTask


def test_a_task_is_of_the_graphs_family_where_none_is_named():
    settings = Settings.model_validate({"task": {"ops": [2, 3], "max_facts": 4}})
    assert settings.task.family == "graphs"
    assert settings.task == config_of("graphs").model_validate({"ops": [2, 3], "max_facts": 4})
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
    assert pickle.loads(pickle.dumps(settings.task)) == settings.task
    assert open_task(settings.task) is open_task(settings.task)


def test_an_unknown_family_is_refused_with_the_nearest_one():
    with pytest.raises(ValidationError, match=r"no family 'graph'; did you mean graphs\?"):
        Settings.model_validate({"task": {"family": "graph", "ops": [2]}})


def test_an_error_in_a_familys_settings_is_told_at_its_key():
    with pytest.raises(ValidationError) as told:
        Settings.model_validate({"task": {"ops": [2], "max_facts": 0, "opps": 3}})
    assert {error["loc"] for error in told.value.errors()} == {("task", "max_facts"), ("task", "opps")}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_loads(family):
    assert config_of(family).model_fields["family"].default == family
    drawing(family)


def test_graph_items_are_those_of_their_addresses_and_keep_to_their_split():
    task = open_task(config_of("graphs").model_validate({"ops": [2, 4], "max_facts": 4}))
    for stratum in task.strata():
        held_out = task.held_out(stratum, 5, seed=3)
        assert len({item.id for item in held_out}) == 5
        for item in (*held_out, task.item(stratum, 3, 7, "train"), task.item(stratum, 3, (1, 0, 2), "validation")):
            address = item.address
            assert task.item(address.stratum, address.seed, address.index, address.split) == item
            assert item.stratum == stratum
            assert task.judge(item, item.gold or "").solved
        assert all(item.address.split == "test" for item in held_out)


def test_the_phrases_of_a_template_are_whole_names_or_the_words_in_them():
    assert get_args(TemplateName) == TEMPLATES
    words, names = (phrases("graphs")(("zoo",), whole) for whole in (False, True))
    assert names[: len(words)] == words
    assert all(name.split(" in ")[0] in words for name in names[len(words) :] if name.startswith(" adult"))
