"""From what recommend has read, and its settings, to the lists that are wanted."""

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from recsys_spark.als.factors import factor_bytes
from recsys_spark.config import WALS, Config, Groups, Recommend, Solver, UserSubset
from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.execution_plan import MB
from recsys_spark.pipeline.list_inputs import Inputs, Training
from recsys_spark.pipeline.model_scorers import weighs_values
from recsys_spark.pipeline.side_tables import USER, SideTables
from recsys_spark.schema import RATINGS, recommendations
from recsys_spark.topn.catalog import FOLD_IN, MODEL, Catalog, with_factors
from recsys_spark.topn.cold_items import estimate
from recsys_spark.topn.explanation_inputs import make_explainer, weighted_history
from recsys_spark.topn.explanations import Explainer
from recsys_spark.topn.models import Basis, ranked_by
from recsys_spark.topn.recommend import read_catalog
from recsys_spark.topn.request import ByFactors, ByScorers, Notes, Request
from recsys_spark.topn.rule_tables import seen_rows


@dataclass(frozen=True)
class ListPlan:
    """The lists of all wanted users.

    schema: of their table. tiles: into how many parts the items go, so that the factors of each can
    be sent to workers.
    """

    request: Request
    schema: StructType
    tiles: int


def wanted_users(
    section: UserSubset, tables: SideTables, history: DataFrame, user_ids: DataFrame
) -> DataFrame:
    """Columns user_id and user; the index is null for ids never seen."""
    if section.path is None:
        return history.select("user_id", "user").distinct()
    wanted = tables.read("recommend.users", section, {"column": USER}).distinct()
    return wanted.join(user_ids.toDF("user_id", "user"), "user_id", "left")


def all_factors(trained: DataFrame, folded: DataFrame | None) -> DataFrame:
    """Columns id, factors, and source, where they come from. folded: of users folded in."""
    every = trained.withColumn("source", F.lit(MODEL))
    if folded is None:
        return every
    return every.unionByName(folded.withColumn("source", F.lit(FOLD_IN)))


def group_members(section: Groups, tables: SideTables, user_ids: DataFrame) -> DataFrame | None:
    """Columns group_id, user_id and user, each once; None: no groups are wanted."""
    if section.path is None:
        return None
    named = tables.read("recommend.groups", section, {"group": ("group_id", "id"), "user": USER})
    return named.distinct().join(user_ids.toDF("user_id", "user"), "user_id", "left")


def _count_tiles(wanted: Recommend, inputs: Inputs, solver: Solver) -> int:
    """`ListPlan.tiles`.

    Raises ConfigError for several where something needs the factors of all items.
    """
    size, budget = factor_bytes(inputs.item_factors), solver.broadcast_budget_mb
    tiles = -(-size // (budget * MB))
    whole = inputs.policy.needs_all_factors or wanted.explain or wanted.groups.path is not None
    whole = whole or wanted.chain != [WALS]
    if tiles > 1 and whole:
        raise ConfigError(
            f"The items' factors have {size / MB:,.0f} MB and are ranked in {tiles} tiles: raise "
            "solver.broadcast_budget_mb above that, or remove recommend.model, explain and groups, "
            "and of recommend.policy max_per_genre, diversity, popularity_discount, new_items and "
            "tail_items."
        )
    return max(1, tiles)


def plan_lists(config: Config, inputs: Inputs) -> ListPlan:
    """What is to be made of the inputs.

    Raises ConfigError for models and objectives that do not go together with the settings, and for
    item factors that do not fit one broadcast, where something needs them all.
    """
    wanted = config.recommend
    tiles = _count_tiles(wanted, inputs, config.solver)
    catalog = _catalog(inputs, tiles)
    notes = _notes(wanted, inputs, catalog)
    request = Request(
        inputs.users,
        catalog,
        wanted.n,
        wanted.backfill,
        _ranked_by(config, inputs, catalog, notes.explainer, tiles),
        seen_rows(inputs.history, wanted.seen_days) if wanted.exclude_seen else None,
        inputs.policy,
        notes,
    )
    user_type, item_type = (ids.schema["id"].dataType for ids in (inputs.user_ids, inputs.item_ids))
    schema = recommendations(user_type, item_type, wanted.last_interaction, wanted.explain > 0)
    return ListPlan(request, schema, tiles)


def _catalog(inputs: Inputs, tiles: int) -> Catalog:
    """What may be listed; with factors, those of new items estimated, unless they are tiled."""
    new, cold = inputs.policy.new_items, inputs.cold_items
    catalog = read_catalog(inputs.history, inputs.ids, new=new if cold is None else cold)
    if tiles == 1:
        catalog = with_factors(catalog, inputs.item_factors)
    if new is None:
        return catalog
    return estimate(catalog, new, inputs.genres)


def _ranked_by(
    config: Config, inputs: Inputs, catalog: Catalog, explainer: Explainer | None, tiles: int
) -> ByFactors | ByScorers:
    chain = config.recommend.chain
    if chain == [WALS]:
        return ByFactors(inputs.user_factors, inputs.item_factors, tiles)
    columns = ["user", "item", *(["value"] if weighs_values(config) else [])]
    history = inputs.history.select(*columns)
    basis = Basis(catalog, history, config.solver.broadcast_budget_mb, explainer)
    main, nearest, segments = inputs.user_factors, inputs.nearest, inputs.segments
    return ranked_by(inputs.models, chain, basis, main, nearest, segments)


def _notes(wanted: Recommend, inputs: Inputs, catalog: Catalog) -> Notes:
    """Last interactions with listed items, and reasons; as far as the configuration asks."""
    dated = inputs.history.select("user", "item", "timestamp")
    last = dated if wanted.last_interaction else None
    training = inputs.training
    if training is None:
        return Notes(last, reasons=wanted.explain)
    known = _known(training, inputs.item_factors)
    explainer = make_explainer(catalog, inputs.item_factors, training.rows, training.spec)
    return Notes(last, known, explainer, wanted.explain)


def _known(training: Training, item_factors: DataFrame) -> DataFrame:
    """What users' factors were solved for, with its weights: see `weighted_history`."""
    known = weighted_history(training.rows, training.spec)
    if training.folded is None:
        return known
    items = item_factors.select(F.col("id").alias("item"))
    rows = training.folded.select(*RATINGS.names).join(items, "item", "left_semi")
    return known.unionByName(weighted_history(rows, training.spec, training.rows))
