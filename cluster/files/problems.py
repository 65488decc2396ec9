"""Files of problems: what a record holds, and how several processes write the same bytes as one.

The indices of a stream are cut into ranges; each process makes the problems of a range, and ranges are written in
order. So neither order nor bytes depend on the number of processes. `verifier.graphs.splits` decides which problems
belong to a stream.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cluster.files import jsonl
from verifier.errors import UserError
from verifier.graphs.mixture import Budget, Mixture
from verifier.graphs.mixture import by_tokens as by_mean_tokens
from verifier.graphs.problem import Problem, Quantity
from verifier.graphs.splits import mean_length, problem_at
from verifier.graphs.tell import training_text
from verifier.task import Split

RANGE = 250  # problems per range: a tenth of a second of work, so that a short file still keeps all processes busy
AHEAD = 3  # ranges in flight for each process; more only costs memory
PARQUET = ".parquet"


@dataclass(frozen=True, slots=True)
class Job:
    """A stream of problems, and how much of it to write.

    A budget in tokens counts training texts with the tokenizer in the folder `tokenizer`, and ends before the first
    problem that exceeds it.
    """

    mixture: Mixture
    seed: int
    split: Split | None
    budget: Budget
    tokenizer: Path | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """One problem as a line of JSON, and what it costs in the unit of the budget."""

    line: bytes
    cost: int


def record(problem: Problem) -> dict[str, Any]:
    """A problem as a record; `pid` is its key for `interplay verify`. The graph lists the needed quantities first."""
    graph, spec = problem.graph, problem.spec
    nodes = [_node(quantity, needed=True) for quantity in graph.needed]
    nodes += [_node(quantity, needed=False) for quantity in graph.distractors]
    return {
        "pid": problem.id,
        "problem": problem.problem,
        "question": problem.question,
        "solution": problem.solution,
        "answer": str(problem.answer),
        "op": spec.op,
        "mode": spec.mode,
        "template": spec.template,
        "depth": spec.depth,
        "seed": problem.seed,
        "graph": {"query": graph.query, "given": graph.given, "nodes": nodes},
    }


def _node(quantity: Quantity, needed: bool) -> dict[str, Any]:
    return {
        "name": quantity.name,
        "value": quantity.value,
        "parents": quantity.parents,
        "operation": quantity.operation,
        "constant": quantity.constant,
        "needed": needed,
    }


def make_range(job: Job, start: int, stop: int) -> list[Made]:
    """The problems of the indices start..stop-1."""
    made: list[Made] = []
    for index in range(start, stop):
        problem = problem_at(job.mixture, job.seed, job.split, index)
        cost = 1 if job.tokenizer is None else _tokens(problem, job.tokenizer)
        made.append(Made(jsonl.encode(record(problem)), cost))
    return made


def lines(job: Job, processes: int) -> Iterator[Made]:
    """The problems that the budget holds, in order."""
    left = job.budget.amount
    for made in _ranges(job, processes):
        for item in made:
            left -= item.cost
            if left < 0:
                return
            yield item


def write(path: str, made: Iterable[Made]) -> int:
    """Write records to a file, Parquet or JSON lines by its name, whole or not at all; returns their number."""
    number = 0
    with _sink(path) as put:
        for item in made:
            put(item.line)
            number += 1
    return number


def _sink(path: str) -> AbstractContextManager[Callable[[bytes], object]]:
    if not path.endswith(PARQUET):
        return jsonl.writing(path)
    from cluster.files import parquet

    return parquet.writing(path)


def by_tokens(mixture: Mixture, tokenizer: Path) -> Mixture:
    """A mixture with shares of tokens, converted to one with shares of problems.

    Raises:
        UserError: there is no tokenizer in that folder.
    """
    count = token_counter(tokenizer)
    return by_mean_tokens(mixture, lambda spec: mean_length(spec, count))


@cache
def token_counter(folder: Path) -> Callable[[str], int]:
    """The number of tokens of a text under the tokenizer.json in a folder.

    Raises:
        UserError: there is no tokenizer in that folder, or it cannot be read.
    """
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.is_file():
        raise UserError(f"{file} does not exist.", "Name a checkpoint folder, or another folder with a tokenizer.json.")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises no narrower one
        raise UserError(f"{file} cannot be read ({error}).", "Name a folder with another tokenizer.json.") from error
    return lambda text: len(tokenizer.encode(text).ids)


def _tokens(problem: Problem, tokenizer: Path) -> int:
    return token_counter(tokenizer)(training_text(problem.problem, problem.question, problem.solution))


def _ranges(job: Job, processes: int) -> Iterator[list[Made]]:
    """The ranges of a stream in order: as many as a budget in problems needs, without end for one in tokens."""
    end = job.budget.amount if job.budget.unit == "problems" else None
    if processes == 1:
        for start, stop in _bounds(end):
            yield make_range(job, start, stop)
        return
    waiting: deque[Future[list[Made]]] = deque()
    # Spawned, not forked: a fork would inherit the locks of the caller's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _attend) as pool:
        try:
            for start, stop in _bounds(end):
                waiting.append(pool.submit(make_range, job, start, stop))
                if len(waiting) > AHEAD * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _attend() -> None:
    """Tie a new process to its parent's life: Ctrl-C goes to both, and only the parent handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End with the parent: after `kill -9` of the parent, its children would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _bounds(end: int | None) -> Iterator[tuple[int, int]]:
    start = 0
    while end is None or start < end:
        stop = start + RANGE if end is None else min(start + RANGE, end)
        yield start, stop
        start = stop
