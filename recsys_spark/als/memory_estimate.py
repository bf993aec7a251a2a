"""What training needs of memory, before it starts, and whether that fits."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from pyspark import SparkContext

from recsys_spark.als.execution_plan import Plan, Sizes
from recsys_spark.errors import ConfigError, setting
from recsys_spark.kernels.als.spec import SIDES, WalsSpec
from recsys_spark.spark_internals import conf_bytes, java_class

_GATHERED = 1024  # rows that a solver holds at once, in both precisions
_ENTRY = 4 + 1 + 4 + 4  # a column, a code, and both weights decoded
_STORED = 4 + 1  # the same as it is kept
_ROUTE = 4  # a row that is wanted in a block, at most one for each pair
_PACKED = 8 + 8 + 4 + 4
_HELD_BY_JVM = 4  # three times the factors, and room for itself


@dataclass(frozen=True)
class Needs:
    """Bytes, about: of the driver; mapped once on every host; of every Python worker beyond that;
    kept by Spark in memory or on disk; in files; sent between tasks in a half-sweep, at most; and
    the largest answer that one job brings to the driver.
    """

    driver: int
    host: int
    worker: int
    kept: int
    files: int
    sent: int
    answer: int

    def __str__(self) -> str:
        parts = ("driver", "host", "worker", "kept", "files", "sent")
        driver, host, worker, kept, filed, sent = (readable(getattr(self, part)) for part in parts)
        stated = [f"about {driver} on the driver"]
        if self.host:
            stated += [
                f"{host} mapped once on every host",
                f"{worker} more for every task at once",
                f"{kept} of {'pairs' if self.files else 'blocks'} in memory or on disk",
            ]
        if self.files:
            stated.append(f"{filed} of blocks{' and factors' if self.sent else ''} in files")
        if self.sent:
            stated.append(f"at most {sent} of factors shuffled between tasks in a half-sweep")
        return ", ".join(stated)


def needs(sizes: Sizes, spec: WalsSpec, plan: Plan) -> Needs:
    """What training on data of these sizes takes."""
    small = 3 * spec.width**2 * 8
    solver = (_GATHERED + 2 * spec.width) * spec.width * 12
    worker = plan.block_entries(sizes) * _ENTRY + solver + small
    index = 16 * (sizes.users + sizes.items)
    take = _sharded if plan.is_sharded(sizes, spec.width) else _replicated
    take = _on_driver if sizes.on_driver else take
    return take(sizes, spec, plan, worker, index + small)


def _replicated(sizes: Sizes, spec: WalsSpec, plan: Plan, worker: int, driver: int) -> Needs:
    vectors = [sizes.rows(side) * spec.width * 4 for side in SIDES]
    blocks, filed = 2 * sizes.pairs * _STORED, plan.folder is not None
    return Needs(
        driver=driver + sum(vectors) + 3 * max(vectors),  # held, rotated, sent and received
        host=sum(vectors),
        worker=worker,
        kept=sizes.pairs * _PACKED + (0 if filed else blocks),
        files=blocks if filed else 0,
        sent=0,
        answer=max(vectors),
    )


def _on_driver(sizes: Sizes, spec: WalsSpec, plan: Plan, worker: int, driver: int) -> Needs:
    vectors = [sizes.rows(side) * spec.width * 4 for side in SIDES]
    blocks = sizes.pairs * (3 * _PACKED + 2 * _STORED)  # received, joined, coded; both sides kept
    return Needs(
        driver=driver + sum(vectors) + 3 * max(vectors) + blocks + sizes.slots * worker,
        host=0,
        worker=0,
        kept=0,
        files=0,
        sent=0,
        answer=sizes.pairs * _PACKED,
    )


def _sharded(sizes: Sizes, spec: WalsSpec, plan: Plan, worker: int, driver: int) -> Needs:
    vector, block = spec.width * 4, plan.block_entries(sizes)
    rows, blocks = sizes.users + sizes.items, -(-sizes.pairs // block)
    most = max(sizes.users, sizes.items)
    seen = min(block, most)  # rows of the fixed side that a block sees, at most
    grams = blocks * spec.width**2 * 8
    return Needs(
        driver=driver + 8 * rows + 2 * grams,
        host=16 * rows,
        worker=worker + 3 * seen * vector,  # received, joined, and the block's own
        kept=sizes.pairs * _PACKED,
        files=2 * sizes.pairs * (_STORED + _ROUTE) + 2 * rows * (vector + 16),  # old and new
        sent=blocks * seen * vector,
        answer=grams,
    )


def available_memory() -> int:
    """Bytes that this process may still take: of the machine, and of its control group."""
    limits = [_number("/proc/meminfo", "MemAvailable:", 1024)]
    most, used = (_number(f"/sys/fs/cgroup/memory.{name}", "", 1) for name in ("max", "current"))
    limits.append(None if most is None or used is None else most - used)
    found = [limit for limit in limits if limit is not None]
    return min(found) if found else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _number(path: str, label: str, unit: int) -> int | None:
    """The number behind a label in a file of the system, times a unit; None where there is none."""
    try:
        text = Path(path).read_text()
    except OSError:
        return None
    words = text[text.find(label) + len(label) :].split()
    return int(words[0]) * unit if label in text and words and words[0].isdigit() else None


def within_limits(plan: Plan, context: SparkContext) -> Plan:
    """The plan whose `auto` also routes factors that the driver or its JVM would not take.

    While a side is sent, its JVM holds it three times: as the answer, cut to pieces, and kept.
    """
    if plan.placement != "auto" or plan.folder is None:
        return plan
    heap = int(java_class("java.lang.Runtime").getRuntime().maxMemory())
    limits = [plan.broadcast_budget_bytes, heap // _HELD_BY_JVM, largest_answer(context)]
    return replace(plan, broadcast_budget_bytes=min(limit for limit in limits if limit))


def largest_answer(context: SparkContext) -> int:
    """Bytes that one job may bring to the driver; 0: no limit."""
    return conf_bytes(context, "spark.driver.maxResultSize", "1g")


def refuse_what_cannot_fit(sizes: Sizes, spec: WalsSpec, plan: Plan, context: SparkContext) -> None:
    """Raise ConfigError, naming the setting, if a limit is known to be too small."""
    if not sizes.on_driver and (plan.placement == "replicated" or plan.folder is None):
        _refuse_broadcast(sizes, spec, plan)
    all_needs, answers = needs(sizes, spec, plan), largest_answer(context)
    if 0 < answers < all_needs.answer:
        content, cure = (
            "factors",
            f"set {setting('placement')}: sharded, or lower {setting('rank')}",
        )
        if sizes.on_driver:
            content, cure = "pairs", f"set {setting('placement')}: replicated"
        elif all_needs.sent:
            content = "Gram matrices"
            cure = f"set fewer {setting('blocks')}, or lower {setting('rank')}"
        raise ConfigError(
            f"Training brings {readable(all_needs.answer)} of {content} to the driver at once but "
            f"spark.driver.maxResultSize allows {readable(answers)}; raise it (0: no limit), or "
            f"{cure}."
        )
    worker = conf_bytes(context, "spark.executor.pyspark.memory", "0")
    if 0 < worker < all_needs.worker:
        raise ConfigError(
            f"A Python worker needs about {readable(all_needs.worker)} but "
            f"spark.executor.pyspark.memory allows {readable(worker)}; raise it, or set "
            f"{setting('blocks')} so that blocks are smaller."
        )


def _refuse_broadcast(sizes: Sizes, spec: WalsSpec, plan: Plan) -> None:
    """Where nothing but broadcasts will do, because it is so set or there is no folder."""
    if plan.placement == "sharded":
        raise ConfigError(
            f"{setting('placement')}: sharded keeps factors in files and has no folder for them: "
            "name one that all hosts see with SparkContext.setCheckpointDir, or set it to "
            "replicated."
        )
    where = "with a folder that all hosts see (SparkContext.setCheckpointDir), "
    cure = (
        f"{'' if plan.folder else where}{setting('placement')}: sharded sends only what is needed"
    )
    limit = setting("broadcast_budget_bytes")
    raised = "raise it if driver and hosts have the memory, or " if limit else ""
    for side in SIDES:
        needed, budget = sizes.rows(side) * spec.width * 4, plan.broadcast_budget_bytes
        if needed > budget:
            raise ConfigError(
                f"The {side} factors need {readable(needed)} ({sizes.rows(side):,} rows of rank "
                f"{spec.rank}) but {limit or 'a broadcast'} allows {readable(budget)}; "
                f"{raised}lower {setting('rank')}; {cure}."
            )


def readable(size: float) -> str:
    """Bytes as people read them."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"
