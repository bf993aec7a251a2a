"""How many queries Spark has run: each costs its planning and at least one job."""

from collections.abc import Callable

from pyspark.sql import SparkSession


def count_queries(spark: SparkSession, action: Callable[[], object]) -> int:
    """The SQL executions of an action, which Spark numbers in their order."""
    before = _last_query(spark)
    action()
    return _last_query(spark) - before


def _last_query(spark: SparkSession) -> int:
    """The number of the last one that ended. Private to Spark, which has no other way from Python.

    The store keeps few of them, so that they cannot be counted there.
    """
    spark.sparkContext._jsc.sc().listenerBus().waitUntilEmpty()
    kept = spark._jsparkSession.sharedState().statusStore().executionsList()
    return max((kept.apply(at).executionId() for at in range(kept.size())), default=-1)
