"""What `cluster.py` prints: its measurements, the rates of them, the model's errors, a simulation.

`tables` is the entry. Its options: executors, executor_cores, driver_heap_gib, network_gbit,
simulated_ranks and price of `cluster.py`.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any, get_args

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

from recsys_spark.kernels.spec import SIDES

Result = dict[str, Any]

PLACEMENTS: tuple[Placement, ...] = get_args(Placement)
_PER_USER, _PER_ITEM = 100, 400  # mean pairs of a row in the measured runs
_SIMULATED = {
    "100 M": Data(100_000_000, 1_000_000, 100_000),
    "1 B": Data(1_000_000_000, 10_000_000, 1_000_000),
    "10 B": Data(10_000_000_000, 100_000_000, 10_000_000),
}
_TRAINING = 15  # sweeps of a training


def shape_of(pairs: int) -> Shape:
    """The data of a measured run."""
    return Shape(users=pairs // _PER_USER, items=pairs // _PER_ITEM, interactions=pairs)


def is_complete(results: Sequence[Result]) -> bool:
    """Whether there are the runs that all rates are from."""
    return any("fine" in r.get("sweeps", {}) for r in results) and any(
        "dispatch" in r for r in results
    )


def tables(results: Sequence[Result], options: argparse.Namespace) -> str:
    """All tables in Markdown, and the runs that failed."""
    failed = [f"{r['run']}, {r['workers']} workers: {r['error']}" for r in results if "error" in r]
    good = [result for result in results if "error" not in result]
    rates, workers, rank = fitted_rates(good)
    found = [
        _measured_table(good),
        _rates_table(rates, workers, rank),
        _check_table(good, rates, (workers, rank)),
        _simulation_table(rates, options),
    ]
    return "\n\n".join(found + failed)


def fitted_rates(results: Sequence[Result]) -> tuple[Rates, int, int]:
    """Rates of the runs of one worker at the lowest rank, and which these are.

    A task by itself takes what more tasks for the same work add. What tasks of the broadcast layout
    take beyond that is solving; what those of the routed one take beyond both is shuffling.
    """
    good = [result for result in results if result["run"] == "cluster"]
    workers, rank = (min(result[name] for result in good) for name in ("workers", "rank"))
    own = [r for r in good if (r["workers"], r["rank"]) == (workers, rank)]
    plain = {name: median(r["rates"][name] for r in own) for name in own[0]["rates"]}
    plain["dispatch"] = median(r["dispatch"] for r in results if "dispatch" in r)
    names = (*PLACEMENTS, "fine")
    sent, routed, fine = (_middle(_usages(good, name, workers, rank)) for name in names)
    more = fine.tasks - sent.tasks
    running = (fine.task_seconds - sent.task_seconds) / more
    plain |= {"running": running, "task": (fine.seconds - sent.seconds) * workers / more}
    data = _data(own[0]["pairs"])
    believed = sum(estimated_solving(side, data, rank) for side in SIDES)
    solving = sent.task_seconds - sent.tasks * running
    moving = routed.task_seconds - routed.tasks * running - solving
    return Rates(solving / believed, moving / routed.shuffled, **plain), workers, rank


def _usages(results: Sequence[Result], placement: str, workers: int, rank: int) -> list[Usage]:
    """Of all sweeps of all repeats."""
    return [
        Usage(**counted)
        for result in results
        if (result["run"], result["workers"], result["rank"]) == ("cluster", workers, rank)
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


def _cases(results: Sequence[Result]) -> list[tuple[int, int, int]]:
    """Ranks, workers and pairs of the runs on a cluster."""
    own = [result for result in results if result["run"] == "cluster"]
    return sorted({(result["rank"], result["workers"], result["pairs"]) for result in own})


def _measured_table(results: Sequence[Result]) -> str:
    header = ["rank", "layout", "workers", "pairs", "sweep, s", "least..most", "tasks, s"]
    header += ["driver only, s", "jobs", "tasks", "broadcast, MiB", "shuffled, MiB"]
    rows = [
        [rank, name, workers, f"{pairs:,}", *_measured_row(results, name, workers, rank)]
        for rank, workers, pairs in _cases(results)
        for name in PLACEMENTS
    ]
    return markdown(header, rows + _driver_rows(results))


def _measured_row(results: Sequence[Result], name: str, workers: int, rank: int) -> list[object]:
    found = _usages(results, name, workers, rank)
    middle = _middle(found)
    row: list[object] = [f"{middle.seconds:.2f}", _range([one.seconds for one in found])]
    row += [f"{middle.task_seconds:.2f}", f"{middle.driver_seconds:.2f}"]
    row += [f"{middle.jobs:.0f}", f"{middle.tasks:.0f}"]
    return row + [f"{size / 2**20:.1f}" for size in (middle.broadcast, middle.shuffled)]


def _driver_rows(results: Sequence[Result]) -> list[list[object]]:
    """The layout `driver` in local mode."""
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


def _rates_table(rates: Rates, workers: int, rank: int) -> str:
    source = f"{workers} worker(s), rank {rank}"
    rows = [[name, f"{value:.3g}", source] for name, value in asdict(rates).items()]
    return markdown(["rate", "measured", "in"], rows)


def _check_table(results: Sequence[Result], rates: Rates, fitted: tuple[int, int]) -> str:
    """Predicted beside measured; the runs that the rates are from can hardly be missed."""
    header = ["rank", "layout", "workers", "sweep, s", "predicted", "error", "tasks, s"]
    header += ["predicted", "error", "bytes moved, MiB", "predicted", "error", ""]
    rows: list[list[object]] = []
    for rank, workers, pairs in _cases(results):
        for name in PLACEMENTS:
            row: list[object] = [rank, name, workers]
            row += _checked(results, rates, name, (rank, workers, pairs))
            rows.append([*row, "rates are from here" if (workers, rank) == fitted else ""])
    return markdown(header, rows)


def _checked(
    results: Sequence[Result], rates: Rates, name: Placement, case: tuple[int, int, int]
) -> list[object]:
    rank, workers, pairs = case
    data, cluster = _data(pairs), Cluster(workers, 1)
    found = _middle(_usages(results, name, workers, rank))
    predicted = sweep(data, rank, cluster, rates, name)
    busy = rates.solving * sum(estimated_solving(side, data, rank) for side in SIDES)
    busy += found.tasks * rates.running
    if name == "routed":
        sent = sum(shuffled_bytes(side, data, rank, cluster) for side in SIDES)
        moved, busy = found.shuffled, busy + rates.shuffling * sent
    else:
        sent = workers * sum(broadcast_bytes(side, data, rank) for side in SIDES)
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
