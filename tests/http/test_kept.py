"""The routes of kept rollouts: pages, single rows with their tokens, and clear words for parts that cannot be read."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from actors.config import TokenizerConfig
from actors.policy.checkpoint import CheckpointStore, Lineage
from actors.policy.model import build, save
from actors.policy.tokenizer import build_tokenizer, decode_with_offsets
from actors.rollouts.store import RolloutStore, parts
from actors.rollouts.table import FORM_KEY, JudgedGroup, StepRollouts, TokenNumbers
from serving.models.registry import Registry
from serving.runs.tokenizers import RunTokenizers
from tests.http.conftest import TINY, TOKENIZER, Server
from tests.rollouts import TASK, step_rollouts

ROOM = "/v1/runs/demo/rollouts"


@pytest.fixture
def store(run_dir: Path) -> RolloutStore:
    """The rollouts of two steps of the served run."""
    store = RolloutStore(run_dir, "rl", 0, 9)
    for step in (1, 3):
        store.write(step_rollouts(step))
    return store


def in_the_runs_tokens(step: StepRollouts) -> StepRollouts:
    """The same texts, drawn in tokens of the run's own tokenizer."""
    return replace(step, groups=tuple(map(_in_tokens, step.groups)))


def _in_tokens(judged: JudgedGroup) -> JudgedGroup:
    rollouts = []
    for rollout in judged.group.rollouts:
        ids = (*TOKENIZER(rollout.text, add_special_tokens=False)["input_ids"], TOKENIZER.eos_token_id)
        text = decode_with_offsets(TOKENIZER, ids[:-1])[0]
        completion = replace(rollout.completion, token_ids=ids, logprobs=(-0.5,) * len(ids))
        rollouts.append(
            replace(rollout, completion=completion, text=text, judgement=TASK.judge(judged.group.item, text))
        )
    tokens = sum(len(rollout.completion.token_ids) for rollout in rollouts)
    numbers = judged.numbers and TokenNumbers(
        judged.numbers.logprobs.repeat(tokens)[:tokens], judged.numbers.advantages.repeat(tokens)[:tokens]
    )
    return replace(judged, group=replace(judged.group, rollouts=tuple(rollouts)), numbers=numbers)


async def test_kept_steps_are_listed_and_rows_come_in_pages(server: Server, store: RolloutStore):
    assert (await server.client.get(ROOM)).json() == {"stages": [{"stage": "rl", "steps": [1, 3]}]}
    whole = (await server.client.get(f"{ROOM}/rl/3")).json()
    assert [row["status"] for row in whole["rows"]] == ["solved", "answer", "cut"] * 2
    part = (await server.client.get(f"{ROOM}/rl/3?offset=4&limit=1")).json()
    assert (part["total"], part["rows"]) == (6, whole["rows"][4:5])
    wrong = (await server.client.get(f"{ROOM}/rl/3?status=cut&stratum={whole['strata'][0]}")).json()
    assert [row["sample"] for row in wrong["rows"]] == [2]


async def test_a_row_has_its_text_judgement_and_tokens(server: Server, store: RolloutStore):
    store.write(in_the_runs_tokens(step_rollouts(4)))
    row = (await server.client.get(f"{ROOM}/rl/4/0")).json()
    assert row["judgement"]["verified"] is True
    assert row["prompt"]
    assert "".join(token["text"] for token in row["tokens"]) == row["text"]
    assert [token["credit"] for token in row["tokens"][:3]] == [1.0, 1.0, 0.0]
    assert {(token["logprob"], token["advantage"]) for token in row["tokens"]} == {(-0.5, 0.5)}
    untrained = (await server.client.get(f"{ROOM}/rl/4/3")).json()
    assert untrained["tokens"][0]["advantage"] is None
    of_another_tokenizer = (await server.client.get(f"{ROOM}/rl/3/0")).json()
    assert of_another_tokenizer["tokens"] is None
    assert of_another_tokenizer["judgement"]["verified"] is True


async def test_what_is_not_kept_and_what_cannot_be_read_is_said(server: Server, store: RolloutStore, run_dir: Path):
    for place, code in (("rl/2", "no_rollouts"), ("../1", "not_found"), ("%2e%2e/1", "no_rollouts")):
        answer = await server.client.get(f"{ROOM}/{place}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, code), answer.text
    assert (await server.client.get(f"{ROOM}/rl/3/6")).json()["error"]["code"] == "row_not_found"
    assert (await server.client.get(f"{ROOM}/rl/3?limit=101")).json()["error"]["param"] == "limit"
    assert (await server.client.get(f"{ROOM}/rl/3?status=fine")).json()["error"]["param"] == "status"
    cut, other = parts(store.folder).values()
    cut.write_bytes(cut.read_bytes()[:-100])
    table = pq.read_table(other)
    pq.write_table(table.replace_schema_metadata({FORM_KEY: b"9"}), other)
    for place, code in (("rl/1", "damaged_part"), ("rl/1/0", "damaged_part"), ("rl/3", "other_form")):
        answer = await server.client.get(f"{ROOM}/{place}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, code)
        assert str(run_dir.parent) not in answer.text


def test_a_run_that_was_done_again_is_read_with_the_tokenizer_that_it_has_now(run_dir: Path):
    registry = Registry((run_dir,))
    tokenizers = RunTokenizers(registry)
    first = tokenizers.of("demo")
    assert first is not None
    assert tokenizers.of("demo") is first
    another = build_tokenizer(TokenizerConfig.model_validate({"kind": "byte-pair"}), ["a b c"])
    shutil.rmtree(run_dir / "checkpoints")
    again = Lineage(run="demo", stage="rl", step=1, parent=None, seed=1)
    CheckpointStore(run_dir / "checkpoints").publish(
        again, lambda folder: save(build(TINY, len(another), 1), another, folder)
    )
    registry._listed_at = None  # as after two seconds
    now = tokenizers.of("demo")
    assert now is not None
    assert now.get_vocab() == another.get_vocab() != first.get_vocab()


async def test_a_run_that_keeps_nothing_has_no_steps(server: Server):
    assert (await server.client.get(ROOM)).json() == {"stages": []}
