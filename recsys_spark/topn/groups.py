"""Lists for groups of users together, such as households."""

from dataclasses import replace
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.kernels.topn.group_scores import Opinion
from recsys_spark.topn.business_rules import Policy, make_listing
from recsys_spark.topn.distributed import recommend_top_n
from recsys_spark.topn.request import Request


def group_lists(
    members: DataFrame,
    user_factors: DataFrame,
    request: Request,
    opinion: Opinion,
    member_scores: bool = False,
) -> DataFrame:
    """Columns group_id, recommendations, source; a row a group, by group_id.

    members: columns group_id, user_id and user (index; null where unknown), each once.
    user_factors: columns id, factors. request: that of single users, whose catalog has factors;
    what one member has seen, the group is not listed. Members without factors are of no opinion,
    and a group of such members gets what is popular. Segments, diversity and reserved slots are
    single users'; of the policy the other rules hold. member_scores: whether entries have what they
    score for each member with factors, by user id.
    """
    opinions = _opinions(members, user_factors)
    opinions = opinions if member_scores else opinions.drop("members")
    rows = opinions.join(_left_out(members, request.seen, request.policy), "group_id", "left")
    rules = _of_groups(request.policy)
    listing = make_listing(request.catalog, rules, request.n, request.fill)
    parts = int(str(rows.sparkSession.conf.get("spark.sql.shuffle.partitions")))
    ordered = rows.repartitionByRange(parts, "group_id").sortWithinPartitions("group_id")
    return recommend_top_n(ordered, "group_id", replace(listing, opinion=opinion)).frame()


def _opinions(members: DataFrame, user_factors: DataFrame) -> DataFrame:
    """Columns group_id, members and factors, theirs one behind the other, by user id.

    members: the ids of those with factors.
    """
    known = user_factors.select(F.col("id").alias("user"), "factors")
    pairs = F.collect_list(F.when(F.isnotnull("factors"), F.struct("user_id", "factors")))
    joined = members.join(known, "user", "left").groupBy("group_id")
    groups = joined.agg(F.sort_array(pairs).alias("pairs"))
    factors = F.when(F.size("pairs") > 0, F.flatten("pairs.factors"))
    return groups.select(
        "group_id", F.col("pairs.user_id").alias("members"), factors.alias("factors")
    )


def _left_out(members: DataFrame, seen: DataFrame | None, policy: Policy) -> DataFrame:
    """Columns group_id and seen: the items that some member has, or has blocked."""
    parts = []
    if seen is not None:
        parts.append(members.join(seen, "user").select("group_id", "item"))
    if policy.blocked is not None:
        parts.append(members.join(policy.blocked, "user_id").select("group_id", "item"))
    if not parts:
        nothing = F.lit(None).cast("array<bigint>").alias("seen")
        return members.select("group_id", nothing).distinct()
    items = F.collect_set(F.col("item").cast("bigint"))
    return reduce(DataFrame.unionByName, parts).groupBy("group_id").agg(items.alias("seen"))


def _of_groups(policy: Policy) -> Policy:
    """The rules that hold for groups."""
    return Policy(
        policy.removed, policy.blocked, policy.genres, policy.max_per_genre, policy.min_score
    )
