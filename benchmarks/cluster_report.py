"""What `cluster.py` prints: its measurements, the rates of them, the model's errors, a simulation.

`tables` is the entry. Its options: executors, executor_cores, driver_heap_gib, network_gbit,
simulated_ranks and price of `cluster.py`.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any, NamedTuple, get_args

from cost_model import (
    Cluster,
    Data,
    Placement,
    Rates,
    broadcast_bytes,
    choose_placement,
    estimated_solving,
    memory,
    shuffled_bytes,
    sweep,
)
from data import Shape
from event_log import Usage
from measure import markdown

from recsys_spark.kernels.als.spec import SIDES

Result = dict[str, Any]

PLACEMENTS: tuple[Placement, ...] = get_args(Placement)
_PER_USER, _PER_ITEM = 100, 400  # mean pairs of a row in the measured runs
_SIMULATED = {
    "100 M": Data(100_000_000, 1_000_000, 100_000),
    "1 B": Data(1_000_000_000, 10_000_000, 1_000_000),
    "10 B": Data(10_000_000_000, 100_000_000, 10_000_000),
}
_TRAINING = 15  # sweeps of a training
_PLAIN = ("job", "broadcasting", "answering", "flops")  # rates that a run measures by themselves


class Case(NamedTuple):
    """A run on a cluster: its rank, its workers, and pairs of them all."""

    rank: int
    workers: int
    pairs: int


def shape_of(pairs: int) -> Shape:
    """The data of a measured run."""
    return Shape(users=pairs // _PER_USER, items=pairs // _PER_ITEM, interactions=pairs)


def is_complete(results: Sequence[Result]) -> bool:
    """Whether there are the runs that all rates are from."""
    few, many = _fitted_cases(results) or (None, None)
    return few != many and any("dispatch" in result for result in results)


def tables(results: Sequence[Result], options: argparse.Namespace) -> str:
    """All tables in Markdown, and the runs that failed."""
    failed = [f"{r['run']}, {r['workers']} workers: {r['error']}" for r in results if "error" in r]
    good = [result for result in results if "error" not in result]
    rates = fitted_rates(good)
    found = [
        _measured_table(good),
        _rates_table(rates),
        _check_table(good, rates),
        _simulation_table(rates, options),
    ]
    return "\n\n".join(found + failed)


def fitted_rates(results: Sequence[Result]) -> Rates:
    """Rates of the runs of the fewest workers at the lowest rank, of the fewest and the most pairs.

    Their tasks are about as many for few pairs as for many: the difference is work, and the rest
    what a task costs by itself. The work of the replicated placement is solving; what that of the
    sharded one is more is shuffling.
    """
    few, many = _fitted_cases(results)
    own = [r["rates"] for r in results if "rates" in r and _case(r) == many]
    plain = {name: median(rates[name] for rates in own) for name in _PLAIN}
    plain["dispatch"] = median(r["dispatch"] for r in results if "dispatch" in r)
    sent, sharded = (_difference(results, name, few, many) for name in PLACEMENTS)
    solving = sent.task_seconds / (_estimated(many) - _estimated(few))
    shuffling = (sharded.task_seconds - sent.task_seconds) / sharded.shuffled
    for name in PLACEMENTS:
        smallest = _middle(_usages(results, name, few))
        work = solving * _estimated(few) + shuffling * smallest.shuffled
        plain[f"task_{name}"] = (smallest.task_seconds - work) / smallest.tasks
    return Rates(solving, shuffling, **plain)


def _case(result: Result) -> Case:
    return Case(result["rank"], result["workers"], result["pairs"])


def _cases(results: Sequence[Result]) -> list[Case]:
    """Of the runs on a cluster."""
    return sorted({_case(result) for result in results if "sweeps" in result})


def _fitted_cases(results: Sequence[Result]) -> tuple[Case, ...]:
    """The runs of the fewest workers at the lowest rank with the fewest and the most pairs."""
    least = min((case[:2] for case in _cases(results)), default=None)
    own = [case for case in _cases(results) if case[:2] == least]
    return (own[0], own[-1]) if own else ()


def _difference(results: Sequence[Result], name: str, few: Case, many: Case) -> Usage:
    """What more pairs add to every figure."""
    less, more = (_middle(_usages(results, name, case)) for case in (few, many))
    return Usage(**{field: value - asdict(less)[field] for field, value in asdict(more).items()})


def _estimated(case: Case) -> float:
    """Core seconds of solving both sides, by `kernels.als.solver`."""
    return sum(estimated_solving(side, _data(case.pairs), case.rank) for side in SIDES)


def _usages(results: Sequence[Result], placement: str, case: Case) -> list[Usage]:
    """Of all sweeps of all repeats."""
    return [
        Usage(**counted)
        for result in results
        if "sweeps" in result and _case(result) == case
        for counted in result["sweeps"][placement]
    ]


def _middle(usages: Sequence[Usage]) -> Usage:
    """Every figure's median."""
    every = [asdict(one) for one in usages]
    return Usage(**{name: median(one[name] for one in every) for name in every[0]})


def _data(pairs: int) -> Data:
    """The measured data, as the model sees them."""
    shape = shape_of(pairs)
    return Data(pairs, shape.users, shape.items, shape.user_skew, shape.item_skew)


def _measured_table(results: Sequence[Result]) -> str:
    header = ["rank", "layout", "workers", "pairs", "sweep, s", "least..most", "tasks, s"]
    header += ["driver only, s", "jobs", "tasks", "broadcast, MiB", "shuffled, MiB"]
    rows = [
        [case.rank, name, case.workers, f"{case.pairs:,}", *_measured_row(results, name, case)]
        for case in _cases(results)
        for name in PLACEMENTS
    ]
    return markdown(header, rows + _driver_rows(results))


def _measured_row(results: Sequence[Result], name: str, case: Case) -> list[object]:
    found = _usages(results, name, case)
    middle = _middle(found)
    row: list[object] = [f"{middle.seconds:.2f}", _range([one.seconds for one in found])]
    row += [f"{middle.task_seconds:.2f}", f"{middle.driver_seconds:.2f}"]
    row += [f"{middle.jobs:.0f}", f"{middle.tasks:.0f}"]
    return row + [f"{size / 2**20:.1f}" for size in (middle.broadcast, middle.shuffled)]


def _driver_rows(results: Sequence[Result]) -> list[list[object]]:
    """The placement `driver` in local mode."""
    runs: dict[tuple[int, int, int], list[float]] = {}
    for result in results:
        if result["run"] == "driver":
            name = result["rank"], result["workers"], result["pairs"]
            runs.setdefault(name, []).extend(result["seconds"])
    return [
        [rank, f"driver, local[{cores}]", "", f"{pairs:,}", f"{median(found):.2f}", _range(found)]
        + [""] * 6
        for (rank, cores, pairs), found in sorted(runs.items())
    ]


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.2f}..{max(values):.2f}"


def _rates_table(rates: Rates) -> str:
    return markdown(["rate", "value"], [[k, f"{v:.3g}"] for k, v in asdict(rates).items()])


def _check_table(results: Sequence[Result], rates: Rates) -> str:
    """Predicted beside measured; the runs that the rates are from can hardly be missed."""
    header = ["rank", "layout", "workers", "pairs", "sweep, s", "predicted", "error", "tasks, s"]
    header += ["predicted", "error", "bytes moved, MiB", "predicted", "error", ""]
    rows: list[list[object]] = []
    for case in _cases(results):
        source = "rates are from here" if case in _fitted_cases(results) else ""
        for name in PLACEMENTS:
            row: list[object] = [case.rank, name, case.workers, f"{case.pairs:,}"]
            rows.append([*row, *_checked(results, rates, name, case), source])
    return markdown(header, rows)


def _checked(results: Sequence[Result], rates: Rates, name: Placement, case: Case) -> list[object]:
    data, cluster = _data(case.pairs), Cluster(case.workers, 1)
    found = _middle(_usages(results, name, case))
    predicted = sweep(data, case.rank, cluster, rates, name)
    busy = rates.solving * _estimated(case) + found.tasks * rates.task(name)
    if name == "sharded":
        sent = sum(shuffled_bytes(side, data, case.rank, cluster) for side in SIDES)
        moved, busy = found.shuffled, busy + rates.shuffling * sent
    else:
        sent = case.workers * sum(broadcast_bytes(side, data, case.rank) for side in SIDES)
        moved = found.broadcast
    compared = [(found.seconds, predicted.seconds), (found.task_seconds, busy)]
    compared.append((moved / 2**20, sent / 2**20))
    return [text for pair in compared for text in _beside(*pair)]


def _beside(measured: float, predicted: float) -> list[str]:
    return [f"{measured:.2f}", f"{predicted:.2f}", f"{predicted / measured - 1:+.0%}"]


def _simulation_table(rates: Rates, options: argparse.Namespace) -> str:
    header = ["pairs", "rank", "executors", "placement", "sweep, s", "compute", "broadcast"]
    header += ["shuffle", "driver", "overhead", "bottleneck", "driver, GiB", "host, GiB"]
    header += [f"executor-hours of {_TRAINING} sweeps", "cost, $", "other placement, s"]
    rows = [
        [name, rank, f"{executors:,}", *_simulated(data, rank, executors, rates, options)]
        for name, data in _SIMULATED.items()
        for rank in options.simulated_ranks
        for executors in options.executors
    ]
    return markdown(header, rows)


def _simulated(
    data: Data, rank: int, executors: int, rates: Rates, options: argparse.Namespace
) -> list[object]:
    network = options.network_gbit * 1e9 / 8
    heap = options.driver_heap_gib * 2**30
    cluster = Cluster(executors, options.executor_cores, network, heap)
    placement = choose_placement(data, rank, cluster)
    (other,) = set(PLACEMENTS) - {placement}
    found = sweep(data, rank, cluster, rates, placement)
    taken = memory(data, rank, cluster, placement)
    hours = executors * found.seconds * _TRAINING / 3600
    row: list[object] = [placement, _short(found.seconds), *map(_short, asdict(found).values())]
    row += [found.bottleneck, _short(taken.driver / 2**30), _short(taken.host / 2**30)]
    row += [_short(hours), _short(hours * options.executor_cores * options.price)]
    return [*row, _short(sweep(data, rank, cluster, rates, other).seconds)]


def _short(value: float) -> str:
    """Three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
