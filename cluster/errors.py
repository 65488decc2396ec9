"""Errors of the machine and the cluster (the whole tree: `verifier.errors`)."""

from __future__ import annotations

from verifier.errors import Failure, UserError


class NotEnough(UserError):
    """There are fewer resources than were asked for."""


class ClusterUnreachable(UserError):
    """Nothing answers at the address, or it refuses our token."""


class UnsafeCluster(UserError):
    """Anyone who reaches this head may run code on it."""


class StageFailed(Failure):
    """A stage failed; the stages before it are kept."""
