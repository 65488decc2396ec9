"""Several checkpoints on the same problem with the same seed, aligned by graph node, and where they first differ."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from functools import partial
from itertools import zip_longest

from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.desk import Clerk
from serving.generation.service import Draw, Service, require_size, together
from serving.http.answers import caller_of, documented, json_bytes
from serving.probe.bodies.compare import CompareAnswer, CompareCell, CompareRequest, CompareRow, Parting
from serving.probe.bodies.solve import SolveAnswer, StepEvent
from serving.probe.posed import Posed, ProblemBank
from serving.probe.traces import FinishedTrace, JudgedTrace
from serving.schemas import MAX_SEED


def routes(service: Service, bank: ProblemBank) -> APIRouter:
    """The route over `service` and `bank`."""
    router = APIRouter(tags=["Probe"])

    @router.post("/v1/probe/compare", response_model=CompareAnswer, responses=documented())
    async def compare(request: Request, body: CompareRequest) -> Response:
        """Ask several checkpoints the same and lay their traces side by side, node by node."""
        return json_bytes(await service.work.whole(request, _compare(service, bank, request, body)))

    return router


async def _compare(service: Service, bank: ProblemBank, request: Request, body: CompareRequest) -> bytes:
    caller = caller_of(request, None)
    problem = await bank.find(body, caller)
    seed = body.seed if body.seed is not None else secrets.randbelow(MAX_SEED)
    draw = Draw(body.max_tokens, body.temperature, body.top_p, seed, (), body.logprobs)
    require_size(len(body.models), draw)
    clerk = bank.clerk(caller)
    asks = [partial(_ask, service, model, clerk, draw, problem) for model in body.models]
    traces = await together(asks, len(asks))
    rows = aligned(problem.nodes, [trace.answer for trace in traces])
    parted = parting(body.models, [trace.token_ids for trace in traces], rows)
    frame = CompareAnswer(problem_id=problem.id, seed=seed, answers=[], rows=rows, parting=parted)
    before, _, after = frame.model_dump_json().encode().partition(b'"answers":[]')
    return b"".join((before, b'"answers":[', b",".join(trace.body for trace in traces), b"]", after))


async def _ask(service: Service, model: str, clerk: Clerk, draw: Draw, problem: Posed) -> FinishedTrace:
    arrived = time.monotonic()
    async with service.session(model, clerk.caller, draw) as session:
        prompt_ids = await session.encode(problem.prompt, "problem")
        trace = JudgedTrace(problem, "", session.route.loaded.codec, clerk)
        trace.written = await session.write(prompt_ids, 0, 0)
        judgement = await trace.judgement()
        await service.judged(session, judgement)
        policy = session.policy(service.engine)
        return await trace.answer(judgement, policy, len(prompt_ids), arrived, service.pace)


def aligned(gold_nodes: Sequence[str], answers: Sequence[SolveAnswer]) -> list[CompareRow]:
    """One row per node: those of the gold trace in its order, then the others as they first appear."""
    by_node = [_first_steps(answer) for answer in answers]
    others = dict.fromkeys(node for steps in by_node for node in steps if node not in gold_nodes)
    rows: list[CompareRow] = []
    for node in [*gold_nodes, *others]:
        cells = [_cell(answer, steps.get(node)) for answer, steps in zip(answers, by_node, strict=True)]
        texts = {cell.text if cell else None for cell in cells}
        rows.append(CompareRow(node=node, known=node in gold_nodes, cells=cells, same=len(texts) == 1))
    return rows


def _first_steps(answer: SolveAnswer) -> dict[str, StepEvent]:
    steps: dict[str, StepEvent] = {}
    for step in answer.steps:
        steps.setdefault(step.node, step)
    return steps


def _cell(answer: SolveAnswer, step: StepEvent | None) -> CompareCell | None:
    if step is None:
        return None
    text = answer.text[step.start : step.end].strip()
    return CompareCell(status=step.status, reason=step.reason, step=step.index, text=text)


def parting(models: Sequence[str], ids: Sequence[Sequence[int]], rows: Sequence[CompareRow]) -> Parting | None:
    """The first token at which two traces differ, the node that it belongs to, and both in words."""
    token = next((i for i, column in enumerate(zip_longest(*ids)) if len(set(column)) > 1), None)
    if token is None:
        return None
    row = next((row for row in rows if not row.same), None)
    if row is None:
        agreed = "The steps agree; the texts differ" if rows else "They differ"
        return Parting(node=None, token=token, sentence=f"{agreed} from token {token} on.")
    said = "; ".join(
        f"{model}: {cell.status if cell else 'nothing'}" for model, cell in zip(models, row.cells, strict=True)
    )
    return Parting(node=row.node, token=token, sentence=f"They part at {row.node} ({said}).")
