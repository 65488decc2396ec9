import threading

import pytest

from verifier.errors import BadReward, BadTask
from verifier.outside.time_limit import in_time


def test_what_hangs_is_given_up():
    ended = threading.Event()

    def hang() -> None:
        ended.wait(60)

    with pytest.raises(BadTask, match=r"their:make: trying it took more than 0\.05 s; mend what hangs"):
        in_time(hang, "their:make", BadTask, time_limit_s=0.05)
    ended.set()


def raising(error: BaseException):
    def check() -> None:
        raise error

    return check


def test_what_refuses_is_raised_as_it_is():
    refused = BadTask("no")
    with pytest.raises(BadTask) as told:
        in_time(raising(refused), "their:make", BadReward)
    assert told.value is refused


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit("no"), KeyboardInterrupt("no"), ValueError("no")])
def test_whatever_else_ends_a_check_refuses_with_the_path(error):
    with pytest.raises(BadReward, match=f"^their:make raised {type(error).__name__}: no$"):
        in_time(raising(error), "their:make", BadReward)


def test_a_check_that_reaches_its_end_refuses_nothing():
    reached = []
    in_time(lambda: reached.append(1), "their:make", BadTask)
    assert reached == [1]
