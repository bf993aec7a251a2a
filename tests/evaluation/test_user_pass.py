"""The pass that measures all models at once, against the functions that measure tables."""

import random
from dataclasses import replace
from functools import partial
from operator import getitem

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from recsys_spark.evaluation import (
    measure_agreement,
    measure_exposure,
    measure_full_ranking,
    measure_lists,
    measure_ranking,
    summarise,
)
from recsys_spark.evaluation.beyond_accuracy import item_traits
from recsys_spark.evaluation.comparison import compare
from recsys_spark.evaluation.model_exposure import (
    LISTS_TOTAL,
    PATTERNS_TOTAL,
    Listed,
    count_patterns,
    exposure_of_models,
)
from recsys_spark.evaluation.model_lists import LISTS, Ranking, rank_batch
from recsys_spark.evaluation.model_means import METRICS_TOTAL, PAIRS_TOTAL, Means, Paired
from recsys_spark.evaluation.model_metrics import Measures
from recsys_spark.evaluation.user_pass import (
    Wanted,
    finish,
    pass_over_users,
    users_metrics,
    users_of,
)
from recsys_spark.evaluation.user_rows import gather_users, unpacked
from recsys_spark.kernels.metrics.beyond_accuracy import LIST_METRICS
from recsys_spark.kernels.metrics.full_ranking import RANK_METRICS
from recsys_spark.kernels.metrics.list_overlap import AGREEMENT
from recsys_spark.kernels.metrics.ranking import METRICS
from recsys_spark.kernels.topn import tile
from recsys_spark.kernels.topn.sparse_scores import SparseRows
from recsys_spark.schema import PER_USER_KEY
from recsys_spark.topn.blocks import factor_column
from recsys_spark.topn.catalog import Listing, with_factors
from recsys_spark.topn.distributed import recommend_top_n
from recsys_spark.topn.recommend import make_lists, read_catalog, with_seen
from recsys_spark.topn.request import ByFactors, Request
from recsys_spark.topn.scorers import FactorScorer, NeighbourScorer
from recsys_spark.topn.static_scorers import StaticScorer

DRAW = random.Random(23)
USERS, ITEMS, OUTSIDE, CUTOFFS = 24, 19, 2, (2, 5, 8)
N, RUN, SPLIT = max(CUTOFFS), "run", "held_out"
WITHOUT = {"model": {5}, "narrow": {7, 8}}  # users without factors
UNSCORED = {"model": {4}, "narrow": {0, 4}}  # items without
PARTS, SEGMENTS = ("few", "many", "new"), ("third", "some", "others")
SEGMENTED = ("array('third', 'some')", "array('some')", "array('others', 'third')", "array()")
RESAMPLES, SEED = 30, 7
PAIRED = Paired("narrow", "ndcg", 5)


def rows_of(count, items=ITEMS):
    return {user: DRAW.sample(range(items), DRAW.randint(*count)) for user in range(USERS)}


HISTORY = rows_of((1, 6))
HISTORY[3], HISTORY[9] = [], list(range(ITEMS))  # one knows nothing, one everything
KNOWN = {u: [i for i in items if i not in HISTORY[u]] for u, items in rows_of((0, 3)).items()}
TRUTH = rows_of((1, 5), ITEMS + OUTSIDE)  # some of it known, some outside the catalog
TRUTH[6], TRUTH[11] = [ITEMS], HISTORY[11][:1]
VALUES = {(u, i): DRAW.choice([0.5, 1.0, 3.0]) for u, items in TRUTH.items() for i in items}
NAMES = DRAW.sample(range(100, 400), ITEMS + OUTSIDE)  # ids in another order than the indices
FACTORS = {
    name: [[float(DRAW.randint(-1, 2)) for _ in range(rank)] for _ in range(USERS + ITEMS)]
    for name, rank in (("model", 3), ("narrow", 1))
}
WEIGHTS = [[DRAW.choice([0.0, 0.0, 0.5, 1.0, 2.0]) for _ in range(ITEMS)] for _ in range(ITEMS)]
GENRES = {item: DRAW.sample("abc", DRAW.randint(1, 3)) for item in range(ITEMS) if item % 5}
MODELS = ("model", "narrow", "popular", "neighbours")


class World:
    """The same data as the pass takes them, and as the functions of tables do."""

    def __init__(self, spark, partitions=2):
        self.spark, self.partitions = spark, partitions
        ids = [(str(name), at) for at, name in enumerate(NAMES)]
        self.ids = spark.createDataFrame(ids, "id string, index int")
        self.users = spark.createDataFrame(
            [(u, f"u{u}") for u in range(USERS)], "user int, user_id string"
        )
        self.history, self.known = self.pairs(HISTORY), self.pairs(KNOWN)
        self.seen = self.history.unionByName(self.known)
        truth = [(user, item, value) for (user, item), value in VALUES.items()]
        self.truth = spark.createDataFrame(truth, "user int, item int, value double")
        self.catalog = read_catalog(self.history, self.ids.where(f"index < {ITEMS}"), "index")
        self.index = self.catalog.index
        counts = np.rint(self.catalog.popularity * self.history.select("user").distinct().count())
        self.counts = counts.astype(np.float32)

    def pairs(self, lists):
        rows = [(user, item) for user, items in lists.items() for item in items]
        return self.spark.createDataFrame(rows, "user int, item int").repartition(self.partitions)

    def factors(self, name):
        users, items = FACTORS[name][:USERS], FACTORS[name][USERS:]
        return tuple(
            self.spark.createDataFrame(
                [(at, row) for at, row in enumerate(rows) if at not in without],
                "id int, factors array<float>",
            )
            for rows, without in ((users, WITHOUT[name]), (items, UNSCORED[name]))
        )

    @property
    def scores(self):
        """Factors of users and items, also of the models that are no products by themselves."""
        own = {name: self.factors(name) for name in FACTORS}
        schema = "id int, factors array<float>"
        ones = [(user, [1.0]) for user in range(USERS)]
        counts = [(int(i), [float(c)]) for i, c in zip(self.index, self.counts, strict=True)]
        own["popular"] = tuple(self.spark.createDataFrame(rows, schema) for rows in (ones, counts))
        known = [(u, [float(i in HISTORY[u]) for i in range(ITEMS)]) for u in range(USERS)]
        columns = [(i, [row[i] for row in WEIGHTS]) for i in range(ITEMS)]
        own["neighbours"] = tuple(
            self.spark.createDataFrame(rows, schema) for rows in (known, columns)
        )
        return own

    @property
    def scorers(self):
        found = {}
        for name in FACTORS:
            own = with_factors(self.catalog, self.factors(name)[1])
            found[name] = FactorScorer(name, own.factors, own.scored)
        found["popular"] = StaticScorer(self.counts, np.ones(ITEMS, dtype=bool))
        matrix = np.array(WEIGHTS, dtype=np.float32)[np.ix_(self.index, self.index)]
        rows, columns = np.nonzero(matrix)
        indptr = np.searchsorted(rows, np.arange(ITEMS + 1))
        sparse = SparseRows(indptr, columns.astype(np.int32), matrix[rows, columns])
        found["neighbours"] = NeighbourScorer(sparse)
        return found

    @property
    def ranking(self):
        return Ranking(self.index, self.scorers, N, full_ranking=True)

    @property
    def rows(self):
        columns = {"user_id": self.users}
        columns |= {factor_column(name): self.factors(name)[0] for name in FACTORS}
        history = self.history.withColumn("value", F.lit(1.0))
        return gather_users(history, self.known, self.truth, columns)

    @property
    def segmented(self):
        """Some users are in two segments, which both also come first, some in one, some in none."""
        by = F.array(*(F.expr(text) for text in SEGMENTED)).getItem(F.col("user") % len(SEGMENTED))
        return self.rows.withColumn("segments", by)

    @property
    def passed(self):
        return pass_over_users(self.segmented.repartition(self.partitions), self.wanted)

    @property
    def wanted(self):
        means = Means(RESAMPLES, SEED, PAIRED)
        return Wanted(self.ranking, self.measures, means, self.listed, 5, N, MODELS)

    def wanted_of(self, ranking):
        """What is wanted of other models."""
        names = tuple(ranking.models)
        measures = replace(self.measures, models=names, reference=names[0], parts=())
        listed = replace(self.listed, models=names)
        return Wanted(ranking, measures, Means(0, SEED), listed, 5, N, names)

    @property
    def ranked(self):
        return users_of(self.passed)

    @property
    def listed(self):
        groups = {name: np.flatnonzero(self.index % 3 == at) for at, name in enumerate("xyz")}
        return Listed(self.index, MODELS, CUTOFFS, groups)

    @property
    def measures(self):
        genres = pa.array([GENRES.get(item) for item in self.index], pa.list_(pa.string()))
        vectors = with_factors(self.catalog, self.factors("model")[1]).factors
        traits = item_traits(self.index, self.catalog.popularity, vectors, genres)
        parts = traits.ids % 2
        return Measures(traits, MODELS, "model", CUTOFFS, SPLIT, PARTS, parts)

    def lists(self):
        """Those of the functions that recommend: columns user_id, recommendations, model."""
        users = with_seen(self.users, self.seen)
        frames = []
        for name in ("model", "narrow", "popular"):
            own_factors, items = self.scores[name]
            catalog, by = with_factors(self.catalog, items), ByFactors(own_factors)
            own = make_lists(Request(users, catalog, N, ranked_by=by)).every()
            frames.append(own.select("user_id", "recommendations", F.lit(name).alias("model")))
        history = self.history.groupBy("user").agg(F.collect_list("item").alias("history"))
        rows = users.join(history, "user", "left")
        catalog = replace(self.catalog, scored=np.ones(ITEMS, dtype=bool))
        listing = Listing(catalog, N, scorers=(("neighbours", self.scorers["neighbours"]),))
        own = recommend_top_n(rows, "user_id", listing).frame().select("user_id", "recommendations")
        frames.append(own.withColumn("model", F.lit("neighbours")))
        every = frames[0]
        for frame in frames[1:]:
            every = every.unionByName(frame)
        return every

    def of_tables(self):
        """Tables of users' metrics, from the functions that measure tables."""
        lists, truth = self.lists().localCheckpoint(), self.truth.join(self.users, "user")
        relevant = truth.select("user_id", F.col("item").alias("item_id"), "value")
        part = F.when(F.col("item_id") >= ITEMS, "new").when(F.col("item_id") % 2 == 0, "few")
        parts = relevant.withColumn("segment", part.otherwise("many"))
        both = relevant.withColumn("segment", F.lit("all")).unionByName(parts)
        shares = zip(self.index, self.catalog.popularity, strict=True)
        items = [(int(i), float(share), GENRES.get(int(i))) for i, share in shares]
        items = self.spark.createDataFrame(
            items, "item_id int, users double, attributes array<string>"
        ).join(self.factors("model")[1].toDF("item_id", "factors"), "item_id", "left")
        before = self.seen.join(self.users, "user").select("user_id", F.expr("item item_id"))
        others = lists.where("model != 'model'")
        return [
            measure_ranking(lists, both, CUTOFFS, MODELS, SPLIT),
            measure_lists(lists, items, CUTOFFS, MODELS, SPLIT, relevant, before),
            measure_agreement(others, lists.where("model = 'model'"), CUTOFFS, MODELS, SPLIT),
            measure_full_ranking(truth, self.seen, self.scores, SPLIT),
        ]


def values_of(frame):
    """What is there, by the row's key and the metric."""
    return {
        (*(row[name] for name in PER_USER_KEY), metric): row[metric]
        for row in frame.collect()
        for metric in row.asDict()
        if metric not in PER_USER_KEY and row[metric] is not None
    }


def sorted_rows(table):
    return sorted(table.to_pylist(), key=repr)


@pytest.fixture(scope="module")
def world(spark):
    return World(spark)


@pytest.fixture(scope="module")
def passed(world):
    return world.passed.localCheckpoint()


@pytest.fixture(scope="module")
def ranked(passed):
    return users_of(passed)


@pytest.fixture(scope="module")
def totals(world, passed):
    return finish(passed, world.wanted, RUN)


@pytest.fixture(scope="module")
def of_tables(world):
    return [frame.localCheckpoint() for frame in world.of_tables()]


@pytest.fixture(scope="module")
def measured(world, ranked):
    return values_of(users_metrics(ranked, world.wanted).frame())


def test_every_value_is_that_of_the_functions_of_tables(of_tables, measured):
    whole = [frame.where("segment = 'all'") for frame in of_tables]
    expected = {key: value for frame in whole for key, value in values_of(frame).items()}
    assert {metric for *_, metric in expected} == {
        *METRICS,
        *LIST_METRICS,
        *AGREEMENT,
        *RANK_METRICS,
    }
    assert measured == expected


def test_means_and_intervals_are_those_of_the_functions_of_tables(of_tables, totals, ranked):
    segments = ranked.select("user_id", F.explode("segments").alias("segment"))
    expected = [
        row
        for frame in of_tables
        for row in summarise(frame, RUN, segments, RESAMPLES, SEED).toArrow().to_pylist()
    ]
    found = totals[METRICS_TOTAL]
    assert sorted_rows(found) == sorted(expected, key=repr)
    assert set(found["segment"].to_pylist()) == {"all", *PARTS, *SEGMENTS}


def test_differences_are_those_of_compare(world, totals, ranked):
    table = users_metrics(ranked, world.wanted).frame()
    table = table.where(F.col("k") == PAIRED.k).select(*PER_USER_KEY, PAIRED.metric)
    own = table.where(F.col("model") == PAIRED.model)
    found = {row["model"]: row for row in totals[PAIRS_TOTAL].to_pylist()}
    assert set(found) == set(MODELS) - {PAIRED.model}
    for name, row in found.items():
        expected = compare(table.where(F.col("model") == name), own, RESAMPLES, SEED).first()
        assert {**row, "p_holm": None} == {**expected.asDict(), "model": name, "p_holm": None}


@pytest.mark.parametrize("kept", [MODELS[1:2], MODELS[2:], ()])
def test_rows_of_some_models_are_some_of_all_rows(world, measured, kept):
    wanted = replace(world.wanted, kept=kept)
    few = users_of(pass_over_users(world.segmented, wanted))
    some = values_of(users_metrics(few, wanted).frame())
    model = PER_USER_KEY.index("model")
    assert some == {key: value for key, value in measured.items() if key[model] in kept}


def test_rows_keep_what_is_wanted_of_lists_and_of_what_they_leave_out(world, ranked):
    wanted = replace(world.wanted, items=2, left_out=True)
    whole = {row["user"]: row for row in ranked.collect()}
    for row in users_of(pass_over_users(world.segmented, wanted)).collect():
        assert row[LISTS] == [items[:2] for items in whole[row["user"]][LISTS]]
        assert sorted(row["history"]) == sorted(HISTORY[row["user"]])
        assert sorted(row["known"]) == sorted(KNOWN[row["user"]])
    assert not {"history", "known"} & set(ranked.columns)


def test_exposure_is_that_of_the_function_of_tables(world, totals):
    found = exposure_of_models(world.spark, totals[LISTS_TOTAL], world.listed, RUN, SPLIT, 5)
    items = world.spark.createDataFrame([(int(i),) for i in world.index], "item_id int")
    groups = items.withColumn("group", F.expr("element_at(array('x', 'y', 'z'), item_id % 3 + 1)"))
    expected = measure_exposure(
        world.lists(), items, CUTOFFS, RUN, MODELS, SPLIT, groups=groups, curve_at=5
    )
    assert sorted(found.table.collect()) == sorted(expected.table.collect())
    assert found.curves == expected.curves


def test_patterns_count_what_lists_and_truth_have_in_common(totals, ranked):
    expected = {}
    for row in ranked.collect():
        lists = {name: set(items[:5]) for name, items in zip(MODELS, row[LISTS], strict=True)}
        lists["truth"] = set(row["truth"])
        for item in set().union(*lists.values()):
            members = tuple(sorted(name for name, items in lists.items() if item in items))
            expected[members] = expected.get(members, 0) + 1
    assert count_patterns(totals[PATTERNS_TOTAL], MODELS, "truth") == expected


@pytest.mark.parametrize(("partitions", "batch"), [(1, 1000), (5, 3)])
def test_partitions_and_batches_do_not_change_a_bit(spark, measured, totals, partitions, batch):
    key = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(key)
    spark.conf.set(key, batch)
    try:
        other = World(spark, partitions)
        again = other.passed.localCheckpoint()
        assert values_of(users_metrics(users_of(again), other.wanted).frame()) == measured
        for what, table in finish(again, other.wanted, RUN).items():
            assert sorted_rows(table) == sorted_rows(totals[what])
    finally:
        spark.conf.set(key, before)


def test_heights_of_tiles_and_the_order_of_users_do_not_change_a_bit(world, monkeypatch):
    (packed,) = world.rows.toArrow().combine_chunks().to_batches()
    batch = unpacked(packed)
    expected = rank_batch(batch, world.ranking)
    order = np.random.default_rng(3).permutation(batch.num_rows)
    monkeypatch.setattr(tile, "CELLS", 3 * ITEMS)
    found = rank_batch(batch.take(pa.array(order)), world.ranking)
    for name, column in expected.items():
        assert found[name].to_pylist() == column.take(pa.array(order)).to_pylist()


def test_full_ranking_is_left_out_unless_it_is_wanted(world):
    wanted = world.wanted_of(Ranking(world.index, {"popular": world.scorers["popular"]}, N))
    kept = [name for name in world.segmented.columns if "_of_" not in name]
    ranked = users_of(pass_over_users(world.segmented.select(kept), wanted))
    found = {metric for *_, metric in values_of(users_metrics(ranked, wanted).frame())}
    assert found == {*METRICS, *LIST_METRICS}


def test_drawn_factors_are_those_that_are_given(world):
    """Factors that a function of the user's index gives, in place of a column."""
    vectors = np.array(FACTORS["narrow"][:USERS], dtype=np.float32)
    scorers = {"narrow": world.scorers["narrow"]}
    given = Ranking(world.index, scorers, N)
    drawn = replace(given, drawn={"narrow": partial(getitem, vectors)})
    kept = [name for name in world.segmented.columns if "_of_" not in name]
    rows = world.segmented.select(kept)
    own = users_of(pass_over_users(rows, world.wanted_of(drawn)))
    found = {r["user"]: r[LISTS] for r in own.collect()}
    known = world.segmented.select(*kept, factor_column("narrow"))
    given = users_of(pass_over_users(known, world.wanted_of(given))).collect()
    for row in given:
        if row["user"] not in WITHOUT["narrow"]:
            assert found[row["user"]] == row[LISTS]
