"""Popularity within segments of users: fitted, measured, delivered and searched."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from recsys_spark.config import Config
from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.run_choice import Options
from recsys_spark.pipeline.tune import tune
from recsys_spark.runtime.log import Log
from recsys_spark.settings import load_config
from recsys_spark.topn import models
from tests.pipeline.pipeline_runs import run_in, write_source

COUNTRIES = {user: "NORTH" if user < 12 else "süd, =" for user in range(1, 28) if user != 7}
UPSTREAM = ("ingest", "split", "train")


def country(user):
    """Of users of the table; 30 has two, of which the first by its text counts."""
    return {30: "NORTH"}.get(user, COUNTRIES.get(user))


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    table = tmp_path_factory.mktemp("users") / "users.csv"
    rows = [f'{user},"{name}",d{user % 2}\n' for user, name in COUNTRIES.items()]
    rows += ["7,,d0\n", "30,zzz,\n", "30,NORTH,\n", "1001,NORTH,d1\n", "1002,EAST,d1\n"]
    table.write_text("user_id,country,device\n" + "".join(rows))
    return (
        f"evaluate.users.path={table}",
        "evaluate.users.columns=[country, device]",
        "models.local={kind: popularity, segment_by: country}",
        "models.sold={kind: popularity}",
        "models.near={kind: item_knn, neighbours: 5}",
        "models.mix={kind: blend, parts: {near: 1, local: 0.5}, method: standardised}",
        "recommend.model=local",
        "recommend.n=6",
        "recommend.backfill=false",
    )


@pytest.fixture(scope="module")
def trained(spark, tmp_path_factory, settings):
    folder = tmp_path_factory.mktemp("shop")
    write_source(folder)
    run_in(folder, *settings, stages=UPSTREAM, run_id="night")
    return folder


def table(folder, name, version="night"):
    return pq.read_table(folder / "root/tables" / name / "versions" / version).to_pylist()


def popular(rows, name, ids):
    """Counts of items among users of a country, or of all where it has none: the slow way."""
    counts = {}
    among = [row for row in rows if name is not None and country(ids[row["user"]]) == name]
    for row in among or rows:
        counts[row["item"]] = counts.get(row["item"], 0) + 1
    return counts


def test_lists_are_the_items_that_most_users_of_the_segment_have(trained, settings):
    run_in(trained, *settings, stages=("recommend",), run_id="listed")
    ids = {row["index"]: row["id"] for row in table(trained, "user_ids")}
    items = {row["id"]: row["index"] for row in table(trained, "item_ids")}
    fitted, known = table(trained, "train"), {}
    for row in table(trained, "interactions"):
        known.setdefault(row["user_id"], set()).add(row["item_id"])
    lists = {row["user_id"]: row for row in table(trained, "recommendations", "listed")}
    assert len(lists) == 30
    made = 0
    for user, row in lists.items():
        counts = popular(fitted, country(user), ids)
        named = [(name, counts[at]) for name, at in items.items() if at in counts]
        left = sorted(
            (pair for pair in named if pair[0] not in known[user]),
            key=lambda pair: (-pair[1], pair[0]),
        )
        found = [(entry["item_id"], entry["score"]) for entry in row["recommendations"]]
        assert found == left[:6]
        made += len(found)
    assert made > 60
    assert {row["source"] for row in lists.values() if row["recommendations"]} == {"local"}


def test_segment_popularity_is_measured_by_its_own_lists(trained, settings):
    full = "evaluate.full_ranking=true"
    run_in(trained, *settings, full, stages=("evaluate",), run_id="night")
    rows = table(trained, "metrics_per_user")
    assert {row["model"] for row in rows} >= {"local", "sold", "mix"}
    index = {row["id"]: row["index"] for row in table(trained, "user_ids")}
    ids = {at: user for user, at in index.items()}
    names = {row["index"]: row["id"] for row in table(trained, "item_ids")}
    fitted = table(trained, "train")
    train, test = ({}, {})
    for part, found in (("train", train), ("test", test)):
        for row in table(trained, part):
            found.setdefault(row["user"], set()).add(row["item"])
    checked = 0
    for row in rows:
        if row["model"] != "local" or row["segment"] != "all" or row["k"] != 5:
            continue
        user = index[row["user_id"]]
        counts = popular(fitted, country(row["user_id"]), ids)
        left = [item for item in counts if item not in train.get(user, set())]
        best = sorted(left, key=lambda item: (-counts[item], names[item]))[:5]
        hits = len(set(best) & test[user])
        assert row["recall"] == pytest.approx(hits / len(test[user]))
        checked += 1
    assert checked > 10
    one, other = (
        {row["user_id"]: row["auc"] for row in rows if row["model"] == name and row["k"] is None}
        for name in ("local", "sold")
    )
    assert any(one[user] != other[user] for user in one)
    for user in ids.values():  # of no country, or of one without users
        if country(user) is None and user in one:
            assert one[user] == pytest.approx(other[user], nan_ok=True)


def test_new_users_get_what_is_popular_in_their_segment(spark, tmp_path, settings):
    source = write_source(tmp_path)
    run_in(tmp_path, *settings, stages=UPSTREAM, run_id="night")
    with source.open("a") as file:
        file.write(f"1001,3,5,{1_600_500_000}\n1002,3,5,{1_600_500_001}\n")
    asked = tmp_path / "asked.csv"
    asked.write_text("user_id\n1\n1001\n1002\n7\n5555\n")
    run_in(tmp_path, *settings, stages=("ingest",), run_id="later")
    chosen = (*settings, f"recommend.users.path={asked}", "recommend.exclude_seen=false")
    run_in(tmp_path, *chosen, stages=("recommend",), run_id="later")
    lists = {
        row["user_id"]: row["recommendations"]
        for row in table(tmp_path, "recommendations", "later")
    }
    assert lists[1001] == lists[1] != lists[7]
    assert lists[1002] == lists[5555] == lists[7]


def test_a_changed_table_of_users_is_another_training(trained, settings):
    again = run_in(trained, *settings, stages=UPSTREAM, run_id="night")
    assert again.unchanged
    path = Path(next(text for text in settings if "users.path" in text).partition("=")[2])
    before = path.read_text()
    try:
        path.write_text(f"{before}28,NORTH,d1\n")
        with pytest.raises(ConfigError, match="night"):
            run_in(trained, *settings, stages=("train",), run_id="night")
    finally:
        path.write_text(before)


def test_segment_popularity_is_searched_by_its_column(trained, settings, tmp_path):
    base = [
        f"paths.root={tmp_path / 'root'}",
        f"ingest.source.path={trained / 'ratings.csv'}",
        "ingest.source.user_id_type=long",
        "split.validation_fraction=0.2",
        "tune.method=grid",
        "tune.space={models.local.segment_by: [country, device]}",
        "tracking.backend=none",
    ]
    config = load_config(overrides=[*base, *settings])
    tuned = tune(config, Options("search"), Log([]))
    assert [trial.settings for trial in tuned.trials] == [
        {"models.local.segment_by": "country"},
        {"models.local.segment_by": "device"},
    ]
    assert len({trial.value for trial in tuned.trials}) == 2
    assert np.isfinite([trial.value for trial in tuned.trials]).all()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"kind": "popularity", "segment_by": "city"}, "evaluate.users.columns"),
        ({"kind": "item_knn", "segment_by": "city"}, "segment_by has no effect"),
    ],
)
def test_segment_popularity_refuses_missing_columns(model, reason):
    with pytest.raises(ValueError, match=reason):
        Config.model_validate({"models": {"local": model}})


def test_too_many_segments_for_the_workers_are_refused(trained, settings, monkeypatch):
    monkeypatch.setattr(models, "_SCORE_BYTES", 2**20)
    small = (*settings, "solver.broadcast_budget_mb=1")
    with pytest.raises(ConfigError, match="take a column with fewer values"):
        run_in(trained, *small, stages=("recommend",), run_id="large")
