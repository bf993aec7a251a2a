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
from recsys_spark.pipeline.context import Run
from recsys_spark.pipeline.execution_plan import make_plan
from recsys_spark.schema import FACTORS
from recsys_spark.spark_internals import persistent_rdds

# Columns id and factors, of users and of items.
Scores = tuple[DataFrame, DataFrame]


def fit_factor_model(run: Run, config: Config, name: str, rows: DataFrame) -> Scores:
    """The factors of a model of kind wals or mllib, kept in the run's scratch folder.

    config: the run's, or that of a trial. rows: columns user, item, value, timestamp.
    """
    model = config.models[name]
    if model.kind == "mllib":
        return kept_mllib(run, name, rows, model.mllib(), config.objective.spec())
    return _kept_wals(run, config, name, rows)


def _kept_wals(run: Run, config: Config, name: str, rows: DataFrame) -> Scores:
    spec = config.objective_of(name).spec()
    known = hashlib.sha256(repr(spec).encode()).hexdigest()[:16]
    plan = make_plan(config, run.scratch(f"training-{run.fingerprint}-{known}"), name)

    def report(state: Factorization) -> None:
        run.log.progress(f"{name}: iteration {len(state.losses)} of {spec.iterations}")

    limited = within_limits(plan, run.spark.sparkContext)
    trained = fit_factors(rows, spec, limited, report)
    if trained.stopped:
        run.log.warning(f"{name} ended after {len(trained.losses)} sweeps: {trained.stopped}")
    state, kind = trained.restored(), FACTORS["id"].dataType
    users, items = (factors_frame(run.spark, getattr(state, side), kind) for side in SIDES)
    return _kept(run, name, (users, items))


def kept_mllib(run: Run, name: str, rows: DataFrame, config: MllibAls, spec: WalsSpec) -> Scores:
    """The factors of Spark's ALS, kept in the run's scratch folder; see `fit_mllib`."""
    with _releasing(run.spark):
        return _kept(run, name, fit_mllib(rows, config, spec))


def _kept(run: Run, name: str, fitted: Scores) -> Scores:
    users, items = (
        run.keep(factors.toDF(*FACTORS.names), f"{name}/{side}")
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
