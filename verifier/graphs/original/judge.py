"""The original scorer's judgement of a text, field by field: for comparison with published numbers, not for training.

`judge` compares the graph that `verifier.graphs.original.reader` reads from the text with the one it reads from the
gold solution. Known faults of that comparison are in docs/verifier.md; the judge to trust is
`verifier.graphs.judge.judge`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import isfinite

from verifier.graphs.original.reader import ReferenceGraph, ReferenceNode, read_graph

TOLERANCE = 1e-6
# alpha, and whether any mismatch makes the score 0, of the five settings of the published runs
SCORES = {
    "out1.0": (1.0, False),
    "a0.5": (0.5, False),
    "a0.2": (0.2, False),
    "strict": (1.0, True),
    "strict_a0.2": (0.2, True),
}

_OPEN = re.compile(r"<answer>", re.IGNORECASE)
_CLOSE = re.compile(r"</answer>", re.IGNORECASE)
_FRACTION = re.compile(r"([+-]?\d+)\s*/\s*([+-]?\d+)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d)")
_DECIMAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)")
_MAX_DIGITS = 4300  # beyond, the language refuses to convert and the original finds no number

Pair = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Mismatches:
    """What differs between two graphs: names only in gold, names only in the text, values, parents, the answer."""

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    values: tuple[tuple[str, float | None, float | None], ...]
    parents: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
    answer: Pair | None


@dataclass(frozen=True, slots=True)
class ReferenceReport:
    """The original's judgement of one text. Fields are named as in the conformance schema, see `to_record`."""

    report: Mismatches
    pred: ReferenceGraph
    perfect: bool
    process_acc: float
    extracted: str
    em: int
    outcome: float
    process_reward: float
    score: dict[str, float]

    def to_record(self) -> dict[str, object]:
        """The report as plain data with the field names and number forms of the conformance files."""
        report = self.report
        return {
            "report": {
                "missing": list(report.missing),
                "extra": list(report.extra),
                "value": [[name, _plain(gold), _plain(got)] for name, gold, got in report.values],
                "deps": [[name, list(gold), list(got)] for name, gold, got in report.parents],
                "answer": [_plain(number) for number in report.answer] if report.answer else None,
            },
            "pred": [[n.name, n.variable, _plain(n.value), sorted(n.parents)] for n in self.pred.nodes.values()],
            "n_steps": self.pred.steps,
            "parsed_answer": _plain(self.pred.answer),
            "perfect": self.perfect,
            "process_acc": self.process_acc,
            "extracted": self.extracted,
            "em": self.em,
            "outcome": self.outcome,
            "process_reward": self.process_reward,
            "score": dict(self.score),
        }


def _plain(number: float | None) -> float | int | None:
    """A whole number as an int, as the files have it; none for one beyond all bounds, which JSON cannot write."""
    if number is None or not isfinite(number):
        return None
    return int(number) if number == int(number) else number


@lru_cache(maxsize=4096)
def _gold_graph(solution: str) -> ReferenceGraph:
    return read_graph(solution)


def judge(text: str, gold_solution: str) -> ReferenceReport:
    """The original's judgement of what a model wrote after the prompt. Pure, total on any string, linear in it."""
    gold = _gold_graph(gold_solution)
    gold_answer = gold_solution.rpartition("Answer:")[2].strip().rstrip(".")
    pred = read_graph(text)
    mismatches = compare(gold, pred)
    nodes = max(len(gold.nodes), 1)
    wrong = {name for name, *_ in mismatches.values} | {name for name, *_ in mismatches.parents}
    errors = len(mismatches.values) + len(mismatches.parents) + len(mismatches.missing)
    errors += int(mismatches.answer is not None)
    penalty = errors + min(len(mismatches.extra), nodes)
    extracted = extract_answer(text)
    outcome = float(bool(gold_answer) and extracted.rstrip(".") == gold_answer)
    process = max(0.0, 1.0 - penalty / nodes)
    return ReferenceReport(
        report=mismatches,
        pred=pred,
        perfect=errors == 0,
        process_acc=round((len(gold.nodes) - len(mismatches.missing) - len(wrong)) / nodes, 6),
        extracted=extracted,
        em=int(_same_answer(extracted, gold_answer)),
        outcome=outcome,
        process_reward=round(process, 6),
        score={name: _score(outcome, process, penalty, *setting) for name, setting in SCORES.items()},
    )


def _score(outcome: float, process: float, penalty: int, alpha: float, gated: bool) -> float:
    if not outcome or (gated and penalty):
        return 0.0
    return round(alpha * outcome + (1.0 - alpha) * process, 6)


def compare(gold: ReferenceGraph, pred: ReferenceGraph) -> Mismatches:
    """Names, values (within TOLERANCE) and parent sets of two graphs, names in alphabetical order."""
    shared = sorted(gold.nodes.keys() & pred.nodes.keys())
    pairs = [(name, gold.nodes[name], pred.nodes[name]) for name in shared]
    return Mismatches(
        missing=tuple(sorted(gold.nodes.keys() - pred.nodes.keys())),
        extra=tuple(sorted(pred.nodes.keys() - gold.nodes.keys())),
        values=tuple((name, g.value, p.value) for name, g, p in pairs if _differ(g.value, p.value)),
        parents=tuple((name, *_sorted_parents(g, p)) for name, g, p in pairs if g.parents != p.parents),
        answer=(gold.answer, pred.answer) if _differ(gold.answer, pred.answer) else None,
    )


def _sorted_parents(gold: ReferenceNode, pred: ReferenceNode) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(sorted(gold.parents)), tuple(sorted(pred.parents))


def _differ(gold: float | None, got: float | None) -> bool:
    if gold is None or got is None:
        return gold is not got
    return abs(gold - got) > TOLERANCE


def extract_answer(text: str) -> str:
    """The answer as the outcome reward reads it: the first closed answer tag, else what follows the last open one."""
    opened = _OPEN.search(text)
    closed = _CLOSE.search(text, opened.end()) if opened else None
    if opened and closed:
        return text[opened.end() : closed.start()].strip()
    position = text.lower().rfind("<answer>")
    if position < 0:
        return ""
    tail = text[position + len("<answer>") :]
    return tail.partition("<")[0].partition("\n")[0].strip()


def _same_answer(extracted: str, gold: str) -> bool:
    """Equality of two answers as the evaluation has it: as numbers where both are numbers, else as strings."""
    if not gold:
        return False
    left, right = _number(extracted), _number(gold)
    if left is None or right is None:
        return extracted.rstrip(".") == gold.rstrip(".")
    return abs(left - right) <= 1e-8 * max(1.0, abs(left), abs(right))


def _number(text: str) -> float | None:
    text = text.strip().rstrip(".")
    match = _FRACTION.fullmatch(text)
    if match:
        return _quotient(match[1], match[2])
    plain = _THOUSANDS.sub("", text)
    return float(plain) if _DECIMAL.fullmatch(plain) else None


def _quotient(above: str, below: str) -> float | None:
    if max(len(above), len(below)) > _MAX_DIGITS or int(below) == 0:
        return None
    try:
        return float(Fraction(int(above), int(below)))
    except OverflowError:
        return None
