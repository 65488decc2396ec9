"""The kept rollouts of a run as bodies: which steps there are, a step's rows, and one row with its tokens.

Stages and steps are looked up among the files that are there; no path is made from a request. Blocking: call it in a
thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from actors.policy.tokenizer import decode_with_offsets
from actors.rollouts.query import Status
from actors.rollouts.reading import DamagedPart, NoRollouts, OtherForm, Part, kept
from actors.rollouts.table import StoredRollout
from serving.http.errors import Busy, NotFound
from serving.probe.judgements import judgement_body
from serving.runs.bodies import KeptSteps, KeptToken, RolloutAnswer, RolloutHead, RolloutPage, RolloutSteps


def steps(run_dir: Path) -> RolloutSteps:
    """The steps of each stage whose rollouts are kept; none where the run kept nothing."""
    try:
        parts = kept(run_dir)
    except NoRollouts:
        return RolloutSteps(stages=[])
    stages = sorted({part.stage for part in parts})
    return RolloutSteps(
        stages=[
            KeptSteps(stage=stage, steps=sorted(part.step for part in parts if part.stage == stage)) for stage in stages
        ]
    )


def page(
    run_dir: Path, stage: str, step: int, stratum: str | None, status: Status | None, offset: int, limit: int
) -> RolloutPage:
    """Some rows of a step in short, of one stratum and status if these are given."""
    part = _part(run_dir, stage, step)
    with _faults_of(part):
        heads = part.heads()
    fitting = [head for head in heads if stratum in (None, head.stratum) and status in (None, head.status)]
    return RolloutPage(
        stage=stage,
        step=step,
        strata=sorted({head.stratum for head in heads}),
        total=len(fitting),
        rows=[RolloutHead.model_validate(asdict(head)) for head in fitting[offset : offset + limit]],
    )


def rollout(
    run_dir: Path, stage: str, step: int, number: int, tokenizer: PreTrainedTokenizerFast | None
) -> RolloutAnswer:
    """One row of a step, with its tokens where the run has a tokenizer that gives its text."""
    part = _part(run_dir, stage, step)
    with _faults_of(part):
        row = part.row(number)
    if row is None:
        raise NotFound(f"step {step} has no such row", param="row", code="row_not_found")
    return RolloutAnswer(
        stage=stage,
        step=step,
        row=number,
        stratum=row.stratum,
        item=row.item,
        prompt=None if tokenizer is None else decode_with_offsets(tokenizer, row.prompt_ids)[0],
        text=row.text,
        tokens=None if tokenizer is None else _tokens(row, tokenizer),
        judgement=judgement_body(row.judgement),
        status=Status.of(row).value,
        reward=row.reward,
        finish_reason=row.finish_reason,
        trained=row.trained,
        first_weight_version=row.first_weight_version,
        weight_version=row.weight_version,
    )


def _part(run_dir: Path, stage: str, step: int) -> Part:
    try:
        return kept(run_dir, stage, step)[0]
    except NoRollouts:
        raise NotFound(
            f"the run keeps no rollouts of step {step} of such a stage; GET /v1/runs/RUN/rollouts lists what it keeps",
            code="no_rollouts",
        ) from None


@contextmanager
def _faults_of(part: Part) -> Iterator[None]:
    """What is wrong with a part, without the path that the error of a command names."""
    try:
        yield
    except OtherForm as error:
        raise Busy(
            f"the rollouts of step {part.step} have the form of another version of Interplay", code="other_form"
        ) from error
    except DamagedPart as error:
        raise Busy(
            f"the rollouts of step {part.step} are cut off or damaged; other steps are whole", code="damaged_part"
        ) from error


def _tokens(row: StoredRollout, tokenizer: PreTrainedTokenizerFast) -> list[KeptToken] | None:
    """The tokens with their numbers; None where the ids give another text, as those of another tokenizer do."""
    text, spans = decode_with_offsets(tokenizer, row.completion_ids)
    if not text.startswith(row.text):
        return None
    credit = _credit_by_token(row)
    learner, advantages = row.learner_logprobs, row.advantages
    return [
        KeptToken(
            id=token_id,
            text=text[start:end],
            start=start,
            end=end,
            logprob=row.logprobs[place],
            learner_logprob=None if learner is None else learner[place],
            advantage=None if advantages is None else advantages[place],
            credit=credit[place],
        )
        for place, (token_id, (start, end)) in enumerate(zip(row.completion_ids, spans, strict=True))
        if end <= len(row.text)
    ]


def _credit_by_token(row: StoredRollout) -> Sequence[float]:
    found = [0.0] * len(row.completion_ids)
    for credit in row.credits:
        for place in range(int(credit["start"]), int(credit["end"])):
            found[place] += credit["credit"]
    return found
