"""What the stand-in for the HTTP API answers: problems, traces with their judgements, estimates; the same each time.

Built with the classes of `serving`, so that a change of the contract breaks this file first.
"""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass
from typing import Any, cast

from serving import schemas
from serving.probe.bodies.compare import CompareAnswer, CompareCell, CompareRow, Parting
from serving.probe.bodies.judgements import JudgementBody, StepBody, StepStatusName
from serving.probe.bodies.pass_at_k import (
    Estimate,
)
from serving.probe.bodies.problems import GraphEdge, GraphNode, ProblemAnswer, ProblemGraph, ProblemRequest
from serving.probe.bodies.solve import (
    Alternative,
    ContinueRequest,
    SolveAnswer,
    SolveRequest,
    StepEvent,
    Timing,
    TokenBody,
)

STEPS = (0, 20, 40, 60, 80, 100)

WORDS = {
    "zoo": ("adult", "South Zoo", "Bundle Ranch", "Maple Creek", "total number of adult animals"),
    "school": ("elementary", "Brightford", "Hawkesbury", "Oakbridge City", "total number of schools"),
    "movie": (
        "calm",
        "Festival Lumière de Valmont",
        "Rêves de Belleville",
        "Taylor Movie Festival",
        "total number of movies",
    ),
}
KINDS = {
    "zoo": ("deer", "fox", "bear", "wolf", "crow", "owl", "eagle"),
    "school": ("school", "art school", "law school", "day school", "night school", "dance school", "music school"),
    "movie": ("road movie", "drama", "western", "comedy", "thriller", "musical", "satire"),
}
# What each checkpoint does at the nodes a..g; a node that is not named comes out right.
HABITS: dict[int, dict[str, str]] = {
    0: {"b": "wrong operand", "c": "missing", "d": "too early", "e": "missing", "f": "wrong value", "g": "wrong value"},
    20: {"c": "wrong value", "e": "missing", "f": "too early", "g": "wrong value"},
    40: {"e": "wrong operand", "f": "wrong value", "g": "wrong value"},
    60: {"f": "wrong value", "g": "wrong value"},
    80: {"e": "duplicate", "f": "missing"},
    100: {},
}


def problem_of(
    spec: ProblemRequest,
) -> tuple[ProblemAnswer, dict[str, GraphNode]]:
    """One graph of nine quantities in the words of the template; the seed moves its numbers."""
    style, south, ranch, creek, total = WORDS[spec.template]
    kinds = KINDS[spec.template]
    first = 1 + spec.seed % 4
    name = {
        "a": f"{style} {kinds[0]} in {south}",
        "b": f"{style} {kinds[1]} in {south}",
        "c": f"{style} {kinds[2]} in {ranch}",
        "d": f"{total} in {south}",
        "e": f"{style} {kinds[3]} in {ranch}",
        "f": f"{total} in {ranch}",
        "g": f"{style} {kinds[4]} in {creek}",
        "h": f"{style} {kinds[5]} in {creek}",
        "i": f"{style} {kinds[6]} in {creek}",
    }
    rows = [
        ("a", "literal", first, "", first, 0, 1),
        ("b", "plus", 3, "a", first + 3, 1, 0),
        ("c", "times", 2, "a", 2 * first, 1, 2),
        ("d", "total", None, "ab", 2 * first + 3, 2, 0),
        ("e", "difference", None, "ba", 3, 2, 1),
        ("f", "total", None, "ce", 2 * first + 3, 3, 1),
        ("g", "sum", None, "df", 4 * first + 6, 4, 0),
        ("h", "literal", 2, "", 2, 0, 3),
        ("i", "plus", 3, "h", 5, 1, 3),
    ]
    roles: dict[str, Any] = {"g": "query", "h": "distractor", "i": "distractor"}
    if spec.mode == "reverse":
        roles |= {"a": "query", "g": "given"}
    nodes = {
        key: GraphNode(
            name=name[key], operation=operation, constant=constant, parents=[name[p] for p in parents], value=value,
            role=roles.get(key, "needed"), layer=layer, order=order,
        )
        for key, operation, constant, parents, value, layer, order in rows
    }  # fmt: skip
    edges = [GraphEdge(source=parent, target=node.name) for node in nodes.values() for parent in node.parents]
    question = f"What is the number of {name['g']}?"
    facts = (
        f"The number of {name['b']} equals 3 plus the number of {name['a']}. The number of {name['a']} equals {first}. "
        f"The number of {name['i']} equals 3 plus the number of {name['h']}. The number of {name['c']} equals 2 times "
        f"the number of {name['a']}. The number of {name['h']} equals 2. The number of {name['e']} equals the "
        f"difference between the number of {name['b']} and the number of {name['a']}. The number of {name['g']} "
        f"equals the sum of the {name['d']} and the {name['f']}."
    )
    answer = ProblemAnswer(
        id=f"{spec.template}-{spec.mode}-op{spec.op}-d2-{spec.seed:x}",
        hash=f"{zlib.crc32(facts.encode()):08x}",
        spec=spec,
        problem=facts,
        question=question,
        prompt=f"<question> {facts} {question} </question> <solution>",
        solution=" ".join(_sentence(nodes, key, nodes[key].value) for key in "abcdefg")
        + f" Answer: {nodes['g'].value}.",
        answer=nodes["g"].value,
        graph=ProblemGraph(nodes=list(nodes.values()), edges=edges, layers=5, width=4),
    )
    return answer, nodes


LETTERS = {"a": "k", "b": "N", "c": "u", "d": "R", "e": "p", "f": "W", "g": "B", "h": "o", "i": "T"}


def _sentence(nodes: dict[str, GraphNode], key: str, value: int) -> str:
    keys = {node.name: k for k, node in nodes.items()}
    node = nodes[key]
    letters = [LETTERS[keys[parent]] for parent in node.parents]
    sign = {"difference": " - ", "times": " * "}.get(node.operation, " + ")
    terms = ([str(node.constant)] if node.constant is not None else []) + letters
    numbers = ([str(node.constant)] if node.constant is not None else []) + [
        str(nodes[keys[parent]].value) for parent in node.parents
    ]
    chain = dict.fromkeys([sign.join(terms), sign.join(numbers), str(value)])
    return f"Define {node.name} as {LETTERS[key]}; so {LETTERS[key]} = {' = '.join(chain)}."


@dataclass(frozen=True)
class Script:
    """A whole canned answer: its text after the prompt and the judgement of it."""

    text: str
    judgement: JudgementBody


def script_of(step: int, nodes: dict[str, GraphNode], recovered: bool = False) -> Script:
    """What checkpoint `step` writes: its habits at every node, then the answer."""
    habits = {} if recovered else HABITS[step]
    text = ""
    steps: list[StepBody] = []
    missing = [key for key in "abcdefg" if habits.get(key) == "missing"]

    def say(node: str, status: StepStatusName, reason: str, sentence: str) -> None:
        nonlocal text
        start = len(text) + 1
        text += f" {sentence}"
        inherited = any(s.status not in ("right", "duplicate", "missing") for s in steps) and status == "wrong value"
        steps.append(
            StepBody(
                index=len(steps), node=node, status=status, reason=reason, start=start, end=len(text),
                inherited=inherited,
            )
        )  # fmt: skip

    for key in (key for key in "abcdefg" if key not in missing):
        status = cast("StepStatusName", habits.get(key, "right"))
        value = nodes[key].value + (5 if status == "wrong value" else 2 if status == "wrong operand" else 0)
        say(nodes[key].name, "right" if status == "duplicate" else status, _reason(status, nodes[key], value),
            _sentence(nodes, key, value))  # fmt: skip
        if status == "duplicate":
            say(nodes[key].name, status, "derived twice", _sentence(nodes, key, value))
        if step == 0 and key == "d" and not recovered:
            ghost = nodes["a"].name.replace(" in ", " cub in ")
            say(ghost, "invented", f"the problem knows no {ghost}", f"Define {ghost} as z; so z = 9.")
    answer = nodes["g"].value if recovered or step >= 80 else nodes["g"].value + 5
    text += f" </solution> <answer> {answer} </answer>"
    for key in missing:
        steps.append(
            StepBody(
                index=len(steps), node=nodes[key].name, status="missing", reason="no step derives it",
                start=len(text), end=len(text), inherited=False,
            )
        )  # fmt: skip
    wrong = [s.index for s in steps if s.status not in ("right", "duplicate")]
    right = {s.node for s in steps if s.status == "right"}
    outcome = answer == nodes["g"].value
    judgement = JudgementBody(
        verified=outcome and not wrong,
        outcome=outcome,
        score=float(outcome),
        process_accuracy=len(right) / 7,
        answer=str(answer),
        answer_status="right" if outcome else "wrong",
        steps=steps,
        first_error=min(wrong, default=None),
        faults=[] if outcome else [f"the answer is {answer}, not {nodes['g'].value}"],
    )
    return Script(text, judgement)


def _reason(status: str, node: GraphNode, value: int) -> str:
    parents = " and ".join(node.parents) or "no other quantity"
    return {
        "wrong value": f"it is {node.value}, not {value}: the operands are right, the arithmetic is not",
        "wrong operand": f"it follows from {parents}; the trace uses another quantity",
        "too early": f"it needs {parents}, which the trace has not derived yet",
    }.get(status, f"follows from {parents}, and equals {value}")


def tokens_of(text: str, offset: int, sharpness: float, top: int) -> list[TokenBody]:
    """Words as tokens, with log-probabilities that depend on the word and on how good the checkpoint is."""
    out: list[TokenBody] = []
    at = offset
    for index, word in enumerate(re.findall(r"\s*[^\s;]+|\s*;", text)):
        doubt = (zlib.crc32(f"{index}{word}".encode()) % 1000) / 1000
        p = max(0.03, 1 - doubt**4 * (1.2 - sharpness))
        rest = [("the", 0.6), (" 3", 0.25), (" number", 0.15)]
        others = [
            Alternative(id=i, text=t, logprob=math.log(max(1e-4, (1 - p) * share))) for i, (t, share) in enumerate(rest)
        ]
        own = Alternative(id=1000 + index, text=word, logprob=math.log(p))
        ranked = sorted([own, *others], key=lambda a: -a.logprob)[:top]
        out.append(
            TokenBody(
                index=index, id=1000 + index, text=word, start=at, end=at + len(word), logprob=math.log(p), top=ranked
            )
        )
        at += len(word)
    return out


def step_of(model: str) -> int:
    alias = {"latest": 100, "best": 80, "base": 0}
    return alias[model] if model in alias else int(model.split("@")[1])


def policy_of(model: str, body: dict) -> schemas.Policy:
    """The policy block of an answer."""
    step = step_of(model)
    used = schemas.SamplingUsed(
        temperature=body.get("temperature", 0.0), top_p=1.0, max_tokens=body.get("max_tokens", 256), stop=[]
    )
    return schemas.Policy(
        model=f"demo@{step}", requested=model, checkpoint=f"rl-{step}", stage="rl", step=step,
        weight_hash=f"{zlib.crc32(str(step).encode()):08x}a1b2c3d4", tokenizer_hash="5f1e09c2", engine="fake",
        seed=body.get("seed") or 0, sampling=used,
    )  # fmt: skip


def card(model: str, alias_of: str | None = None) -> schemas.ModelCard:
    """One entry of the model list."""
    step = step_of(model)
    return schemas.ModelCard(
        id=model, created=1_780_000_000 + step, alias_of=alias_of, run="demo", stage="rl", step=step,
        checkpoint=f"rl-{step}", parent=None, weight_hash=policy_of(model, {}).weight_hash, tokenizer_hash="5f1e09c2",
        tokens=step * 20_000, flops=1e9 * step, score=step / 100, loaded=step == 100, max_model_len=1024,
    )  # fmt: skip


def solve_answer(body: dict, prefix: str = "") -> tuple[SolveAnswer, ProblemAnswer]:
    """The whole answer of one checkpoint, after `prefix` if there is one (it then recovers)."""
    request = ContinueRequest(**body) if prefix else SolveRequest(**body)
    assert request.problem is not None
    problem, nodes = problem_of(request.problem)
    step = step_of(request.model)
    script = script_of(step, nodes, recovered=bool(prefix) and step >= 40)
    text, judgement = script.text, script.judgement
    written = text[len(prefix) :]
    tokens = tokens_of(written, len(text) - len(written), step / 100, max(1, request.logprobs))
    steps = []
    for one in judgement.steps:
        own = [t for t in tokens if t.start < one.end and t.end > one.start]
        span = (own[0].index, own[-1].index + 1) if own else (0, 0)
        steps.append(
            StepEvent(**one.model_dump(), token_start=span[0], token_end=span[1], logprobs=[t.logprob for t in own])
        )
    answer = SolveAnswer(
        policy=policy_of(request.model, body), problem_id=problem.id, text=text, tokens=tokens, steps=steps,
        judgement=judgement,
        rewards={"outcome": float(judgement.outcome), "strict": float(judgement.verified or False)},
        finish_reason="stop", prompt_tokens=96, completion_tokens=len(tokens),
        recovered=judgement.outcome if prefix else None,
        timing=Timing(first_token_ms=12.0, total_ms=12.0 + 4.0 * len(tokens)),
    )  # fmt: skip
    return answer, problem


def compare_answer(body: dict) -> CompareAnswer:
    """The answers of all models, aligned by node."""
    shared = {key: body[key] for key in body if key != "models"}
    answers = [solve_answer({**shared, "model": model, "stream": False})[0] for model in body["models"]]
    names = list(dict.fromkeys(step.node for answer in reversed(answers) for step in answer.steps))
    rows = []
    for name in names:
        cells: list[CompareCell | None] = []
        for answer in answers:
            step = next((s for s in answer.steps if s.node == name), None)
            cells.append(step and CompareCell(
                status=step.status, reason=step.reason, step=step.index, text=answer.text[step.start : step.end]
            ))  # fmt: skip
        texts = {cell.text if cell else None for cell in cells}
        rows.append(CompareRow(node=name, known=" cub " not in name, cells=cells, same=len(texts) == 1))
    parted = next((row for row in rows if not row.same), None)
    parting = parted and Parting(
        node=parted.node, token=9,
        sentence=f"They part at {parted.node}: " + ", ".join(
            f"{model} has it {cell.status if cell else 'absent'}"
            for model, cell in zip(body["models"], parted.cells, strict=True)
        ) + ".",
    )  # fmt: skip
    return CompareAnswer(
        problem_id=answers[0].problem_id, seed=body.get("seed") or 0, answers=answers, rows=rows, parting=parting
    )


def estimates(values: list[float], ks: tuple[int, ...]) -> list[Estimate]:
    n, c = len(values), int(sum(values))
    out = []
    for k in (k for k in ks if k <= n):
        mean = 1.0 if n - c < k else 1 - math.prod(1 - k / i for i in range(n - c + 1, n + 1))
        half = 1.96 * math.sqrt(max(mean * (1 - mean), 0.01) / n)
        out.append(Estimate(k=k, mean=mean, lo=max(0.0, mean - half), hi=min(1.0, mean + half)))
    return out
