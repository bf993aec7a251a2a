"""What a user brings: columns of any name, ids of any numeric type, times, MLlib's parameters."""

import math
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import functions as F

from recsys_spark import WALS, WALSModel
from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.ml import columns
from tests.als.samples import factors_of, frame_of, ratings

GIVEN = {"objective": "explicit", "rank": 2, "maxIter": 1, "numBlocks": 1}


@pytest.fixture(scope="module")
def rated(spark):
    names = ("user", "item", "rating")
    return frame_of(spark, ratings(users=6, items=5), names, id_type="int").localCheckpoint()


@pytest.fixture(scope="module")
def fitted(rated):
    return WALS(**GIVEN).fit(rated)


def lists(frame):
    return {row[0]: [entry[0] for entry in row[1]] for row in frame.collect()}


def test_names_with_dots_and_backticks_are_taken_everywhere(rated, fitted):
    names = {"user": "the.user", "item": "an`item", "rating": "a.b.`c`"}
    odd = rated.withColumnsRenamed(names).withColumn("w.w", F.lit(1.0))
    given = {f"{key}Col": name for key, name in names.items()} | {"weightCol": "w.w"}
    wals = WALS(**GIVEN, **given, predictionCol="p.p", numItems=2, recommendationsCol="r.`r`")
    model = wals.fit(odd)
    np.testing.assert_array_equal(*(factors_of(each.userFactors)[1] for each in (model, fitted)))
    scored = model.transform(odd)
    assert scored.columns == [*odd.columns, "p.p", "r.`r`"]
    assert all(row["r.`r`"] is not None for row in scored.collect())
    some = odd.limit(3)
    found = model.recommendForUserSubset(some, 2, exclude=odd)
    assert found.dtypes[0] == ("the.user", "int")
    expected = fitted.recommendForUserSubset(rated.limit(3), 2, exclude=rated)
    assert lists(found) == lists(expected)
    assert model.recommendForItemSubset(some, 2).columns == ["an`item", "recommendations"]
    assert model.foldInUsers(odd.where("`the.user` = 2")).count() == 1


@pytest.mark.parametrize("kind", ["double", "float", "decimal(12,2)", "smallint"])
def test_whole_numbers_of_any_type_are_ids(rated, fitted, kind):
    other = rated.withColumns({name: F.col(name).cast(kind) for name in ("user", "item")})
    model = WALS(**GIVEN, numItems=2).fit(other)
    kept = "smallint" if kind == "smallint" else "bigint"
    assert model.userFactors.dtypes[0] == ("id", kept)
    for name in ("userFactors", "itemFactors"):
        one, same = (factors_of(getattr(each, name)) for each in (model, fitted))
        np.testing.assert_array_equal(one[1], same[1])
    scored = fitted.transform(other)
    assert scored.drop("prediction").schema == other.schema
    assert not scored.where("isnan(prediction)").count()
    assert {len(row["recommendations"]) for row in model.transform(other).collect()} <= {0, 1, 2}


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("double", 2.5, "2.5"),
        ("double", math.nan, "NaN"),
        ("double", None, "null"),
        ("double", 2.0**53, "9.007199254740992E15"),
        ("float", 2.0**24, "1.6777216E7"),
        ("decimal(6,2)", Decimal("3.25"), "3.25"),
    ],
)
def test_ids_that_are_no_whole_numbers_are_refused_by_value(spark, kind, value, shown):
    frame = spark.createDataFrame(
        [(1 if "decimal" not in kind else Decimal(1), 1, 1.0), (value, 2, 1.0)]
        if "decimal" in kind
        else [(1.0, 1, 1.0), (value, 2, 1.0)],
        f"user {kind}, item int, rating double",
    )
    with pytest.raises(ContractError, match=f"Column user is .* has {shown}; ids must be whole"):
        WALS(**GIVEN).fit(frame)


def test_values_may_be_booleans_and_no_text(spark, rated):
    flags = rated.withColumn("rating", F.col("rating") > 2)
    ones = flags.withColumn("rating", F.col("rating").cast("double"))
    one, other = (factors_of(WALS(**GIVEN).fit(each).itemFactors)[1] for each in (flags, ones))
    np.testing.assert_array_equal(one, other)
    with pytest.raises(ContractError, match=r"Column rating is string; .*try_cast"):
        WALS(**GIVEN).fit(rated.withColumn("rating", F.lit("five")))
    for again in ("user", "User"):
        with pytest.raises(ContractError, match=rf"the column user twice \(user, {again}\)"):
            WALS(**GIVEN).fit(rated.select("*", F.col("item").alias(again)))


def test_folded_ids_wider_than_the_model_are_kept(spark, rated, fitted):
    wide = rated.where("user = 1").withColumn("user", F.lit(2**40))
    folded = fitted.foldInUsers(wide)
    assert folded.dtypes == [("id", "bigint"), ("features", "array<float>")]
    assert [row["id"] for row in folded.collect()] == [2**40]
    assert fitted.foldInUsers(rated.where("user = 1")).dtypes[0] == ("id", "int")
    assert fitted.transform(wide).where("isnan(prediction)").count() == wide.count()


NOW = datetime.now(UTC).timestamp()


@pytest.mark.parametrize(
    ("scale", "unit"), [(1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nanoseconds")]
)
def test_times_in_another_unit_are_refused_naming_it(spark, scale, unit):
    frame = spark.createDataFrame([(int((NOW - 1e6) * scale),), (0,)], "at bigint")
    with pytest.raises(
        ContractError, match=f"1 rows have a time in column at .* looks like {unit}"
    ):
        columns.times(frame, "at")
    with pytest.raises(ContractError, match=unit):
        columns.times(frame.select(F.col("at").cast("double")), "at")


def test_times_are_seconds_and_timestamps(spark):
    frame = spark.createDataFrame(
        [(1_600_000_000, 1_600_000_000.5, datetime(2020, 9, 13, 12, 26, 40), None)],
        "whole int, part double, at timestamp, nothing double",
    )
    frame = frame.withColumns(
        {"day": F.col("at").cast("date"), "text": F.lit("2020-09-13 12:26:40"),
         "words": F.lit("yesterday"), "local": F.col("at").cast("timestamp_ntz"),
         "soon": F.lit(NOW + 3600), "late": F.lit(NOW + 1e6), "flag": F.lit(True),
         "later": F.current_timestamp() + F.expr("interval 3 days")}
    )  # fmt: skip
    names = ["whole", "part", "at", "day", "text", "words", "local", "soon", "nothing"]
    row = frame.select(*(columns.times(frame, name).alias(name) for name in names)).first()
    assert (row["whole"], row["part"], row["words"], row["nothing"]) == (
        1.6e9,
        1.6e9 + 0.5,
        None,
        None,
    )
    assert row["at"] == row["text"] == row["local"] == datetime(2020, 9, 13, 12, 26, 40)
    for name in ("late", "later"):
        with pytest.raises(ContractError, match=f"column {name} that is later than a day from now"):
            columns.times(frame, name)
    with pytest.raises(ContractError, match="flag is boolean; times are timestamps"):
        columns.times(frame, "flag")


def test_fit_refuses_milliseconds(rated):
    frame = rated.withColumn("at", F.lit(int(NOW * 1000)))
    with pytest.raises(ContractError, match=r"at .* looks like milliseconds"):
        WALS(objective="ials", rank=2, halfLifeDays=3.0, timestampCol="at").fit(frame)


MLLIB_ONLY = ("implicitPrefs", "numUserBlocks", "numItemBlocks", "blockSize", "checkpointInterval")
MLLIB_ONLY += ("intermediateStorageLevel", "finalStorageLevel")


def test_every_parameter_of_mllib_is_here_or_names_its_counterpart(spark):
    wals = WALS()
    for name in (param.name for param in ALS().params):
        accessor = name[0].upper() + name[1:]
        if name not in MLLIB_ONLY:
            assert wals.hasParam(name)
            assert hasattr(wals, f"set{accessor}")
            assert hasattr(wals, f"get{accessor}")
            continue
        cure = r"objective=|numBlocks|leave it out"
        with pytest.raises(TypeError, match=f"WALS has no {name}: .*({cure})"):
            WALS(**{name: 1})
        with pytest.raises(TypeError, match=cure):
            wals.setParams(**{name: None})
        for attribute in (name, f"set{accessor}", f"get{accessor}"):
            assert not hasattr(wals, attribute)
            with pytest.raises(ConfigError, match=f"WALS has no {attribute}: .*({cure})"):
                getattr(wals, attribute)
    with pytest.raises(ConfigError, match=r"no regparam; did you mean regParam\?$"):
        WALS(regparam=None)


@pytest.mark.parametrize(
    ("name", "parameter"), [("regularization", "regParam"), ("iterations", "maxIter")]
)
def test_parameters_named_as_keys_of_the_configuration_are_named(spark, name, parameter):
    with pytest.raises(ConfigError, match=rf"WALS has no {name}; here it is {parameter}\.$"):
        WALS(**{name: 1})


def test_every_setter_of_mllibs_model_is_here_or_names_its_counterpart(spark):
    model = WALSModel()
    setters = [name for name in vars(ALSModel) if name.startswith("set")]
    assert {"setUserCol", "setColdStartStrategy"} <= set(setters)
    for name in set(setters) - {"setBlockSize"}:
        assert getattr(model, name)("drop") is model
    assert model.getUserCol() == model.getColdStartStrategy() == "drop"
    assert not hasattr(model, "setBlockSize")
    with pytest.raises(AttributeError, match="WALSModel has no setBlockSize: leave it out"):
        model.setBlockSize(10)
