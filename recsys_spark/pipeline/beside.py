"""Wiring of the tables beside the users' lists: items and users that are alike, and groups."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.errors import ConfigError
from recsys_spark.io.fields import Role
from recsys_spark.io.side_tables import read_rows
from recsys_spark.pipeline.genres import required_genres
from recsys_spark.pipeline.policy import seen_rows
from recsys_spark.pipeline.run import Run
from recsys_spark.pipeline.side_tables import match
from recsys_spark.schema import group_recommendations, similar
from recsys_spark.topn.business_rules import Policy, without
from recsys_spark.topn.catalog import Catalogue
from recsys_spark.topn.groups import group_lists
from recsys_spark.topn.recommend import read_catalogue
from recsys_spark.topn.similar import similar as find_similar
from recsys_spark.topn.validate_lists import audit

MB = 2**20
_WEIGHT = "recommend.similar_items.genre_weight"


def write_beside(
    run: Run,
    history: DataFrame,
    catalogue: Catalogue,
    policy: Policy,
    user_factors: DataFrame,
    tiles: int,
) -> None:
    """Write those that the configuration asks for. user_factors: columns id, factors, ...

    catalogue: with its factors, which groups need. tiles: into how many parts the items go.
    """
    config = run.config.recommend
    if config.similar_items.n:
        _similar_items(run, history, catalogue, policy, tiles)
    if config.similar_users.n:
        _similar_users(run, history, user_factors.select("id", "factors"))
    if config.groups.path is not None:
        _groups(run, history, catalogue, policy, user_factors)


def _similar_items(
    run: Run, history: DataFrame, catalogue: Catalogue, policy: Policy, tiles: int
) -> None:
    """Of those that lists may have and that enough users know."""
    config = run.config.recommend.similar_items
    run.log.progress("comparing the items")
    counts = history.groupBy("item").agg(F.count("*").alias("users"))
    catalogue = without(catalogue, counts.where(F.col("users") < config.min_users))
    if policy.removed is not None:
        catalogue = without(catalogue, policy.removed)
    ids = run.read("item_ids")
    weight, factors = config.genre_weight, run.read("item_factors")
    genres = required_genres(run, ids, _WEIGHT).toDF("id", "genres") if weight else None
    found = find_similar(factors, ids, catalogue, config.n, "item_id", genres, weight, tiles)
    _write_similar(run, found, "similar_items", config.n)


def _similar_users(run: Run, history: DataFrame, factors: DataFrame) -> None:
    """Of those with factors, which have to go to every worker."""
    n, ids = run.config.recommend.similar_users.n, run.read("user_ids")
    run.log.progress("comparing the users")
    mirrored = history.select(F.col("item").alias("user"), F.col("user").alias("item"))
    found = find_similar(factors, ids, read_catalogue(mirrored, ids), n, "user_id")
    _write_similar(run, found, "similar_users", n)


def factor_bytes(factors: DataFrame) -> int:
    """The size of factors, columns id, factors, as one matrix."""
    first = factors.select(F.size("factors")).first()
    return 4 * factors.count() * first[0] if first else 0


def check_beside(run: Run, user_factors: DataFrame) -> None:
    """Raise ConfigError for what cannot be made, before anything is."""
    config, budget = run.config.recommend, run.config.solver.broadcast_budget_mb
    if config.similar_items.n and config.similar_items.genre_weight:
        required_genres(run, run.read("item_ids"), _WEIGHT)
    if config.similar_users.n and (size := factor_bytes(user_factors)) > budget * MB:
        raise ConfigError(
            "recommend.similar_users sends the factors of all users to every worker, "
            f"{size / MB:,.0f} MB here: raise solver.broadcast_budget_mb, or set "
            "recommend.similar_users.n: 0."
        )


def _write_similar(run: Run, found: DataFrame, table: str, n: int) -> None:
    key = found.columns[0]
    manifest = run.write(
        found,
        table,
        similar(key, found.schema[key].dataType),
        lambda written: audit(written, key, "similar", n, F.lit(True), entry=key),
    )
    alike = "items with up to {} that are similar"
    if key == "user_id":
        alike = "users with up to {} who like alike"
    run.log.info(f"{manifest.rows:,} {alike.format(n)}")


def _groups(
    run: Run, history: DataFrame, catalogue: Catalogue, policy: Policy, user_factors: DataFrame
) -> None:
    config = run.config.recommend
    run.log.progress("ranking for groups")
    ids = run.read("user_ids").toDF("user_id", "user")
    columns: dict[str, tuple[str, Role]] = {"group": ("group_id", "id"), "user": ("user_id", "id")}
    named = read_rows(run.spark, "recommend.groups", config.groups, columns)
    typed = match(run, "recommend.groups", named, {"user_id": ids})
    members = typed.distinct().join(ids, "user_id", "left")
    lists = group_lists(
        members,
        seen_rows(history, config.seen_days).select("user", "item")
        if config.exclude_seen
        else None,
        catalogue,
        user_factors,
        config.n,
        config.backfill,
        config.groups.opinion,
        policy,
        config.groups.member_scores,
    ).withColumn("model_version", F.lit(run.version("user_factors")))
    manifest = run.write(
        lists,
        "group_recommendations",
        group_recommendations(catalogue.item_type, ids.schema["user_id"].dataType)
        if config.groups.member_scores
        else group_recommendations(catalogue.item_type),
        lambda table: audit(
            table, "group_id", "recommendations", config.n, F.col("source") == "model"
        ),
    )
    run.log.info(f"{manifest.rows:,} groups with up to {config.n} items")
