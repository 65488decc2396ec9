"""Errors that a person at the command line can cause. Each message says what is wrong and how to put it right.

UserError               exit code 2, printed as `error: ... fix: ...`, never a traceback
  NotEnough             the machine or the cluster lacks what the recipe asks for
  ClusterUnreachable    no Ray at the address, or it refuses our token
  UnsafeCluster         a head that others can reach, without authentication
StageFailed             exit code 1, printed the same way: a stage met what it could not go on with
"""

from __future__ import annotations


class UserError(ValueError):
    """Something the person can put right; `fix` says how, in the imperative."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


class NotEnough(UserError):
    """The resources at hand do not cover what was asked for."""


class ClusterUnreachable(UserError):
    """There is no answer at the address, or the answer is that our token is not good."""


class UnsafeCluster(UserError):
    """Whoever reaches this head may run code on it."""


class StageFailed(RuntimeError):
    """A stage stopped for a reason that the system has a name for; everything before it is kept."""


OUR_PACKAGES = frozenset({"verifier", "actors", "trainers", "serving", "cluster"})


def is_ours(error: BaseException) -> bool:
    """Whether the error is of one of our own classes: then its message is written for the person."""
    return type(error).__module__.partition(".")[0] in OUR_PACKAGES
