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


class TooFewItems(ValueError):
    """A stratum has fewer distinct items of a split than were asked for."""


class BadJudgement(ValueError):
    """A judge or a reward returned what is none: it counts as the verifier's error, never as a reward."""


class BadReward(ValueError):
    """A recipe names a reward that does not exist, or one that the task's family cannot give."""


class BadTask(ValueError):
    """A task that cannot be: no such family, settings that make no sense, or an object that is no task."""


class BadImportPath(ValueError):
    """An import path of the user's that leads nowhere; the message says which part fails."""
