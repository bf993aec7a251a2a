"""The tables beside the users' lists: items and users that are similar, and lists of groups."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from recsys_spark.als.factors import factor_bytes
from recsys_spark.config import Config, Recommend, SimilarItems
from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.execution_plan import MB
from recsys_spark.pipeline.genres import require_genres
from recsys_spark.pipeline.list_inputs import Inputs
from recsys_spark.pipeline.list_request import ListPlan
from recsys_spark.runtime.log import Log
from recsys_spark.schema import group_recommendations, similar
from recsys_spark.storage.tables import Check
from recsys_spark.topn.business_rules import without
from recsys_spark.topn.catalog import MODEL
from recsys_spark.topn.groups import group_lists
from recsys_spark.topn.recommend import read_catalog
from recsys_spark.topn.request import Request
from recsys_spark.topn.similar import similar as find_similar
from recsys_spark.topn.validate_lists import audit


@dataclass(frozen=True)
class Related:
    """A table that is to be written. check: of what is on disk. said: of it, behind its rows."""

    table: str
    frame: DataFrame
    schema: StructType
    check: Check
    said: str


def similar_genres(section: SimilarItems, genres: DataFrame | None) -> DataFrame | None:
    """The genres that similar items are compared by; None: by factors alone.

    Raises ConfigError where items have none.
    """
    counts = section.n and section.genre_weight
    return require_genres(genres, "recommend.similar_items.genre_weight") if counts else None


def check_related(config: Config, inputs: Inputs) -> None:
    """Raise ConfigError for what cannot be made, before anything is."""
    wanted, budget = config.recommend, config.solver.broadcast_budget_mb
    if wanted.similar_users.n and (size := factor_bytes(inputs.user_factors)) > budget * MB:
        raise ConfigError(
            "recommend.similar_users sends the factors of all users to every worker, "
            f"{size / MB:,.0f} MB here: raise solver.broadcast_budget_mb, or set "
            "recommend.similar_users.n: 0."
        )


def related_tables(config: Config, inputs: Inputs, plan: ListPlan, log: Log) -> Iterator[Related]:
    """Those that the configuration asks for, one after the other. plan: of the users' lists."""
    wanted = config.recommend
    if wanted.similar_items.n:
        log.progress("comparing the items")
        yield _similar_items(wanted.similar_items, inputs, plan)
    if wanted.similar_users.n:
        log.progress("comparing the users")
        yield _similar_users(wanted.similar_users.n, inputs)
    if inputs.members is not None:
        log.progress("ranking for groups")
        yield _groups(wanted, inputs.members, inputs, plan.request)


def _similar_items(section: SimilarItems, inputs: Inputs, plan: ListPlan) -> Related:
    """Of those that lists may have and that enough users know."""
    counts = inputs.history.groupBy("item").agg(F.count("*").alias("users"))
    catalog = without(plan.request.catalog, counts.where(F.col("users") < section.min_users))
    if plan.request.policy.removed is not None:
        catalog = without(catalog, plan.request.policy.removed)
    genres = inputs.similar_genres
    frame = find_similar(
        inputs.item_factors,
        inputs.item_ids,
        catalog,
        section.n,
        "item_id",
        None if genres is None else genres.toDF("id", "genres"),
        section.genre_weight,
        plan.tiles,
    )
    said = f"items with up to {section.n} that are similar"
    return _similar(frame, "similar_items", section.n, said)


def _similar_users(n: int, inputs: Inputs) -> Related:
    """Of those with factors, which have to go to every worker."""
    factors, ids = inputs.user_factors.select("id", "factors"), inputs.user_ids
    mirrored = inputs.history.select(F.col("item").alias("user"), F.col("user").alias("item"))
    frame = find_similar(factors, ids, read_catalog(mirrored, ids), n, "user_id")
    return _similar(frame, "similar_users", n, f"users with up to {n} similar users")


def _similar(frame: DataFrame, table: str, n: int, said: str) -> Related:
    key = frame.columns[0]
    check = partial(audit, key=key, lists="similar", n=n, entry=key)
    return Related(table, frame, similar(key, frame.schema[key].dataType), check, said)


def _groups(wanted: Recommend, members: DataFrame, inputs: Inputs, request: Request) -> Related:
    section, n = wanted.groups, wanted.n
    lists = group_lists(
        members, inputs.user_factors, request, section.opinion, section.member_scores
    )
    frame = lists.withColumn("model_version", F.lit(inputs.model_version))
    item_type, user_type = request.catalog.item_type, inputs.user_ids.schema["id"].dataType
    schema = group_recommendations(item_type, user_type if section.member_scores else None)
    check = partial(audit, key="group_id", lists="recommendations", n=n, ordered=[MODEL])
    said = f"groups with up to {n} items"
    return Related("group_recommendations", frame, schema, check, said)
