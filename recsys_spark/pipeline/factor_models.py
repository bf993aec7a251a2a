"""Wiring of the factor models beside the main one: another weighted ALS, and Spark's own."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import DataFrame, SparkSession

from recsys_spark.als.factors import factors_frame
from recsys_spark.als.memory_estimate import within_limits
from recsys_spark.als.trainer import Factorization, fit_factors
from recsys_spark.baselines.mllib import fit_mllib
from recsys_spark.config import Config, MllibAls
from recsys_spark.kernels.als.spec import SIDES, WalsSpec
from recsys_spark.pipeline.context import Workspace
from recsys_spark.pipeline.execution_plan import make_plan
from recsys_spark.pipeline.fitted_tables import Scores
from recsys_spark.schema import FACTORS
from recsys_spark.spark_internals import persistent_rdds


def fit_factor_model(work: Workspace, config: Config, name: str, rows: DataFrame) -> Scores:
    """The factors of a model of kind wals or mllib, kept in the run's scratch folder.

    config: the run's, or that of a trial. rows: columns user, item, value, timestamp.
    """
    model = config.models[name]
    if model.kind == "mllib":
        return kept_mllib(work, name, rows, model.mllib(), config.objective.spec())
    return _kept_wals(work, config, name, rows)


def _kept_wals(work: Workspace, config: Config, name: str, rows: DataFrame) -> Scores:
    spec = config.objective_of(name).spec()
    known = hashlib.sha256(repr(spec).encode()).hexdigest()[:16]
    plan = make_plan(config, work.training_blocks(known), name)

    def report(state: Factorization) -> None:
        work.log.progress(f"{name}: iteration {len(state.losses)} of {spec.iterations}")

    limited = within_limits(plan, work.spark.sparkContext)
    trained = fit_factors(rows, spec, limited, report)
    if trained.stopped:
        work.log.warning(f"{name} ended after {len(trained.losses)} sweeps: {trained.stopped}")
    state, kind = trained.restored(), FACTORS["id"].dataType
    users, items = (factors_frame(work.spark, getattr(state, side), kind) for side in SIDES)
    return _kept(work, name, (users, items))


def kept_mllib(
    work: Workspace, name: str, rows: DataFrame, config: MllibAls, spec: WalsSpec
) -> Scores:
    """The factors of Spark's ALS, kept in the run's scratch folder; see `fit_mllib`."""
    with _releasing(work.spark):
        return _kept(work, name, fit_mllib(rows, config, spec))


def _kept(work: Workspace, name: str, fitted: Scores) -> Scores:
    users, items = (
        work.keep(factors.toDF(*FACTORS.names), f"{name}/{side}")
        for side, factors in zip(SIDES, fitted, strict=True)
    )
    return users, items


@contextmanager
def _releasing(spark: SparkSession) -> Iterator[None]:
    """Release what MLlib persists inside and forgets: its factors."""
    before = set(persistent_rdds(spark.sparkContext))
    try:
        yield
    finally:
        for key, rdd in persistent_rdds(spark.sparkContext).items():
            if key not in before:
                rdd.unpersist()
