"""The phrases that join the names of quantities in a problem and its solution, the same in every template.

For tokenizers that take them whole (`verifier.graphs.templates.phrases`). Sentences are made in `verifier.graphs.tell`.
"""

from __future__ import annotations

from typing import Final

_REFERENCES: Final = ("the number of", "the average number of", "the total number of")
_BEFORE_REFERENCE: Final = (" equals", " plus", " times", " sum of", " difference between", " and", ",", ", and")
_CONNECTIVES: Final = (
    " The number of",
    ". The number of",
    " The total number of",
    ". The total number of",
    " The average number of",
    ". The average number of",
    " exists, and its number is greater than 0",
    " is greater than 0",
    " equals",
    " plus",
    " times",
    " the sum of",
    " the difference between",
    " equals the sum of",
    " equals the difference between",
    " and",
    ". What is the total number of",
    ". What is the average number of",
    " What is the total number of",
    " What is the average number of",
    ". How many",
    " How many",
    " does",
    " have",
    "? ",
    ". ",
    " Define",
    ". Define",
    " total number of",
    " average number of",
    " as",
    " in",
    " per",
    "; so",
    ";",
    " =",
    " +",
    " -",
    " *",
    " /",
    " (",
    "*x",
    " The question is difficult, so we use equations to solve it",
    "; we don't know its value yet but will find it out later",
    ". We know",
    ", so we have",
    " and we solve it through the following steps: Simplifying the equation:",
    ". Move all terms to one side:",
    ". Isolate the term with x:",
    ". Divide both sides by",
    ":",
    ". Solution:",
)


def connectives() -> tuple[str, ...]:
    """The phrases that all templates share, each with its leading blank or full stop."""
    joined = [f"{before} {reference}" for before in _BEFORE_REFERENCE for reference in _REFERENCES]
    joined += [f" the sum of {reference}" for reference in _REFERENCES]
    joined += [f" equals the sum of {reference}" for reference in _REFERENCES]
    joined += [f" equals the difference between {reference}" for reference in _REFERENCES]
    joined += [f" {reference}" for reference in _REFERENCES]
    return tuple(dict.fromkeys((*_CONNECTIVES, *joined)))
