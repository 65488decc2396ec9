"""The fair lock: one at a time, in the order of asking."""

from __future__ import annotations

import threading

import pytest

from actors.engines.fair_lock import FairLock


def test_a_thread_that_takes_it_in_a_loop_lets_another_in():
    lock = FairLock()
    inside = threading.Event()
    rounds = 0

    def other() -> None:
        with lock:
            inside.set()

    with lock:
        thread = threading.Thread(target=other)
        thread.start()
        while not lock._line:
            thread.join(0.01)
    with lock:  # asked after the other: its turn comes first
        rounds += 1
        assert inside.is_set()
    thread.join()
    assert rounds == 1


def test_two_are_never_inside_at_once():
    lock = FairLock()
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(500):
            with lock:
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, inside) == (1, 0)


def test_an_error_inside_hands_it_on():
    lock = FairLock()
    with pytest.raises(KeyError), lock:
        raise KeyError("a")
    with lock:
        pass
