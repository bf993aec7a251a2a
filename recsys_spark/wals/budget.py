"""What training needs of memory, before it starts, and whether that fits."""

from dataclasses import dataclass

from pyspark import SparkContext

from recsys_spark.errors import ConfigError
from recsys_spark.kernels.spec import SIDES, WalsSpec
from recsys_spark.wals.plan import Plan, Sizes

_GATHERED = 1024  # rows that a solver holds at once, in both precisions
_ENTRY = 4 + 1 + 4 + 4  # a column, a code, and both weights decoded
_STORED = 4 + 1  # the same as it is kept
_PACKED = 8 + 8 + 4 + 4


@dataclass(frozen=True)
class Needs:
    """Bytes, about: of the driver; mapped once on every host; of every Python worker beyond that;
    kept by Spark in memory or on disk; in files; and the largest answer that one job brings to the
    driver.
    """

    driver: int
    host: int
    worker: int
    kept: int
    files: int
    answer: int

    def __str__(self) -> str:
        parts = ("driver", "host", "worker", "kept")
        driver, host, worker, kept = (readable(getattr(self, part)) for part in parts)
        filed = f", {readable(self.files)} of blocks in files" if self.files else ""
        return (
            f"about {driver} on the driver, {host} mapped once on every host, {worker} more for "
            f"every task at once, {kept} of {'pairs' if filed else 'blocks'} in memory or on "
            f"disk{filed}"
        )


def needs(sizes: Sizes, spec: WalsSpec, plan: Plan) -> Needs:
    """What training on data of these sizes takes."""
    vectors = {side: sizes.rows(side) * spec.width * 4 for side in SIDES}
    largest, both = max(vectors.values()), sum(vectors.values())
    small = 3 * spec.width**2 * 8
    ids = 16 * (sizes.users + sizes.items)
    blocks, filed = 2 * sizes.pairs * _STORED, plan.folder is not None
    worker = (
        plan.block_entries(sizes) * _ENTRY + (_GATHERED + 2 * spec.width) * spec.width * 12 + small
    )
    return Needs(
        driver=both + 3 * largest + ids + small,  # what is held, rotated, sent and received
        host=both,
        worker=worker,
        kept=sizes.pairs * _PACKED + (0 if filed else blocks),
        files=blocks if filed else 0,
        answer=largest,
    )


def refuse_what_cannot_fit(sizes: Sizes, spec: WalsSpec, plan: Plan, context: SparkContext) -> None:
    """Raise ConfigError, naming the setting, if a limit is known to be too small."""
    budget = plan.broadcast_budget_bytes
    for side in SIDES:
        needed = sizes.rows(side) * spec.width * 4
        if needed > budget:
            raise ConfigError(
                f"The {side} factors need {readable(needed)} ({sizes.rows(side):,} rows of rank "
                f"{spec.rank}) but solver.broadcast_budget_mb allows {readable(budget)}; raise it "
                "if driver and hosts have the memory, or lower objective.rank."
            )
    all_needs, conf = needs(sizes, spec, plan), context._jsc.sc().conf()
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
