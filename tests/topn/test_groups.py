"""Lists of groups, against the scores of their members."""

import numpy as np
import pytest

from recsys_spark.topn.business_rules import Policy
from recsys_spark.topn.catalog import with_factors
from recsys_spark.topn.groups import group_lists
from recsys_spark.topn.recommend import read_catalog
from recsys_spark.topn.request import Request

DRAW = np.random.default_rng(8)
USERS = DRAW.integers(-3, 4, size=(6, 3)).astype(np.float32)
ITEMS = DRAW.integers(-3, 4, size=(10, 3)).astype(np.float32)
SEEN = [(0, 1), (0, 2), (1, 3), (4, 1), *((5, at) for at in range(10))]
GROUPS = {"home": [0, 1, 2], "alone": [4], "strangers": [None], "mixed": [3, None]}
JOINED = {"average": np.mean, "least_misery": np.min, "most_pleasure": np.max}


@pytest.fixture(scope="module")
def shop(spark):
    """Members, history, catalog and factors of users."""
    rows = [(group, f"user{user}", user) for group, users in GROUPS.items() for user in users]
    members = spark.createDataFrame(rows, "group_id string, user_id string, user int")
    history = spark.createDataFrame(SEEN, "user int, item int").repartition(3)
    ids = spark.createDataFrame([(f"i{at}", at) for at in range(10)], "id string, index int")
    model = tuple(
        spark.createDataFrame(list(enumerate(rows.tolist())), "id int, factors array<float>")
        for rows in (USERS, ITEMS)
    )
    return members, history, with_factors(read_catalog(history, ids), model[1]), model[0]


def expected(group, n, opinion, seen, left_out=()):
    known = [user for user in GROUPS[group] if user is not None]
    if not known:
        return None
    scores = JOINED[opinion](USERS[known].astype(float) @ ITEMS.T.astype(float), axis=0)
    scores = scores.astype(np.float32)
    out = {item for user, item in SEEN if user in known} if seen else set()
    order = sorted(set(range(10)) - out - set(left_out), key=lambda at: (-scores[at], at))
    return [(f"i{at}", pytest.approx(float(scores[at]), rel=1e-5)) for at in order[:n]]


def lists(frame):
    return {
        row["group_id"]: [(entry["item_id"], entry["score"]) for entry in row["recommendations"]]
        for row in frame.collect()
    }


def made(shop, n, fill, opinion, seen, policy=None, **options):
    """The groups' lists."""
    members, _, catalog, users = shop
    request = Request(members, catalog, n, fill, seen=seen, policy=policy or Policy())
    return group_lists(members, users, request, opinion, **options)


@pytest.mark.parametrize("opinion", JOINED)
def test_group_scores_combine_the_opinions_of_members(shop, opinion):
    found = lists(made(shop, 4, False, opinion, shop[1]))
    assert found.pop("strangers") == []
    assert found == {name: expected(name, 4, opinion, True) for name in found}


@pytest.mark.parametrize("opinion", JOINED)
def test_entries_say_what_they_score_for_each_member(shop, opinion):
    entries = 0
    for row in made(shop, 8, True, opinion, shop[1], member_scores=True).collect():
        known = [user for user in GROUPS[row["group_id"]] if user is not None]
        for entry in row["recommendations"]:
            if not known:
                assert entry["member_scores"] is None  # a popular item
                continue
            item = int(entry["item_id"][1:])
            scores = [one["score"] for one in entry["member_scores"]]
            assert [one["user_id"] for one in entry["member_scores"]] == [f"user{u}" for u in known]
            assert scores == [float(USERS[user] @ ITEMS[item]) for user in known]
            assert entry["score"] == pytest.approx(JOINED[opinion](scores), rel=1e-6)
            entries += 1
    assert entries > 15


def test_groups_of_unknown_members_get_popular_items(shop):
    rows = made(shop, 3, True, "average", None)
    sources = {row["group_id"]: row["source"] for row in rows.collect()}
    assert sources == {"home": "model", "alone": "model", "mixed": "model", "strangers": "popular"}
    assert [item for item, _ in lists(rows)["strangers"]] == ["i1", "i2", "i3"]


def test_group_lists_leave_out_items_blocked_by_a_member_or_removed(spark, shop):
    policy = Policy(
        removed=spark.createDataFrame([(7, "denied")], "item int, rule string"),
        blocked=spark.createDataFrame([("user2", 8)], "user_id string, item int"),
        diversity=0.5,
    )
    found = lists(made(shop, 9, False, "average", shop[1], policy=policy))
    assert found["home"] == expected("home", 9, "average", True, {7, 8})
    assert found["alone"] == expected("alone", 9, "average", True, {7})


def test_any_partitions_give_the_same(shop):
    shops = [(shop[0].repartition(parts), *shop[1:]) for parts in (1, 4)]
    texts = [sorted(map(str, made(own, 4, True, "average", shop[1]).collect())) for own in shops]
    assert texts[0] == texts[1]
