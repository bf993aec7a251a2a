"""How well factors rank the validation rows, while training or tuning."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.evaluation import measure_ranking, summarise
from recsys_spark.pipeline.run import Run
from recsys_spark.schema import FACTORS
from recsys_spark.stages.recommend import recommend
from recsys_spark.wals.factors import factors_frame
from recsys_spark.wals.fit import Factorization


def validation_metric(
    run: Run, state: Factorization, metric: str, k: int, most_users: int | None = None
) -> float:
    """A ranking metric of the validation users' lists, their training rows left out.

    most_users: of whom so many are chosen, by a hash of their index, always the same.
    """
    truth, restored = _truth(run, most_users), state.restored()
    users = truth.select("user_id", "user").distinct()
    user_factors, item_factors = (
        factors_frame(run.spark, side, FACTORS["id"].dataType).withColumnRenamed(
            "features", "factors"
        )
        for side in (restored.user, restored.item)
    )
    history = run.read("train")
    seen = history.select("user", "item").join(users.select("user"), "user", "left_semi")
    lists = recommend(
        users,
        history,
        seen,
        run.read("item_ids"),
        (user_factors, item_factors),
        k,
        fill=False,
        label="index",
    )
    relevant = truth.select("user_id", F.col("item").alias("item_id"))
    rows = summarise(measure_ranking(lists, relevant, [k]), run.run_id, resamples=0)
    row = rows.where(F.col("metric") == metric).first()
    return float(row["value"]) if row else 0.0


def _truth(run: Run, most_users: int | None) -> DataFrame:
    rows = run.read("validation")
    if most_users is not None:
        every = rows.select("user").distinct()
        chosen = every.orderBy(F.xxhash64("user"), "user").limit(most_users)
        rows = rows.join(chosen, "user", "left_semi")
    return rows.join(run.read("user_ids").toDF("user_id", "user"), "user")
