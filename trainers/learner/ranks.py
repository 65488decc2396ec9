"""Agreement between the ranks of a learner: a value from rank 0, and whether every rank succeeded.

If a rank failed alone, the others would wait for it in the next collective operation. So all that may fail on one
rank only (disks, above all) runs inside `on_first` or `on_all`, which raise on every rank or on none.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch.distributed as dist

T = TypeVar("T")


def on_first(act: Callable[[], T]) -> T:
    """Run `act` on rank 0 and return its result on every rank; its error is raised on every rank. All ranks call it."""
    value, error = _tried(act) if dist.get_rank() == 0 else (None, None)
    if dist.get_world_size() > 1:
        box: list[Any] = [(value, _portable(error))]
        dist.broadcast_object_list(box, src=0)
        value, other = box[0]
        error = error or other
    if error is not None:
        raise error
    return cast("T", value)


def on_all(act: Callable[[], T]) -> T:
    """Run `act` on every rank and return this rank's result; if it fails on one, all raise. All ranks call it."""
    value, error = _tried(act)
    errors: list[Exception | None] = [error]
    if dist.get_world_size() > 1:
        errors = [None] * dist.get_world_size()
        dist.all_gather_object(errors, _portable(error))
    if error is not None:
        raise error
    for rank, other in enumerate(errors):
        if other is not None:
            other.add_note(f"raised by rank {rank} of the learner")
            raise other
    return cast("T", value)


def _tried(act: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return act(), None
    except Exception as error:
        return None, error


def _portable(error: Exception | None) -> Exception | None:
    """The error in a form that can be sent to another process."""
    try:
        return pickle.loads(pickle.dumps(error))  # noqa: S301 - our own object, between our own ranks
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
