"""Errors of the machine, the cluster and run folders (the whole tree: `verifier.errors`)."""

from __future__ import annotations

import errno
from typing import Final

from verifier.errors import Failure, UserError

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The numbers of the errors of a disk that takes no more."""


class NotEnough(UserError):
    """There are fewer resources than requested."""


class ClusterUnreachable(UserError):
    """Nothing answers at the address, or the server there refuses our token."""


class UnsafeCluster(UserError):
    """Anyone who can reach this Ray head can run code on it."""


class RunFolderError(UserError):
    """The folder cannot be used, or does not fit the command."""


class StageFailed(Failure):
    """A stage failed; the stages before it are kept."""
