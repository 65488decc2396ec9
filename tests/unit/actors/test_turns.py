"""The fair lock: one at a time, in the order of asking."""

from __future__ import annotations

import threading

import pytest

from actors.turns import Turns


def test_a_thread_that_takes_it_in_a_loop_lets_another_in():
    turns = Turns()
    inside = threading.Event()
    rounds = 0

    def other() -> None:
        with turns:
            inside.set()

    with turns:
        thread = threading.Thread(target=other)
        thread.start()
        while not turns._line:
            thread.join(0.01)
    with turns:  # asked after the other: its turn comes first
        rounds += 1
        assert inside.is_set()
    thread.join()
    assert rounds == 1


def test_two_are_never_inside_at_once():
    turns = Turns()
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(500):
            with turns:
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
    turns = Turns()
    with pytest.raises(KeyError), turns:
        raise KeyError("a")
    with turns:
        pass
