"""Signals that end work at a place of its own choosing."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from zoo_core.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_acts_as_before(number):
    before = signal.signal(number, signal.default_int_handler)
    try:
        with Interruption() as stop:
            assert stop.signal == 0
            os.kill(os.getpid(), number)
            assert stop.signal == number
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_handlers_are_put_back_also_after_an_error():
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}

    def fail() -> None:
        with Interruption():
            assert signal.getsignal(signal.SIGTERM) is not before[signal.SIGTERM]
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()
    assert {each: signal.getsignal(each) for each in before} == before


def test_other_threads_note_nothing():
    found = []

    def work() -> None:
        with Interruption() as stop:
            found.append(stop.signal)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [0]
