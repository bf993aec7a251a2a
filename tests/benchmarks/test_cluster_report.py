"""From runs to rates, and what the tables say."""

import argparse

import pytest
from cluster_report import fitted_rates, is_complete, shape_of, tables
from cost_model import Data, estimated_solving

from recsys_spark.kernels.als.spec import SIDES

MANY, FEW = 2_000_000, 200_000
PLAIN = {"job": 0.2, "flops": 1e10, "broadcasting": 1e-8, "answering": 2e-8}
OPTIONS = argparse.Namespace(
    executors=[10, 1000],
    executor_cores=4,
    driver_heap_gib=8,
    network_gbit=10.0,
    simulated_ranks=[64],
    price=0.05,
)


def run(pairs, workers, rank, solving, shuffling):
    """A run whose tasks take what these rates say, and 0.04 or 0.03 s by themselves."""
    shape = shape_of(pairs)
    data = Data(pairs, shape.users, shape.items)
    work = solving * sum(estimated_solving(side, data, rank) for side in SIDES)
    sent = {"seconds": 3.0, "jobs": 2, "tasks": 20, "driver_seconds": 0.5, "shuffled": 0}
    sent |= {"task_seconds": work + 20 * 0.04, "broadcast": 10_000}
    sharded = sent | {"tasks": 70, "jobs": 6, "shuffled": 25 * pairs, "broadcast": 500}
    sharded["task_seconds"] = work + 70 * 0.03 + 25 * pairs * shuffling
    sweeps = {"replicated": [sent] * 3, "sharded": [sharded] * 3}
    result = {"run": "cluster", "workers": workers, "rank": rank, "pairs": pairs}
    return result | {"rates": PLAIN, "sweeps": sweeps}


DISPATCH = {"run": "dispatch", "workers": 2, "rank": 64, "pairs": 0, "dispatch": 0.002}
SMALL = run(FEW, 1, 64, 1.5, 2e-8)
OTHERS = [run(2 * MANY, 2, 64, 3.0, 9e-8), run(MANY, 1, 128, 4.0, 9e-8), DISPATCH]
RUNS = [*OTHERS, SMALL, run(MANY, 1, 64, 1.5, 2e-8)]


def test_rates_are_those_of_the_fewest_workers_at_the_lowest_rank():
    rates = fitted_rates(RUNS)
    assert rates.solving == pytest.approx(1.5)
    assert rates.shuffling == pytest.approx(2e-8)
    assert (rates.task_replicated, rates.task_sharded) == pytest.approx((0.04, 0.03))
    assert (rates.dispatch, rates.job, rates.flops) == (0.002, 0.2, 1e10)


def test_rates_are_medians_of_repeats():
    repeats = [run(MANY, 1, 64, solving, 2e-8) for solving in (1.5, 1.4, 9.0)]
    assert fitted_rates([*OTHERS, SMALL, *repeats]).solving == pytest.approx(1.5)


def test_tables_have_every_case_once_and_name_what_failed():
    failed = {"run": "cluster", "workers": 4, "rank": 64, "pairs": 1, "error": "ended"}
    measured, rates, checked, simulated, *rest = tables([*RUNS, failed], OPTIONS).split("\n\n")
    assert len(measured.splitlines()) == 2 + 4 * 2
    assert len(rates.splitlines()) == 2 + 9
    assert checked.count("rates are from here") == 4
    assert len(simulated.splitlines()) == 2 + 3 * 2
    assert rest == ["cluster, 4 workers: ended"]


def test_price_is_that_of_all_cores():
    def cost(price):
        table = tables(RUNS, argparse.Namespace(**vars(OPTIONS) | {"price": price}))
        cells = table.splitlines()[-1].split(" | ")
        return float(cells[-3].replace(",", "")), float(cells[-2].replace(",", ""))

    hours, dollars = cost(0.5)
    assert dollars == pytest.approx(hours * 4 * 0.5, rel=0.01)
    assert cost(1.0)[1] == pytest.approx(2 * dollars, rel=0.01)


@pytest.mark.parametrize(
    ("results", "complete"),
    [
        (RUNS, True),
        (RUNS[:-1], False),
        ([SMALL, RUNS[-1]], False),
        ([DISPATCH], False),
        ([{"run": "cluster", "workers": 1, "error": "ended"}, DISPATCH], False),
        ([], False),
    ],
)
def test_is_complete_where_every_rate_was_measured(results, complete):
    assert is_complete(results) == complete
