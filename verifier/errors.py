"""The errors that a person can cause in this package, each with the remedy in its message.

Not here: assertions about our own mistakes, and verdicts on model text (those are data, see `verifier.judgement`).
"""

from __future__ import annotations


class ImpossibleSpec(ValueError):
    """No problem satisfies what was asked for; the message names the field at fault and what would do."""


class BadMixture(ValueError):
    """A mixture of task cells that cannot be drawn from: shares, cells or budget make no sense."""


class UnknownPreset(ValueError):
    """There is no preset of that name; the message lists the names that come closest."""


class MalformedProblem(ValueError):
    """A problem's texts do not follow the grammar of the three templates."""
