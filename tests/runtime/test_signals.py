"""SIGTERM as Ctrl-C, and as it was before afterwards."""

import os
import signal
from threading import Thread

import pytest

from recsys_spark.runtime.signals import terminable


def terminate_this_process() -> None:
    with terminable():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()


def test_a_scheduler_interrupts_as_ctrl_c_does():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        terminate_this_process()
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_leave_signals_alone():
    seen = []

    def enter() -> None:
        with terminable():
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]
