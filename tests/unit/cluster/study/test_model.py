"""A study file: names that must fit together."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cluster.study.model import Study


def given(**fields: Any) -> dict[str, Any]:
    """A small study, with fields replaced."""
    return {
        "name": "which-data",
        "question": "Which problems should RL draw?",
        "equal": "samples",
        "scales": {"tiny": {"recipe": "tiny-cpu"}},
        "arms": {
            "id": {"says": "what the base knows", "changes": {"stages.rl.rl.steps": 1}},
            "edge": {"says": "just beyond", "changes": {"stages.rl.rl.steps": 2}},
        },
        "claims": [{"rule": "greater", "name": "c", "says": ".", "arm": "edge", "against": ["id"], "band": "edge"}],
        **fields,
    }


def test_a_study_names_its_arms_seeds_and_claims():
    study = Study.model_validate(given())
    assert list(study.arms) == ["id", "edge"]
    assert study.seeds == (0, 1, 2)
    assert study.claims[0].arms == ("edge", "id")


def test_a_claim_may_be_against_the_base():
    claims = [{**given()["claims"][0], "against": ["base"]}]
    assert Study.model_validate(given(claims=claims)).claims[0].against == ("base",)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"claims": [{**given()["claims"][0], "arm": "egde"}]}, "no arm 'egde'; the arms are base, edge, id"),
        ({"claims": given()["claims"] * 2}, "claims: 'c' occurs twice"),
        ({"seeds": [0, 1, 0]}, "seeds: '0' occurs twice"),
        ({"arms": {**given()["arms"], "base": {"says": ".", "changes": {"seed": 1}}}}, "give the arm another name"),
        (
            {"arms": {**given()["arms"], "shared": {"says": ".", "changes": {"seed": 1}}}},
            "arms.shared: this is the folder",
        ),
        ({"name": "shared"}, "name: 'shared' is the folder of shared stages"),
        ({"arms": {"id": {"says": ".", "changes": {}}, "edge": given()["arms"]["edge"]}}, "at least 1 item"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_its_key(fields: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        Study.model_validate(given(**fields))
