"""Values in the order of their starts, some calls ahead, and no more."""

from threading import Barrier, Lock

import pytest

from recsys_spark.kernels.threads import in_threads


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("size", [0, 1, 7, 40])
def test_values_come_in_order(threads, size):
    assert list(in_threads(lambda at: at * at, range(size), threads)) == [
        at * at for at in range(size)
    ]


def test_threads_work_side_by_side():
    """Each call waits for another one to be in progress."""
    both = Barrier(2, timeout=20)
    assert list(in_threads(lambda at: both.wait() < 2, range(10), 2)) == [True] * 10


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_hold_a_few_values_each_at_most(threads):
    begun, lock = [], Lock()

    def call(at):
        with lock:
            begun.append(at)
        return at

    for taken, _ in enumerate(in_threads(call, range(100), threads), start=1):
        assert len(begun) <= taken + 2 * threads


def test_an_error_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda at: 1 // (3 - at), range(9), 2))
