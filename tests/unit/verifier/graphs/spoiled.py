"""Problems of our own and ways to spoil their traces, for the tests of the judges.

Each way takes a body and gives one. A body is a gold solution without its answer: preamble, steps, closing passage.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from random import Random

from verifier.graphs.generate import generate
from verifier.graphs.judge.gold import Gold, prepare
from verifier.graphs.problem import DEFAULT_MAX_CONSTANT, Mode, Problem, ProblemSpec, Template

LETTERS = "abcdefghijklmnopqrstuvwyzABCDEFGHIJKLMNOPQRSTUVWYZ"  # without the unknown's
STEP = re.compile(r"Define (.*?) as ([A-Za-z]);(.*?)(?= Define |$)", re.DOTALL)


@lru_cache(maxsize=512)
def made(
    op: int,
    mode: Mode = "forward",
    template: Template = "zoo",
    seed: int = 0,
    depth: int = 2,
    max_constant: int = DEFAULT_MAX_CONSTANT,
) -> Problem:
    return generate(ProblemSpec(op, mode, template, depth, max_constant=max_constant), seed)


@lru_cache(maxsize=512)
def gold_of(problem: Problem) -> Gold:
    return prepare(problem.problem, problem.question, problem.solution)


def body_of(problem: Problem) -> str:
    return problem.solution.rpartition("Answer:")[0].strip()


def answered(body: str, answer: object) -> str:
    return f" {body} </solution> <answer> {answer} </answer>[EOS]"


def relettered(body: str, rng: Random) -> str:
    """The same trace with its letters permuted; words of more than one letter and the unknown are left alone."""
    shuffled = rng.sample(LETTERS, len(LETTERS))
    table = dict(zip(LETTERS, shuffled, strict=True))
    letter = r"(?<![\w'])([A-Za-z])(?![\w'])"
    return re.sub(letter, lambda match: table.get(match[1], match[1]), body)


def respaced(body: str, rng: Random) -> str:
    return re.sub(" ", lambda _: rng.choice([" ", "  ", "\n", " \n "]), body)


def pieces(body: str) -> tuple[str, list[str]]:
    """What stands before the first step, and the steps; the last one brings the closing passage."""
    before, *steps = re.split(r"(?=Define )", body)
    return before, steps


def reordered(body: str, rng: Random) -> str:
    """Two neighbouring steps swapped where the second does not read the first; unchanged where there are none."""
    before, steps = pieces(body)
    free = [i for i in range(len(steps) - 2) if not _reads(steps[i + 1], steps[i]) and not _shares(steps, i)]
    if not free:
        return body
    i = rng.choice(free)
    steps[i], steps[i + 1] = steps[i + 1], steps[i]
    return before + "".join(steps)


def _letters(step: str) -> set[str]:
    return set(re.findall(r"(?<![\w'])[A-Za-z](?![\w'])", step))


def _own(step: str) -> str:
    match = STEP.match(step)
    assert match
    return match[2]


def _reads(step: str, other: str) -> bool:
    return _own(other) in _letters(step)


def _shares(steps: list[str], i: int) -> bool:
    """Whether the two steps bind a letter in common, or one binds what the other reads."""
    bound = [set(re.findall(r"(?:; |so )([A-Za-z]) =", step)) | {_own(step)} for step in steps[i : i + 2]]
    return bool(bound[0] & _letters(steps[i + 1]) or bound[1] & _letters(steps[i]))


# Corruptions: each makes exactly one thing wrong, or returns the body unchanged where it does not apply


def value_off(body: str, rng: Random) -> str:
    """The last number of one step, off by a little."""
    return _change(body, rng, r"= (\d+)\.", lambda match: f"= {int(match[1]) + rng.randint(1, 9)}.")


def value_negated(body: str, rng: Random) -> str:
    return _change(body, rng, r"= ([1-9]\d*)\.", lambda match: f"= -{match[1]}.")


def value_half_more(body: str, rng: Random) -> str:
    return _change(body, rng, r"= (\d+)\.", lambda match: f"= {match[1]}.5.")


def link_off(body: str, rng: Random) -> str:
    """A number in the middle of a chain."""
    return _change(body, rng, r"= (\d+) ([+*-]) (\d+) =", lambda m: f"= {int(m[1]) + 1} {m[2]} {m[3]} =")


def coefficient_off(body: str, rng: Random) -> str:
    return _change(body, rng, r"(\d+)\*x", lambda match: f"{int(match[1]) + 1}*x")


def step_dropped(body: str, rng: Random) -> str:
    before, steps = pieces(body)
    if len(steps) < 2:
        return body
    del steps[rng.randrange(len(steps) - 1)]
    return before + "".join(steps)


def step_emptied(body: str, rng: Random) -> str:
    before, steps = pieces(body)
    i = rng.randrange(len(steps))
    steps[i] = steps[i].partition(";")[0] + "; "
    return before + "".join(steps)


def derivation_dropped(body: str, rng: Random) -> str:
    """A computed value stated as if it were a fact."""
    return _change(body, rng, r"so ([A-Za-z]) = [^.;=]*[A-Za-z][^.;]*= (\d+)\.", lambda m: f"so {m[1]} = {m[2]}.")


def operand_unknown(body: str, rng: Random) -> str:
    """A letter that stands for nothing in place of one that is read."""
    unused = sorted(set(LETTERS) - _letters(body))
    return _change(body, rng, r"so ([A-Za-z]) = ([A-Za-wyzA-WYZ])\b", lambda m: f"so {m[1]} = {unused[0]}")


def name_misspelt(body: str, rng: Random) -> str:
    return _change(body, rng, r"Define (\w+) (\w)", lambda match: f"Define {match[1][:-1]} {match[2]}")


def names_swapped(body: str, rng: Random) -> str:
    before, steps = pieces(body)
    ends = [step.strip().rpartition("= ")[2] for step in steps]
    pairs = [(i, j) for j in range(len(steps)) for i in range(j) if ends[i] != ends[j]]
    if not pairs:  # steps of equal derivation may well trade names
        return body
    i, j = rng.choice(pairs)
    first, second = STEP.match(steps[i]), STEP.match(steps[j])
    assert first
    assert second
    steps[i] = steps[i].replace(f"Define {first[1]} as", f"Define {second[1]} as", 1)
    steps[j] = steps[j].replace(f"Define {second[1]} as", f"Define {first[1]} as", 1)
    return before + "".join(steps)


def quantity_invented(body: str, rng: Random) -> str:
    before, steps = pieces(body)
    unused = sorted(set(LETTERS) - _letters(body))[0]
    steps.insert(rng.randrange(len(steps)), f"Define purple dragon in Moon Base as {unused}; so {unused} = 3. ")
    return before + "".join(steps)


def redone_wrong(body: str, rng: Random) -> str:
    """A literal step, followed by the same step with another value."""

    def twice(match: re.Match[str]) -> str:
        return f"{match[0]} Define {match[1]} as {match[2]}; so {match[2]} = {int(match[3]) + 3}."

    return _change(body, rng, r"Define ([^;]*) as ([A-Za-z]); so \2 = (\d+)\.", twice)


def given_misquoted(body: str, rng: Random) -> str:
    return _change(body, rng, r"We know ([A-Za-z]) = (\d+)", lambda match: f"We know {match[1]} = {int(match[2]) + 1}")


def solving_line_off(body: str, rng: Random) -> str:
    return _change(body, rng, r"(Isolate the term with x: [^=]*= )(-?\d+)", lambda m: f"{m[1]}{int(m[2]) + 3}")


def divisor_off(body: str, rng: Random) -> str:
    return _change(body, rng, r"Divide both sides by (-?\d+)", lambda match: f"Divide both sides by {match[1]}1")


def solution_off(body: str, rng: Random) -> str:
    return _change(body, rng, r"Solution: x = (\d+)", lambda match: f"Solution: x = {int(match[1]) + 1}")


def _change(body: str, rng: Random, pattern: str, new: Callable[[re.Match[str]], str]) -> str:
    found = list(re.finditer(pattern, body))
    if not found:
        return body
    match = rng.choice(found)
    return body[: match.start()] + new(match) + body[match.end() :]


CORRUPTIONS = (
    value_off,
    value_negated,
    value_half_more,
    link_off,
    coefficient_off,
    step_dropped,
    step_emptied,
    derivation_dropped,
    operand_unknown,
    name_misspelt,
    names_swapped,
    quantity_invented,
    redone_wrong,
    given_misquoted,
    solving_line_off,
    divisor_off,
    solution_off,
)
