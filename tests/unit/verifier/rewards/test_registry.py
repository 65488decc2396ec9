import dataclasses
import math

import pytest
from pydantic import TypeAdapter

from tests.judgements import trace
from tests.tasks import ITEM, Sums
from verifier.errors import BadImportPath, BadJudgement, BadReward
from verifier.judgement import Judgement
from verifier.mixture import Mixture
from verifier.rewards.registry import Reward, Rewards, check_rewards, reward, try_rewards

HERE = __name__


def half_as_long(item, text, judgement):
    return min(1.0, len(text) / 2 / len(item.prompt))


def lying(item, text, judgement):
    return {"nan": math.nan, "two": 2.0, "none": None, "huge": "x" * 1_000_000, "true": True}[text]


def true(item, text, judgement):
    return True


def two(item, text, judgement):
    return 2.0


class WithoutGold(Sums):
    def item(self, stratum, seed, index, split):
        return dataclasses.replace(super().item(stratum, seed, index, split), gold=None)


def of_steps(item, text, judgement):
    return judgement.process_accuracy


of_steps.needs_steps = True  # pyright: ignore[reportFunctionMemberAccess]  # as docs/rewards.md says
no_function = 3


def test_a_users_function_is_called_with_the_item_and_the_text():
    spec = Reward(f"{HERE}:half_as_long")
    assert reward(Judgement(right=False), ITEM, "x" * len(ITEM.prompt), (spec,)) == 0.5


@pytest.mark.parametrize("lie", ["nan", "two", "none", "huge", "true"])
def test_a_users_function_that_returns_no_number_from_0_to_1_is_an_error_told_in_one_short_line(lie):
    with pytest.raises(BadJudgement, match="make it a number from 0 to 1") as told:
        reward(Judgement(right=True), ITEM, lie, (Reward(f"{HERE}:lying"),))
    assert len(str(told.value)) < 300


def test_a_reward_that_needs_steps_is_refused_where_there_are_none():
    for name in ("strict", f"{HERE}:of_steps"):
        check_rewards([Reward(name)], has_steps=True)
        with pytest.raises(BadReward, match="needs judged steps"):
            check_rewards([Reward(name)], has_steps=False)
    check_rewards([Reward("score"), Reward(f"{HERE}:half_as_long")], has_steps=False)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("no_such_module:f", "no_such_module does not import"),
        (f"{HERE}:nothing", "has no nothing"),
        (":f", "write package.module:name"),
    ],
)
def test_an_import_path_that_leads_nowhere_is_named(path, hint):
    with pytest.raises(BadImportPath, match=hint):
        check_rewards([Reward(path)], has_steps=True)


def test_what_is_no_function_is_no_reward():
    with pytest.raises(BadReward, match="is no function"):
        check_rewards([Reward(f"{HERE}:no_function")], has_steps=True)
    with pytest.raises(BadReward, match=r"^there is no reward: name one, for example outcome$"):
        check_rewards([], has_steps=True)


@pytest.mark.parametrize("alpha", [-0.01, 1.01, math.nan])
def test_the_weight_of_the_answer_lies_from_0_to_1(alpha):
    assert (Reward("mix", alpha=0.0).alpha, Reward("mix", alpha=1.0).alpha) == (0.0, 1.0)
    with pytest.raises(BadReward, match=r"alpha is the weight of the answer and lies in \[0, 1\]"):
        Reward("mix", alpha=alpha)


@pytest.mark.parametrize("weight", [0.0, -1.0, 1e308, math.inf, math.nan])
def test_a_weight_is_a_number_above_0_whose_sum_stays_finite(weight):
    with pytest.raises(BadReward, match="a weight is a number above 0, at most 1000000, not"):
        Reward("mix", weight=weight)
    assert reward(Judgement(right=True), ITEM, "", [Reward("outcome", weight=1e6)] * 2) == 1.0


def test_an_unknown_reward_is_answered_with_the_nearest_and_with_all_names():
    with pytest.raises(BadReward) as told:
        Reward("stricte")
    names = "outcome, score, mix, strict, published, dense"
    rest = f"Choose one of {names}, or name a function of yours: package.module:function"
    assert str(told.value) == f"there is no reward 'stricte'; did you mean strict? {rest}"
    with pytest.raises(BadReward, match="did you mean outcome"):
        Reward("outlook")
    with pytest.raises(BadReward) as told:
        Reward("qqqq")
    assert str(told.value) == f"there is no reward 'qqqq'; {rest}"


def test_a_number_that_is_none_is_told_with_the_rewards_name():
    with pytest.raises(BadJudgement, match=f"the reward {HERE}:lying is 2.0: make it a number"):
        reward(Judgement(right=True), ITEM, "two", (Reward(f"{HERE}:lying"),))


def test_a_recipe_writes_one_reward_or_a_list():
    adapter = TypeAdapter(Rewards)
    assert adapter.validate_python({"name": "mix", "alpha": 0.5}) == (Reward("mix", 0.5),)
    both = adapter.validate_python([{"name": "outcome"}, {"name": "strict", "weight": 2}])
    assert both == (Reward("outcome"), Reward("strict", weight=2.0))
    assert adapter.validate_json(adapter.dump_json(both)) == both


def test_a_named_reward_is_a_number_from_0_to_1_whatever_the_judgement():
    lie = dataclasses.replace(trace(needed=1), verified=50.0)
    with pytest.raises(BadJudgement, match=r"the reward strict is 50.0: make it a number from 0 to 1"):
        reward(lie, ITEM, "", (Reward("strict"),))


def of_one(item):
    return 1.0


def leaving(item, text, judgement):
    raise SystemExit(3)


def seen(item, text, judgement):
    SEEN.append((item, text, judgement))
    return 1


SEEN = []


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        (
            "of_one",
            BadReward,
            r"raised TypeError: of_one.. takes 1 .*; it is called as function.item, text, judgement.",
        ),
        ("leaving", BadReward, "raised SystemExit: 3"),
        ("of_steps", BadReward, "raised AttributeError: .*process_accuracy"),
        ("lying", BadReward, "raised KeyError"),
        ("true", BadJudgement, "is True: make it a number from 0 to 1"),
        ("two", BadJudgement, r"is 2\.0: make it a number from 0 to 1"),
    ],
)
def test_a_users_function_is_tried_before_a_run_starts(name, error, told):
    rewards = (Reward("outcome"), Reward(f"{HERE}:seen"), Reward(f"{HERE}:{name}"))
    SEEN.clear()
    with pytest.raises(error, match=f"the reward {HERE}:{name} {told}"):
        try_rewards(rewards, Sums(), Mixture.even(Sums().strata()))
    item = Sums().item(Sums().strata()[0], 0, 0, "train")
    seen_item, text, judgement = SEEN[0]
    assert (seen_item, text, len(SEEN)) == (item, item.gold, 1)
    assert judgement == Judgement(right=True, answer=str(item.payload))


def test_a_task_whose_items_have_no_gold_tries_a_reward_as_well():
    SEEN.clear()
    try_rewards((Reward(f"{HERE}:seen"),), WithoutGold(), Mixture.even(Sums().strata()))
    assert [(text, judgement.right) for _, text, judgement in SEEN] == [("?", False)]


def test_a_reward_is_tried_with_an_item_of_a_stratum_that_is_drawn():
    SEEN.clear()
    strata = Sums().strata()
    try_rewards((Reward(f"{HERE}:seen"),), Sums(), Mixture(strata, (0.0, 1.0)))
    assert [item.stratum for item, _, _ in SEEN] == [strata[1]]


def test_a_trace_is_paid_by_its_steps():
    assert reward(trace(right=False, answer=None), ITEM, "", (Reward(f"{HERE}:of_steps"),)) == 0.0
