"""A policy from its files to the lists, and what the run says that it removed."""

import pyarrow.parquet as pq
import pytest

from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.pipeline.context import Run
from recsys_spark.pipeline.stage_graph import STAGES
from tests.pipeline.pipeline_runs import run_in, write_source

UPSTREAM = STAGES[:3]
ITEMS = range(1, 26)
DENIED, GONE, BLOCKED = {1, 2}, {3}, {(1, 4), (1, 5), (777, 6)}


@pytest.fixture(scope="module")
def shop(spark, tmp_path_factory):
    """A trained run, and the files of its policies; the folder."""
    folder = tmp_path_factory.mktemp("shop")
    write_source(folder)
    titles = (f"{item},Film {item},{'Drama|War' if item % 5 else 'Comedy'}\n" for item in ITEMS)
    (folder / "items.csv").write_text("item_id,title,genres\n" + "".join(titles))
    denied = "".join(f"{item}\n" for item in [*sorted(DENIED), "unheard of"])
    (folder / "deny.csv").write_text(f"item_id\n{denied}")
    windows = "3,2026-01-01,2026-02-01\n4,2026-01-01,\n"
    (folder / "windows.csv").write_text(f"item_id,available_from,available_until\n{windows}")
    pairs = "".join(f"{user},{item}\n" for user, item in sorted(BLOCKED))
    (folder / "blocked.csv").write_text(f"user_id,item_id\n{pairs}")
    (folder / "users.csv").write_text("user_id\n1\n2\n777\n")
    run_in(folder, *named(folder), stages=UPSTREAM, run_id="trained")
    return folder


def named(folder):
    return f"items.path={folder / 'items.csv'}", "items.columns.genres=genres"


def recommend(folder, *settings, run_id):
    outcome = run_in(folder, *named(folder), *settings, stages=("recommend",), run_id=run_id)
    rows = pq.read_table(folder / "root/tables/recommendations/versions" / run_id).to_pylist()
    lists = {
        row["user_id"]: [int(entry["item_id"]) for entry in row["recommendations"]] for row in rows
    }
    return lists, outcome.records["recommend"].summary


def test_business_rules_hold_together(shop):
    lists, summary = recommend(
        shop,
        "recommend.n=25",
        "recommend.exclude_seen=false",
        f"recommend.users.path={shop / 'users.csv'}",
        f"recommend.policy.deny.path={shop / 'deny.csv'}",
        f"recommend.policy.available.path={shop / 'windows.csv'}",
        "recommend.policy.available.at=2026-03-01",
        f"recommend.policy.blocked.path={shop / 'blocked.csv'}",
        "recommend.policy.max_per_genre=7",
        run_id="ruled",
    )
    assert set(lists) == {1, 2, 777}
    for user, items in lists.items():
        assert not set(items) & (DENIED | GONE), user
        assert not {(user, item) for item in items} & BLOCKED
        assert sum(item % 5 != 0 for item in items) == 7, "of the dramas, as many as may be"
        comedies = {5, 10, 15, 20, 25} - {item for other, item in BLOCKED if other == user}
        assert {item for item in items if item % 5 == 0} == comedies
    effect = summary["policy"]
    assert effect["removed_items"] == {"denied": 2, "unavailable": 1}
    assert effect["blocked_pairs"] == 3
    assert effect["skipped_for_genre"] > 0
    assert effect["scores_computed"] > 0
    assert summary["short_lists"] == 3


def test_allow_list_limits_lists(shop):
    (shop / "allow.csv").write_text("item_id\n8\n9\n")
    setting = f"recommend.policy.allow.path={shop / 'allow.csv'}"
    lists, summary = recommend(shop, setting, run_id="allowed")
    assert set().union(*lists.values()) <= {8, 9}
    assert len(lists) == 30, "who gets nothing has an empty list, and is counted"
    assert summary["policy"]["removed_items"] == {"not_allowed": 23}


def test_an_item_needs_as_many_users_as_are_asked_for(shop):
    """Every film has 20 users."""
    for least, counts, empty in ((20, {}, 0), (21, {"with_too_few_users": 25}, 30)):
        setting = f"recommend.policy.min_users={least}"
        lists, summary = recommend(
            shop, setting, "recommend.exclude_seen=false", run_id=f"users-{least}"
        )
        assert summary["policy"]["removed_items"] == counts
        assert sum(not items for items in lists.values()) == empty


def test_a_least_score_leaves_slots_to_what_is_popular(shop):
    lists, summary = recommend(shop, "recommend.policy.min_score=99", "recommend.n=3", run_id="low")
    assert summary["sources"] == {"popular": 30}
    assert summary["policy"]["slots_below_min_score"] == 60, "ten users have seen everything"
    lists, _ = recommend(
        shop, "recommend.policy.min_score=99", "recommend.backfill=false", run_id="none"
    )
    assert not any(lists.values())


def test_seen_days_lets_older_items_be_listed_again(shop):
    """Times are 1000 seconds an item: within 8000 s of the newest event are the last items."""
    lists, _ = recommend(shop, "recommend.seen_days=0.1", "recommend.n=25", run_id="again")
    since = 25_030 - 8640  # seconds
    for user, items in lists.items():
        recent = {item for item in ITEMS if 1000 * item + user >= since}
        seen = {item for item in recent if (user * 5 + item * item) % 3}
        assert set(items) == set(ITEMS) - seen, user


def test_similar_items_keep_the_policy(shop):
    """In a table of their own: twenty users have seen each film, so that all are known enough."""
    recommend(
        shop,
        "recommend.similar_items.n=4",
        "recommend.similar_items.min_users=20",
        f"recommend.policy.deny.path={shop / 'deny.csv'}",
        run_id="alike",
    )
    rows = pq.read_table(shop / "root/tables/similar_items/versions/alike").to_pylist()
    assert len(rows) == 25
    for row in rows:
        listed = [int(entry["item_id"]) for entry in row["similar"]]
        assert len(set(listed)) == 4
        assert int(row["item_id"]) not in listed
        assert not set(listed) & DENIED
        scores = [entry["score"] for entry in row["similar"]]
        assert scores == sorted(scores, reverse=True)
        assert -1 <= scores[-1] <= scores[0] <= 1.000001


def test_few_users_are_too_few_to_be_like_anything(shop):
    settings = ["recommend.similar_items.n=4", "recommend.similar_items.min_users=21"]
    recommend(shop, *settings, run_id="unknown")
    rows = pq.read_table(shop / "root/tables/similar_items/versions/unknown").to_pylist()
    assert [row["similar"] for row in rows] == [[]] * 25


def test_a_changed_file_is_another_input(shop):
    setting = f"recommend.policy.deny.path={shop / 'today.csv'}"
    (shop / "today.csv").write_text("item_id\n8\n")
    recommend(shop, setting, run_id="morning")
    (shop / "today.csv").write_text("item_id\n8\n10\n")
    with pytest.raises(ConfigError, match="made from other input"):
        recommend(shop, setting, run_id="morning")


@pytest.mark.parametrize(
    ("setting", "text", "error", "cure"),
    [
        ("deny", None, ConfigError, r"recommend\.policy\.deny\.path is .*does not exist"),
        (
            "deny",
            "sku\n1\n",
            ContractError,
            r"no column 'item_id' \(recommend\.policy\.deny\.column",
        ),
        ("available", "item_id,available_from,available_until\n1,soon,\n", ContractError, "soon"),
        (
            "blocked",
            "user_id\n1\n",
            ContractError,
            r"no column 'item_id' \(recommend\.policy\.block",
        ),
    ],
)
def test_files_that_cannot_be_read_say_what_to_mend(shop, setting, text, error, cure):
    path = shop / "bad.csv"
    path.unlink(missing_ok=True)
    if text:
        path.write_text(text)
    with pytest.raises(error, match=cure):
        recommend(shop, f"recommend.policy.{setting}.path={path}", run_id="bad")


def test_a_rule_on_genres_without_genres_is_refused(shop, monkeypatch):
    has = Run.has
    monkeypatch.setattr(Run, "has", lambda run, table: table != "items" and has(run, table))
    with pytest.raises(ConfigError, match=r"max_per_genre needs the items' genres"):
        recommend(shop, "recommend.policy.max_per_genre=2", run_id="nameless")
