"""A time limit for code of the user's own that is tried when a recipe is read."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Final

from verifier.errors import UserError

TIME_LIMIT_S: Final = 60.0


def in_time(
    check: Callable[[], None], path: str, refused_as: type[UserError], time_limit_s: float = TIME_LIMIT_S
) -> None:
    """Run the check of the object at an import path to its end, in a thread: a thread that hangs can be left behind.

    Raises the UserError that the check raises; `refused_as` where it raises anything else, or does not end.
    """
    ended: list[BaseException | None] = []

    def run() -> None:
        try:
            check()
        except BaseException as error:  # SystemExit too, which would end this thread as if the check had succeeded
            ended.append(error)
        else:
            ended.append(None)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(time_limit_s)
    if not ended:
        raise refused_as(f"{path}: trying it took more than {time_limit_s:g} s; mend what hangs or is slow in it")
    error = ended[0]
    if isinstance(error, UserError):
        raise error
    if error is not None:
        raise refused_as(f"{path} raised {type(error).__name__}: {error}") from error
