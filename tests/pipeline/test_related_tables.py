"""Through the whole stage: segments, reserved slots, notes, groups, and lists that are kept."""

import csv
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from recsys_spark.cli.show import show_table
from recsys_spark.errors import AuditError, ConfigError
from recsys_spark.pipeline import list_request, related_tables
from recsys_spark.pipeline.stage_graph import STAGES
from recsys_spark.runtime.log import Log
from recsys_spark.settings import load_config
from recsys_spark.topn.recommend import Lists
from tests.pipeline.pipeline_runs import ROWS, run_in, write_source

UPSTREAM = STAGES[:3]


@pytest.fixture(scope="module")
def shop(spark, tmp_path_factory):
    """A trained run with published lists; the folder."""
    folder = tmp_path_factory.mktemp("shop")
    write_source(folder)
    run_in(folder, stages=UPSTREAM, run_id="trained")
    run_in(folder, stages=("recommend", "publish"), run_id="trained")
    return folder


def table(folder, run_id, name="recommendations"):
    return pq.read_table(folder / f"root/tables/{name}/versions" / run_id).to_pylist()


def recommend(folder, *settings, run_id):
    outcome = run_in(folder, *settings, stages=("recommend",), run_id=run_id)
    return table(folder, run_id), outcome.records["recommend"].summary


def items(row):
    return [int(entry["item_id"]) for entry in row["recommendations"]]


def test_segments_have_allow_lists_and_fill_with_what_is_popular_among_them(shop):
    people = "".join(f"{user},{'even' if user % 2 == 0 else 'odd'}\n" for user in range(1, 30))
    (shop / "people.csv").write_text(f"user_id,segment\n{people}30,even\n30,odd\nnobody,odd\n")
    (shop / "odd.csv").write_text("segment,item_id\nodd,3\nodd,8\nodd,unheard of\n")
    rows, summary = recommend(
        shop,
        f"recommend.segments.path={shop / 'people.csv'}",
        f"recommend.policy.allow_in_segment.path={shop / 'odd.csv'}",
        "recommend.exclude_seen=false",
        "recommend.policy.min_score=99",
        "recommend.n=6",
        run_id="segments",
    )
    lists = {row["user_id"]: items(row) for row in rows}
    assert len(lists) == 30, "who is in two segments has one list"
    among = [row.split(",") for row in ROWS if int(row.split(",")[0]) % 2 == 0]
    counts = {item: sum(int(row[1]) == item for row in among) for item in range(1, 26)}
    best = sorted(counts, key=lambda item: (-counts[item], str(item)))[:6]
    for user, listed in lists.items():
        if user % 2:
            assert set(listed) == {3, 8}, user
        elif user != 30:
            assert listed == best, user
    assert set(summary["sources"]) == {"popular_in_segment"}


def test_new_items_and_the_tail_have_their_slots(shop):
    """Times are 1000 s an item: within 8640 s of the newest event, items from 17 on are new."""
    rows, summary = recommend(
        shop,
        "recommend.exclude_seen=false",
        "recommend.n=5",
        "recommend.policy.new_items.slots=2",
        "recommend.policy.new_items.days=0.1",
        "recommend.policy.tail_items.slots=1",
        "recommend.policy.tail_items.share=0.3",
        run_id="reserved",
    )
    counts = {item: sum(int(row.split(",")[1]) == item for row in ROWS) for item in range(1, 26)}
    order, so_far, tail = sorted(counts, key=lambda item: (counts[item], str(item))), 0, set()
    for item in order:
        so_far += counts[item]
        if so_far <= 0.3 * sum(counts.values()):
            tail.add(item)
    for row in rows:
        assert len(set(items(row))) == 5
        assert len({item for item in items(row) if item >= 17}) >= 2
        assert set(items(row)) & tail
    assert summary["policy"]["reserved_slots_filled"] > 0


def test_diversity_changes_lists_and_keeps_their_length(shop):
    settings = ["recommend.n=5", "recommend.exclude_seen=false"]
    plain, _ = recommend(shop, *settings, run_id="plain")
    varied, _ = recommend(shop, *settings, "recommend.policy.diversity=0.7", run_id="varied")
    assert all(len(set(items(row))) == 5 for row in varied)
    assert [items(row) for row in varied] != [items(row) for row in plain]


def test_entries_have_the_last_interaction_and_reasons(shop):
    rows, _ = recommend(
        shop,
        "recommend.exclude_seen=false",
        "recommend.last_interaction=true",
        "recommend.explain=2",
        "recommend.n=25",
        run_id="notes",
    )
    had = {(int(user), int(item)) for user, item, *_ in (row.split(",") for row in ROWS)}
    for row in rows:
        for entry in row["recommendations"]:
            pair = row["user_id"], int(entry["item_id"])
            assert (entry["last_interaction"] is not None) == (pair in had)
            assert len(entry["because"]) <= 2
            assert {(row["user_id"], int(why["item_id"])) for why in entry["because"]} <= had


def test_groups_and_like_minded_users_have_tables_of_their_own(shop):
    (shop / "groups.csv").write_text("group_id,user_id\nhome,1\nhome,4\nhome,unknown\nempty,x\n")
    recommend(
        shop,
        f"recommend.groups.path={shop / 'groups.csv'}",
        "recommend.groups.opinion=least_misery",
        "recommend.groups.member_scores=true",
        "recommend.similar_users.n=3",
        "recommend.n=4",
        run_id="together",
    )
    groups = {row["group_id"]: row for row in table(shop, "together", "group_recommendations")}
    assert set(groups) == {"home"}, "ids that are no users' are left out, as their type is"
    seen = {int(item) for user, item, *_ in (row.split(",") for row in ROWS) if user in ("1", "4")}
    assert len(items(groups["home"])) == 4
    assert not set(items(groups["home"])) & seen
    for entry in groups["home"]["recommendations"]:
        scores = {one["user_id"]: one["score"] for one in entry["member_scores"]}
        assert entry["score"] == min(scores[1], scores[4])
    config = load_config(overrides=[f"paths.root={shop / 'root'}"])
    shown = show_table(config, Log([]), "group_recommendations", "together", {}, 1, "csv")
    first = next(csv.DictReader(shown.splitlines()))
    best = groups["home"]["recommendations"][0]
    assert first["member_scores"] == ", ".join(
        f"{one['user_id']} {one['score']:.4f}" for one in best["member_scores"]
    )
    alike = table(shop, "together", "similar_users")
    assert len(alike) == 30
    for row in alike:
        others = [entry["user_id"] for entry in row["similar"]]
        assert len(set(others)) == 3
        assert row["user_id"] not in others


def test_a_file_of_no_users_makes_a_table_of_no_lists(shop):
    (shop / "header.csv").write_text("user_id\n")
    events = []
    asked = f"recommend.users.path={shop / 'header.csv'}"
    outcome = run_in(shop, asked, stages=("recommend",), run_id="empty", sinks=[events.append])
    assert table(shop, "empty") == []
    summary = outcome.records["recommend"].summary
    assert (summary["users"], summary["sources"], summary["sample"]) == (0, {}, [])
    assert any("recommend.users.path has no rows" in event["msg"] for event in events)


def test_similar_items_by_genre_need_genres(shop):
    settings = [
        "items.columns.genres=genres",
        "recommend.similar_items.n=3",
        "recommend.similar_items.genre_weight=0.2",
    ]
    with pytest.raises(
        ConfigError, match=r"genre_weight needs the genres of items: set items\.path"
    ):
        recommend(shop, *settings, run_id="no-genres")


def test_too_many_users_to_compare_are_refused(shop, monkeypatch):
    monkeypatch.setattr(related_tables, "MB", 1)  # thirty users of rank 4 are more than a byte
    settings = ["recommend.similar_users.n=3", "solver.broadcast_budget_mb=1"]
    with pytest.raises(ConfigError, match=r"raise solver\.broadcast_budget_mb"):
        recommend(shop, *settings, run_id="too-many")


def test_incremental_changed_users_alone_get_new_lists(shop):
    """User 1 has what was listed first; and user 7's list holds what is denied now."""
    yesterday = {row["user_id"]: row for row in table(shop, "trained")}
    denied = items(yesterday[7])[0]
    first = next(item for item in items(yesterday[1]) if item != denied)
    (shop / "deny.csv").write_text(f"item_id\n{denied}\n")
    (shop / "ratings.csv").write_text(
        "user_id,item_id,rating,timestamp\n" + "".join(ROWS) + f"1,{first},5,1600009999\n"
    )
    settings = [
        "recommend.changed_since=published",
        f"recommend.policy.deny.path={shop / 'deny.csv'}",
    ]
    run_in(shop, *settings, stages=("ingest",), run_id="tomorrow")
    run_in(shop, *settings, stages=("fold_in", "recommend"), run_id="tomorrow")
    rows = {row["user_id"]: row for row in table(shop, "tomorrow")}
    assert set(rows) == set(yesterday)
    kept = {user for user, row in rows.items() if row == yesterday[user]}
    assert kept == {user for user, row in yesterday.items() if denied not in items(row)} - {1}
    assert not any(denied in items(row) for row in rows.values())
    assert 7 not in kept
    assert first not in items(rows[1])


def test_lists_by_other_rules_do_not_stay(shop):
    settings = ["recommend.changed_since=trained", "recommend.n=10"]
    kept, _ = recommend(shop, *settings, run_id="same-rules")
    before = table(shop, "trained")
    assert sum(row in before for row in kept) >= 29
    rows, _ = recommend(
        shop, *settings, "recommend.policy.popularity_discount=0.9", run_id="other-rules"
    )
    assert len(rows) == 30
    assert sum(row in before for row in rows) < 15


def test_a_run_without_lists_cannot_be_built_on(shop):
    with pytest.raises(ConfigError, match="no complete version nowhere"):
        recommend(shop, "recommend.changed_since=nowhere", run_id="broken")


def test_a_table_with_a_fault_is_not_kept(shop, monkeypatch):
    made = Lists.of

    def twice(lists, rows):
        one = made(lists, rows)
        return replace(one, source=one.source.unionByName(one.source))

    monkeypatch.setattr(Lists, "of", twice)
    with pytest.raises(AuditError, match="are for a user who has another"):
        recommend(shop, "recommend.n=7", run_id="fault")
    assert not (shop / "root/tables/recommendations/versions/fault").exists()
    monkeypatch.undo()
    rows, _ = recommend(shop, "recommend.n=7", run_id="fault")
    assert len(rows) == 30, "the same command makes them again"


def test_items_whose_factors_do_not_fit_are_ranked_in_tiles(shop, monkeypatch):
    settings = ["recommend.n=6", "recommend.similar_items.n=4", "solver.broadcast_budget_mb=150"]
    whole, _ = recommend(shop, *settings, run_id="whole")
    monkeypatch.setattr(list_request, "MB", 1)  # 25 items of rank 4: 400 bytes, three tiles
    tiled, _ = recommend(shop, *settings, run_id="tiled")
    assert tiled == whole
    alike = [table(shop, run_id, "similar_items") for run_id in ("whole", "tiled")]
    assert alike[0] == alike[1]
    (shop / "home.csv").write_text("group_id,user_id\nhome,1\n")
    for needs in ("explain=1", f"groups.path={shop / 'home.csv'}"):
        with pytest.raises(ConfigError, match="are ranked in 3 tiles: raise solver"):
            recommend(shop, *settings, f"recommend.{needs}", run_id="refused")


def test_new_items_without_interactions_are_listed_by_their_genres(spark, tmp_path):
    """Two are new; who likes odd items better is shown the odd one. One that is denied is not."""
    write_source(tmp_path)
    kinds = "".join(
        f"{item},film {item},{'odd' if item % 2 else 'even'}\n" for item in range(1, 26)
    )
    (tmp_path / "films.csv").write_text(
        f"item_id,title,genres\n{kinds}901,odd one,odd\n902,even one,even\n903,denied,odd\n"
    )
    (tmp_path / "new.csv").write_text("item_id\n901\n902\n903\n901\n")
    (tmp_path / "denied.csv").write_text("item_id\n903\n")
    films = [f"items.path={tmp_path / 'films.csv'}", "items.columns.genres=genres"]
    run_in(tmp_path, *films, stages=UPSTREAM, run_id="films")
    rows, _ = recommend(
        tmp_path,
        *films,
        f"recommend.policy.new_items.path={tmp_path / 'new.csv'}",
        "recommend.policy.new_items.slots=1",
        "recommend.policy.new_items.days=null",
        f"recommend.policy.deny.path={tmp_path / 'denied.csv'}",
        "recommend.exclude_seen=false",
        "recommend.n=6",
        run_id="films",
    )
    users, factors = (
        {row["id"]: np.array(row["factors"]) for row in table(tmp_path, "films", f"{side}_factors")}
        for side in ("user", "item")
    )
    index = {row["id"]: row["index"] for row in table(tmp_path, "films", "user_ids")}
    names = {row["index"]: int(row["id"]) for row in table(tmp_path, "films", "item_ids")}
    means = {
        new: np.mean([own for at, own in factors.items() if names[at] % 2 == odd], axis=0)
        for new, odd in ((901, 1), (902, 0))
    }
    shown = {row["user_id"]: [item for item in items(row) if item > 900] for row in rows}
    for user, own in shown.items():
        scores = {new: float(users[index[user]] @ means[new]) for new in means}
        assert own == [max(scores, key=scores.__getitem__)], user
    assert {own[0] for own in shown.values()} == {901, 902}
