"""What entries of lists say beside the item: when it was had, and why it is listed."""

from datetime import datetime

import numpy as np
import pytest

from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.trainer import fit_factors
from recsys_spark.errors import ConfigError
from recsys_spark.kernels.als.spec import resolve_spec
from recsys_spark.topn.business_rules import Policy
from recsys_spark.topn.catalog import with_factors
from recsys_spark.topn.explanation_inputs import (
    make_explainer,
    refuse_unexplained,
    weighted_history,
)
from recsys_spark.topn.recommend import make_lists, read_catalog
from recsys_spark.topn.request import ByFactors, Notes, Request

ROWS = [
    (user, item, float((user + item) % 5 + 1))
    for user in range(12)
    for item in range(15)
    if (user * 13 + item * 7 + (user ^ item) * 5) % 11 < 5
]
NEWCOMER = 99  # without factors


@pytest.fixture(scope="module")
def world(spark):
    """A model of the rows, and what lists of it are made of."""
    return {name: make_world(spark, preset) for name, preset in PRESETS.items()}


PRESETS = {
    "ials": {"preset": "ials"},
    "by_popularity": {"preset": "ials", "item_unobserved_exponent": 0.5},
    "mllib": {"preset": "mllib"},
    "ratings": {"preset": "mllib_explicit"},
}


def make_world(spark, settings):
    spec = resolve_spec(**settings, rank=4, iterations=3)
    history = spark.createDataFrame(ROWS, "user int, item int, value double").repartition(3)
    trained = fit_factors(history, spec, Plan())
    model = [
        getattr(trained, side).frame(spark).toDF("id", "factors").repartition(2)
        for side in ("user", "item")
    ]
    ids = spark.createDataFrame([(f"item{at}", at) for at in range(15)], "id string, index int")
    named = [(f"user{at}", at) for at in range(12)] + [("newcomer", NEWCOMER)]
    users = spark.createDataFrame(named, "user_id string, user int")
    catalog = with_factors(read_catalog(history, ids), model[1])
    return spec, history, model, catalog, users


def listed(world, name, n, **wanted):
    """Filled lists of the model."""
    _, _, model, catalog, users = world[name]
    request = Request(users, catalog, n, True, ByFactors(model[0]), **wanted)
    return make_lists(request).every().collect()


@pytest.mark.parametrize("name", PRESETS)
def test_contributions_of_a_user_sum_to_the_scores_of_the_model(world, name):
    spec, history, model, catalog, _ = world[name]
    explainer = make_explainer(catalog, model[1], history, spec)
    vectors = {row["id"]: row["factors"] for row in model[0].collect()}
    everything = np.arange(15, dtype=np.int32)
    for row in weighted_history(history, spec).collect():
        had = catalog.lookup.positions(np.array(row["known"]))
        a, b = (np.array(row[column], np.float32) for column in ("a", "b"))
        parts = explainer.parts(had, a, b, everything)
        scores = catalog.factors @ np.array(vectors[row["user"]])
        np.testing.assert_allclose(parts.sum(axis=0), scores, rtol=1e-4, atol=1e-5)


def test_reasons_are_items_that_the_user_has(world):
    spec, history, model, catalog, _ = world["ials"]
    explainer = make_explainer(catalog, model[1], history, spec)
    notes = Notes(known=weighted_history(history, spec), explainer=explainer, reasons=15)
    rows = listed(world, "ials", 4, seen=history, notes=notes)
    had = {f"user{u}": {f"item{i}" for user, i, _ in ROWS if user == u} for u in range(12)}
    for row in rows:
        for entry in row["recommendations"]:
            if row["source"] == "popular":
                assert entry["because"] is None
            elif row["source"] == "model":
                because = entry["because"]
                assert {reason["item_id"] for reason in because} <= had[row["user_id"]]
                parts = [reason["score"] for reason in because]
                assert parts == sorted(parts, reverse=True)
                assert all(part > 0 for part in parts)
    assert {row["source"] for row in rows} >= {"model", "popular"}


def test_reasons_are_limited_and_the_same_on_any_partitions(world):
    spec, history, model, catalog, _ = world["ials"]
    texts = []
    for parts in (1, 5):
        rows = history.repartition(parts)
        explainer = make_explainer(catalog, model[1], rows, spec)
        notes = Notes(known=weighted_history(rows, spec), explainer=explainer, reasons=2)
        lists = listed(world, "ials", 3, seen=rows, notes=notes)
        texts.append(sorted(map(str, lists)))
        counts = {
            len(entry["because"])
            for row in lists
            for entry in row["recommendations"]
            if entry["because"] is not None
        }
        assert counts == {2}
    assert texts[0] == texts[1]


def test_entries_have_the_time_of_the_last_interaction(spark, world):
    when = datetime(2026, 3, 1)
    had = spark.createDataFrame(
        [(0, 3, when), (0, 14, None), (5, 1, when)], "user int, item int, timestamp timestamp"
    )
    rows = listed(world, "ials", 15, notes=Notes(history=had))
    marked = {
        (row["user_id"], entry["item_id"])
        for row in rows
        for entry in row["recommendations"]
        if entry["last_interaction"] is not None
    }
    assert marked == {("user0", "item3"), ("user5", "item1")}


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"preset": "mllib_explicit", "biases": "learned"}, "biases"),
        ({"preset": "ials", "nonnegative": True}, "nonnegative"),
        ({"preset": "ials", "user_unobserved_exponent": 0.5}, "user_unobserved_exponent"),
    ],
)
def test_objectives_without_such_parts_are_refused(settings, key):
    with pytest.raises(ConfigError, match=rf"^reasons does not know {key}; set reasons: 0"):
        refuse_unexplained(resolve_spec(**settings))


def test_segments_reserved_slots_and_discounts_reach_the_lists(spark, world):
    """Through the stage, on the model: each rule by what it must change."""
    segments = spark.createDataFrame(
        [(f"user{at}", "even" if at % 2 == 0 else "odd") for at in range(12)]
        + [("newcomer", "even")],
        "user_id string, segment string",
    )
    allowed = spark.createDataFrame([("odd", 2), ("odd", 9)], "segment string, item int")
    new = spark.createDataFrame([(13,), (14,)], "item int")
    popular = spark.createDataFrame(
        [("even", 7, 0.5), ("even", 4, 0.75)], "segment string, item int, share double"
    )
    policy = Policy(
        segments=segments,
        allowed_in=allowed,
        popular_in=popular,
        new_items=new,
        new_slots=1,
        popularity_discount=0.5,
    )
    rows = listed(world, "ials", 5, policy=policy)
    lists = {row["user_id"]: [e["item_id"] for e in row["recommendations"]] for row in rows}
    sources = {row["user_id"]: row["source"] for row in rows}
    assert lists["newcomer"][:2] == ["item4", "item7"]
    assert sources["newcomer"] == "popular_in_segment+popular"
    for user in range(12):
        own = lists[f"user{user}"]
        if user % 2:
            assert set(own) == {"item2", "item9"}, "no more than the segment is allowed"
        else:
            assert len(own) == 5
            assert {"item13", "item14"} & set(own)
