"""Errors of the machine and the cluster (the whole tree: `verifier.errors`)."""

from __future__ import annotations

from verifier.errors import Failure, UserError


class NotEnough(UserError):
    """The resources at hand do not cover what was asked for."""


class ClusterUnreachable(UserError):
    """There is no answer at the address, or the answer is that our token is not good."""


class UnsafeCluster(UserError):
    """Whoever reaches this head may run code on it."""


class StageFailed(Failure):
    """A stage met what it could not go on with; everything before it is kept."""
