"""a and b of every weighting against plain loops, by hand, and against implicit's own functions."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from chispa import assert_df_equality
from pyspark.sql import functions as F
from scipy.sparse import csr_matrix

from recsys_spark.als.weighting import weigh
from recsys_spark.errors import ContractError
from recsys_spark.kernels.als.spec import resolve_spec
from recsys_spark.kernels.als.weights import unobserved_weights
from tests.als.samples import by_row, dense_table, normal_factors, ratings
from tests.als.samples import frame_of as plain_frame
from tests.reference import dense_wals as dense
from tests.reference.weighting import weigh_rows

SCHEMA = "user long, item long, value double"
WEIGHED = "user long, item long, a float, b float"
START = datetime(2024, 1, 1)
VALUES = [3.0, 0.5, 0.0, -2.0]


def sample(seed=0, count=60):
    """Rows with zeros, dislikes and pairs that occur twice; ids are not dense."""
    rng = np.random.default_rng(seed)
    return [
        {
            "user": int(10 * rng.zipf(1.6) % 70),
            "item": int(rng.integers(12) ** 2),
            "value": float(rng.integers(-1, 6)),
            "day": float(rng.integers(0, 400)),
            "weight": float(rng.integers(0, 5)) / 2,
            "target": float(rng.normal()),
        }
        for _ in range(count)
    ]


def frame_of(spark, rows, *optional):
    columns = {"day": "timestamp timestamp", "weight": "weight double", "target": "target double"}
    data = [
        (row["user"], row["item"], row["value"], *(_cell(row, key) for key in optional))
        for row in rows
    ]
    return spark.createDataFrame(data, ", ".join([SCHEMA, *(columns[key] for key in optional)]))


def _cell(row, key):
    return START + timedelta(row[key]) if key == "day" else row[key]


def without(rows, *keys):
    return [{key: value for key, value in row.items() if key not in keys} for row in rows]


def found(frame):
    """Rows as sorted tuples, so that equal pairs may stand in any order."""
    return np.array(sorted(map(tuple, frame.collect())), dtype=float)


def looped(rows, spec, context=None):
    pairs = weigh_rows(rows, spec, context)
    named = zip(rows, pairs, strict=True)
    return np.array(sorted((row["user"], row["item"], *pair) for row, pair in named))


def assert_weighed(frame, rows, spec, context=None, context_rows=None):
    actual, wanted = found(weigh(frame, spec, context)), looped(rows, spec, context_rows)
    np.testing.assert_allclose(actual, wanted, rtol=1e-6, atol=1e-7)


OBJECTIVES = {
    "binary": ("ials", {}),
    "linear": ("hu2008", {"alpha": 2.0}),
    "log": ("ials", {"weighting": "log", "alpha": 3.0, "epsilon": 0.5}),
    "power": ("hu2008", {"weighting": "power", "alpha": 3.0, "exponent": 0.3}),
    "bm25": ("ials", {"weighting": "bm25", "alpha": 2.0, "bm25_k1": 5.0, "bm25_b": 0.6}),
    "tfidf": ("ials", {"weighting": "tfidf", "target": "unit"}),
    "user_frequency": ("ials", {"user_frequency_exponent": -0.5}),
    "item_frequency": ("hu2008", {"item_frequency_exponent": -1.0}),
    "negatives": ("mllib", {"alpha": 4.0, "negative_alpha": 0.5}),
    "binary_negatives": ("ials", {"negative_alpha": 7.0}),
    "threshold": ("ials", {"min_positive_value": 3.0}),
    "threshold_unobserved": ("hu2008", {"min_positive_value": 3.0, "negative_alpha": 0.0}),
    "unobserved_unit": ("hu2008", {"item_unobserved_exponent": 0.5}),
    "unobserved_value": ("tf_wals", {"user_unobserved_exponent": -0.3}),
    "total": ("implicit", {"alpha": 0.3}),
    "eals": ("ials", {"confidence": "total", "target": "unit", "item_unobserved_exponent": 0.4}),
    "together": (
        "ials",
        {
            "weighting": "bm25",
            "negative_alpha": 2.0,
            "user_frequency_exponent": -0.2,
            "item_frequency_exponent": 0.3,
            "user_unobserved_exponent": 0.2,
            "item_unobserved_exponent": 0.5,
            "target": "unit",
        },
    ),
    "explicit": ("mllib_explicit", {}),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_weighting_follows_its_definition(spark, name):
    rows, spec = sample(), resolve_spec(OBJECTIVES[name][0], **OBJECTIVES[name][1])
    assert_weighed(frame_of(spark, rows), without(rows, "day", "weight", "target"), spec)


def test_half_life_halves_and_the_newest_row_is_whole(spark):
    rows, spec = sample(1), resolve_spec("hu2008", half_life_days=90.0)
    rows = without(rows, "weight", "target")
    assert_weighed(frame_of(spark, rows, "day"), rows, spec)


def test_decay_counts_from_a_given_time_and_later_rows_are_new(spark):
    frame = spark.createDataFrame(
        [(1, 1, 1.0, START), (1, 2, 1.0, START + timedelta(20)), (1, 3, 1.0, START)],
        SCHEMA + ", timestamp timestamp",
    )
    for reference in ("2024-01-11", "2024-01-11T02:00+02:00"):
        spec = resolve_spec("ials", half_life_days=5.0, decay_reference=reference)
        weighed = spark.createDataFrame(
            [(1, 1, 0.25, 0.25), (1, 2, 1.0, 1.0), (1, 3, 0.25, 0.25)], WEIGHED
        )
        assert_df_equality(weigh(frame, spec), weighed, ignore_nullable=True, ignore_row_order=True)


def test_times_may_be_seconds(spark):
    rows, spec = without(sample(2), "weight", "target"), resolve_spec("ials", half_life_days=30.0)
    start = int(START.replace(tzinfo=UTC).timestamp())
    seconds = [(r["user"], r["item"], r["value"], start + int(86400 * r["day"])) for r in rows]
    frame = spark.createDataFrame(seconds, SCHEMA + ", timestamp long")
    assert_weighed(frame, rows, spec)


@pytest.mark.parametrize("missing", ["column", "value"])
def test_decay_without_times_is_refused_with_the_cure(spark, missing):
    rows = sample(count=3)
    frame = frame_of(spark, rows)
    if missing == "value":
        time = F.when(F.col("user") == rows[0]["user"], F.lit(START))
        frame = frame.withColumn("timestamp", time)
    with pytest.raises(ContractError, match=r"half_life_days.*remove that setting"):
        weigh(frame, resolve_spec("ials", half_life_days=30.0))


@pytest.mark.parametrize("preset", ["hu2008", "implicit", "tf_wals"])
def test_own_weights_multiply_and_own_targets_replace(spark, preset):
    rows = without(sample(3), "day")
    assert_weighed(frame_of(spark, rows, "weight", "target"), rows, resolve_spec(preset))


@pytest.mark.parametrize(
    ("column", "value"),
    [("weight", -1.0), ("weight", None), ("weight", float("nan")), ("target", float("inf"))],
)
def test_unusable_weights_and_targets_are_refused(spark, column, value):
    frame = spark.createDataFrame(
        [(1, 1, 1.0, 1.0), (1, 2, 1.0, value)], f"{SCHEMA}, {column} double"
    )
    with pytest.raises(ContractError, match=f"1 of 2 training rows have a {column}"):
        weigh(frame, resolve_spec("ials"))


@pytest.mark.parametrize(
    ("preset", "given", "a", "b"),
    [
        ("ials", {}, [1, 1, 1, 1], [1, 1, 0, 0]),
        ("ials", {"weighting": "linear", "alpha": 2.0}, [6, 1, 0, 4], [6, 1, 0, 0]),
        ("ials", {"target": "unit"}, [1, 1, 1, 1], [1.1, 1.1, 0, 0]),
        ("hu2008", {}, [120, 20, 0, 80], [121, 21, 0, 0]),
        ("mllib", {"alpha": 2.0}, [6, 1, 0, 4], [7, 2, 0, 0]),
        ("mllib", {"negative_alpha": 10.0}, [3, 0.5, 0, 20], [4, 1.5, 0, 0]),
        ("explicit", {}, [1, 1, 1, 1], [3, 0.5, 0, -2]),
        ("hu2008", {"target": "value", "alpha": 1.0}, [3, 0.5, 0, 2], [12, 0.75, 0, -6]),
        ("implicit", {}, [2, -0.5, -1, 1], [3, 0.5, 0, 0]),
        ("irspack", {}, [3, 0.5, 0, 2], [3, 0.5, 0, 0]),
        ("irspack", {"target": "unit"}, [3, 0.5, 0, 2], [4, 1.5, 0, 0]),
        ("lenskit", {}, [40, 40, 40, 40], [41, 41, 0, 0]),
        ("tf_wals", {"unobserved_weight": 0.5}, [1, 1, 1, 1], [4.5, 0.75, 0, -3]),
    ],
)
def test_weights_by_hand(spark, preset, given, a, b):
    frame = spark.createDataFrame([(1, at, value) for at, value in enumerate(VALUES)], SCHEMA)
    weighed = found(weigh(frame, resolve_spec(preset, **given)))
    np.testing.assert_allclose(weighed[:, 2:], np.array([a, b]).T, rtol=1e-6)


@pytest.mark.parametrize("weighting", ["bm25", "tfidf"])
def test_text_weightings_are_implicits(spark, weighting):
    peer = pytest.importorskip("implicit.nearest_neighbours")
    function = peer.bm25_weight if weighting == "bm25" else peer.tfidf_weight
    rng = np.random.default_rng(4)
    user, item = np.nonzero(rng.random((9, 7)) < 0.4)
    value = rng.integers(1, 20, len(user)).astype(float)
    theirs = function(csr_matrix((value, (item, user)))).tocsr()  # items are the documents
    rows = list(zip(user.tolist(), item.tolist(), value.tolist(), strict=True))
    spec = resolve_spec("ials", weighting=weighting)
    weighed = found(weigh(spark.createDataFrame(rows, SCHEMA), spec))
    assert (weighed[:, 2] > 0).all()
    expected = [theirs[i, u] for u, i in weighed[:, :2].astype(int)]
    np.testing.assert_allclose(weighed[:, 2], expected, rtol=1e-6)


def test_a_user_with_every_item_has_no_weight_where_users_are_weighed_by_rarity(spark):
    frame = spark.createDataFrame([(1, 1, 2.0), (1, 2, 2.0)], SCHEMA)
    weighed = found(weigh(frame, resolve_spec("ials", weighting="tfidf")))
    assert weighed[:, 2:].tolist() == [[0, 0], [0, 0]]


def test_bm25_of_items_whose_values_are_all_zero_is_zero(spark):
    frame = spark.createDataFrame([(1, 1, 0.0), (2, 2, 3.0), (2, 3, 1.0), (3, 4, 1.0)], SCHEMA)
    spec = resolve_spec("ials", weighting="bm25", bm25_b=1.0)
    weighed = found(weigh(frame, spec))
    assert weighed[0].tolist() == [1, 1, 0, 0]
    assert (weighed[1:, 2] > 0).all()


@pytest.mark.parametrize("name", ["bm25", "together", "user_frequency"])
@pytest.mark.parametrize("count", [0, 1])
def test_one_row_or_none_is_weighed(spark, name, count):
    spec = resolve_spec(OBJECTIVES[name][0], **OBJECTIVES[name][1])
    weighed = weigh(spark.createDataFrame([(1, 1, 0.0)][:count], SCHEMA), spec)
    assert weighed.schema.simpleString() == "struct<user:bigint,item:bigint,a:float,b:float>"
    assert np.isfinite(found(weighed)).all()
    assert weighed.count() == count


def test_statistics_come_from_the_context(spark):
    rows = without(sample(5), "weight", "target")
    spec = resolve_spec(
        "hu2008",
        weighting="bm25",
        half_life_days=60.0,
        item_frequency_exponent=-0.5,
        item_unobserved_exponent=0.5,
    )
    few = rows[:8]
    frames = (frame_of(spark, chosen, "day") for chosen in (few, rows))
    assert_weighed(next(frames), few, spec, next(frames), rows)


def test_columns_of_other_types_are_taken(spark):
    frame = frame_of(spark, [{"user": 1, "item": 2, "value": 3.0}])
    cast = frame.select(*(F.col(name).cast("int") for name in frame.columns))
    spec = resolve_spec("hu2008", user_frequency_exponent=1.0)
    assert_df_equality(weigh(cast, spec), weigh(frame, spec), ignore_nullable=True)


def test_partitions_and_order_do_not_change_the_weights(spark):
    rows, spec = sample(6), resolve_spec("ials", **OBJECTIVES["together"][1])
    frames = (
        frame_of(spark, rows),
        frame_of(spark, rows[::-1]).repartition(5),
    )
    np.testing.assert_array_equal(*(found(weigh(frame, spec)) for frame in frames))


def test_eals_is_a_total_confidence_and_unobserved_weights_by_popularity(spark):
    user, item, value = ratings(seed=9)
    table = dense_table((user, item, value))
    Y, counts = normal_factors(1, table.shape[1], 3).astype(float), (table > 0).sum(axis=0)
    spec = resolve_spec(
        "ials",
        unobserved_weight=0.2,
        confidence="total",
        target="unit",
        item_unobserved_exponent=0.4,
        nu=0.0,
        regularization=0.5,
    )
    missing = 0.2 * len(counts) * counts**0.4 / (counts**0.4).sum()  # c0 is w0 times the items
    np.testing.assert_allclose(0.2 * unobserved_weights(counts, 0.4), missing)
    a, b = np.zeros(table.shape), np.zeros(table.shape)
    weighed = found(weigh(plain_frame(spark, (user, item, value)), spec))
    pairs = tuple(weighed[:, :2].astype(int).T)
    a[pairs], b[pairs] = weighed[:, 2:].T
    for u, row in enumerate(by_row(table)):
        ours = dense.general_row(Y, missing + a[u], b[u], w0=0.0, L=0.5)
        np.testing.assert_allclose(ours, dense.eals_row(Y, row, missing, 1.0, 0.5), rtol=1e-5)
