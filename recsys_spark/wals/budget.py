"""What training needs of memory, before it starts, and whether that fits."""

from dataclasses import dataclass

from pyspark import SparkContext

from recsys_spark.errors import ConfigError
from recsys_spark.kernels.spec import SIDES, WalsSpec

_GATHERED = 1024  # rows that a solver holds at once, in both precisions
_ENTRY = 4 + 1 + 4 + 4  # a column, a code, and both weights decoded
_STORED = 4 + 1  # the same as it is kept
_PACKED = 8 + 8 + 4 + 4


@dataclass(frozen=True)
class Sizes:
    """Of the training data. pairs: rows. sum_a, sum_b: of their weights. slots: tasks at once."""

    pairs: int
    users: int
    items: int
    sum_a: float
    sum_b: float
    slots: int

    def rows(self, side: str) -> int:
        """How many rows a side has."""
        return self.users if side == "user" else self.items


@dataclass(frozen=True)
class Needs:
    """Bytes, about: of the driver; mapped once on every host; of every Python worker beyond that;
    kept by Spark in memory or on disk; and the largest answer that one job brings to the driver.
    """

    driver: int
    host: int
    worker: int
    kept: int
    answer: int

    def __str__(self) -> str:
        parts = ("driver", "host", "worker", "kept")
        driver, host, worker, kept = (readable(getattr(self, part)) for part in parts)
        return (
            f"about {driver} on the driver, {host} mapped once on every host, {worker} more for "
            f"every task at once, {kept} of blocks in memory or on disk"
        )


def needs(sizes: Sizes, spec: WalsSpec, block: int) -> Needs:
    """What training on data of these sizes takes; block: pairs of the largest block."""
    vectors = {side: sizes.rows(side) * spec.width * 4 for side in SIDES}
    largest, both = max(vectors.values()), sum(vectors.values())
    small = 3 * spec.width**2 * 8
    ids = 16 * (sizes.users + sizes.items)
    worker = block * _ENTRY + (_GATHERED + 2 * spec.width) * spec.width * 12 + small
    return Needs(
        driver=both + 3 * largest + ids + small,  # what is held, rotated, sent and received
        host=both,
        worker=worker,
        kept=sizes.pairs * (_PACKED + 2 * _STORED),
        answer=largest,
    )


def refuse_what_cannot_fit(
    sizes: Sizes, spec: WalsSpec, block: int, budget: int, context: SparkContext
) -> None:
    """Raise ConfigError, naming the setting, if a limit is known to be too small."""
    for side in SIDES:
        needed = sizes.rows(side) * spec.width * 4
        if needed > budget:
            raise ConfigError(
                f"The {side} factors need {readable(needed)} ({sizes.rows(side):,} rows of rank "
                f"{spec.rank}) but solver.broadcast_budget_mb allows {readable(budget)}; raise it "
                "if driver and hosts have the memory, or lower objective.rank."
            )
    all_needs, conf = needs(sizes, spec, block), context._jsc.sc().conf()
    answers = conf.getSizeAsBytes("spark.driver.maxResultSize", "1g")
    if 0 < answers < all_needs.answer:
        raise ConfigError(
            f"A half-sweep brings {readable(all_needs.answer)} of factors to the driver but "
            f"spark.driver.maxResultSize allows {readable(answers)}; raise it (0: no limit), or "
            "lower objective.rank."
        )
    worker = conf.getSizeAsBytes("spark.executor.pyspark.memory", "0")
    if 0 < worker < all_needs.worker:
        raise ConfigError(
            f"A Python worker needs about {readable(all_needs.worker)} but "
            f"spark.executor.pyspark.memory allows {readable(worker)}; raise it, or set "
            "solver.blocks so that blocks are smaller."
        )


def readable(size: float) -> str:
    """Bytes as people read them."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"
