"""Users, items and lists as one run's tables have them."""

import pyarrow as pa
import pytest

from recsys_spark.errors import ConfigError
from recsys_spark.storage.local import local_tables
from recsys_spark.web.lookups import HISTORY, Interaction, Item, Lookups
from tests.versions import write_version
from tests.web.shop import ITEMS, LISTED, USERS, day, write_shop

TEA = Item("tea", "Tea", ("hot", "leaves"))
CUP = Item("cup", "Cup & <b>saucer</b>")


def lookups(root):
    tables = local_tables(str(root))
    return Lookups(tables, tables.version("recommendations", "night-1"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return lookups(write_shop(tmp_path_factory.mktemp("shop")))


def test_a_user_has_a_history_newest_first_and_a_list_best_first(shop):
    user = shop.user("ann")
    assert user.history == (
        Interaction(Item("gone"), 1.0, day(3)),
        Interaction(CUP, 5.0, day(2)),
        Interaction(TEA, 4.5, day(1)),
    )
    assert user.interactions == 3
    assert (user.recommended.source, user.recommended.model_version) == ("model", "night-0")
    first, second = user.recommended.entries
    assert (first.rank, first.item.name, first.because) == (1, "Jam", (TEA, CUP))
    assert first.last_interaction == day(20)
    assert (second.rank, second.item.name, second.because) == (2, "pot/1", ())
    assert second.last_interaction is None


def test_without_times_a_history_is_highest_first(tmp_path):
    history = lookups(write_shop(tmp_path, timed=False)).user("ann").history
    assert [row.value for row in history] == [5.0, 4.5, 1.0]


@pytest.mark.parametrize("user", LISTED)
def test_ids_of_any_kind_are_found(shop, user):
    assert shop.user(user).id == user


@pytest.mark.parametrize("user", ["", "nobody", "late", "ANN", "ann ", "x" * 2999, "\0"])
def test_users_without_history_and_list_are_unknown(shop, user):
    assert shop.user(user) is None


def test_item_has_users_and_similar_items(shop):
    found = shop.item("tea")
    assert (found.item, found.users) == (TEA, 2)
    assert [(entry.rank, entry.item.name) for entry in found.similar] == [
        (1, "pot/1"),
        (2, CUP.name),
    ]


def test_items_may_lack_a_name_or_users(shop):
    assert shop.item("gone").item == Item("gone")
    assert shop.item("gone").users == 1
    assert (shop.item("bun").users, shop.item("bun").similar) == (0, ())
    assert shop.item("tee") is None


def test_names_reasons_and_similar_items_are_optional(tmp_path):
    shop = lookups(write_shop(tmp_path, plain=True))
    assert shop.user("ann").history[0].item.name == "gone"
    assert shop.user("ann").recommended.entries == ()
    assert shop.item("tea").similar == ()
    assert shop.sizes == {
        "interactions": 4,
        "user_ids": len(USERS),
        "item_ids": len(ITEMS) + 1,
        "recommendations": len(LISTED),
    }


def test_sources_come_with_their_first_users(shop):
    first, *others = shop.sources
    assert (first.name, first.lists, first.users) == ("model", 4, tuple(LISTED[:4]))
    assert {source.name: source.users for source in others} == {
        "popular": (LISTED[4],),
        "fold_in+popular": (LISTED[5],),
    }


def test_whole_numbers_are_ids_as_well_and_long_histories_are_cut(tmp_path):
    made = {"ingest": "night-1"}
    count = HISTORY + 30
    zeros, items = pa.array([0] * count, pa.int32()), pa.array(range(count), pa.int32())
    events = {
        "user_id": pa.array([7] * count, pa.int64()),
        "item_id": pa.array(range(count), pa.int64()),
        "value": pa.array([1.0] * count),
        "timestamp": pa.array([None] * count, pa.timestamp("us", tz="UTC")),
        "user": zeros,
        "item": items,
    }
    write_version(tmp_path, "interactions", "night-1", pa.table(events), made)
    one = pa.table({"id": [7], "index": zeros[:1]})
    write_version(tmp_path, "user_ids", "night-1", one, made)
    many = pa.table({"id": range(count), "index": items})
    write_version(tmp_path, "item_ids", "night-1", many, made)
    entry = pa.struct([("item_id", pa.int64()), ("score", pa.float32()), ("rank", pa.int32())])
    nobody = {"user_id": pa.int64(), "recommendations": pa.list_(entry), "source": pa.string()}
    empty = pa.schema(nobody | {"model_version": pa.string()}).empty_table()
    write_version(tmp_path, "recommendations", "night-1", empty, made)
    shop = lookups(tmp_path)
    user = shop.user("7")
    assert (len(user.history), user.interactions, user.recommended) == (HISTORY, count, None)
    assert [row.item.id for row in user.history[:3]] == [0, 1, 2]
    assert shop.item("79").users == 1
    assert shop.user("seven") is shop.user("8") is shop.item(str(count)) is None
    assert shop.sources == []


def test_lists_whose_interactions_are_gone_are_refused(tmp_path):
    folder = write_shop(tmp_path) / "tables/interactions/versions/night-1"
    (folder / "_manifest.json").unlink()
    with pytest.raises(ConfigError, match="interactions has no complete version night-1"):
        lookups(tmp_path)
