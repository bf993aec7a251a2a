"""What recommend reads: every table and every file once, before anything is computed."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame

from recsys_spark.kernels.als.spec import WalsSpec
from recsys_spark.topn.business_rules import Policy
from recsys_spark.topn.models import Models
from recsys_spark.topn.request import Nearest


@dataclass(frozen=True)
class Training:
    """What the factors were trained on, by which lists are explained.

    rows: as `training_rows` gives them. folded: the interactions that users were folded in with,
    of these users alone; None: there are no such users.
    """

    spec: WalsSpec
    rows: DataFrame
    folded: DataFrame | None


@dataclass(frozen=True)
class Earlier:
    """Lists of another run.

    history: the interactions that they were made from; None: other settings have made them.
    """

    run_id: str
    lists: DataFrame
    history: DataFrame | None = None


@dataclass(frozen=True)
class Inputs:
    """Tables and files, of this run and of those that it builds on.

    history: the interactions. user_ids, item_ids: columns id, index. ids: those of the items, and
    behind them of the new ones of tables. cold_items: column item, what may be listed beside the
    items of the interactions; None: the policy's new ones alone. users: columns user_id and user
    (index; null where unknown), whose lists are wanted. known_users: how many have interactions.
    members: columns group_id, user_id, user. user_factors: columns id, factors and source.
    item_factors: columns id, factors. items: columns item_id, title, genres. genres: from
    `item_genres`, of ids. similar_genres: of item_ids, where they count for similar items. policy:
    from `read_business_rules`. models, nearest, segments: of the models whose lists are delivered.
    training: None where nothing is explained by factors. earlier: lists that may be reused.
    published: those that readers have. settings_digest: of the settings that lists are made by.
    model_version: of the factors.
    """

    history: DataFrame
    user_ids: DataFrame
    item_ids: DataFrame
    ids: DataFrame
    cold_items: DataFrame | None
    users: DataFrame
    known_users: int
    members: DataFrame | None
    user_factors: DataFrame
    item_factors: DataFrame
    training: Training | None
    items: DataFrame | None
    genres: DataFrame | None
    similar_genres: DataFrame | None
    policy: Policy
    models: Models
    nearest: Mapping[str, Nearest]
    segments: Mapping[str, DataFrame]
    earlier: Earlier | None
    published: Earlier | None
    settings_digest: str
    model_version: str | None
