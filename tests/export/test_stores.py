"""Stores of lists: each has what was sent, old or new but whole, however often and however far."""

import json
import re
import shutil
import sqlite3
import sys
import threading
from contextlib import closing

import numpy as np
import psycopg
import pytest
import redis
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from recsys_spark import schema
from recsys_spark.errors import ConfigError, TransientError
from recsys_spark.export import ExportTable, Options, open_target
from tests.servers import PASSWORD, free_port

FILES = 4
WEEK = 7 * 24 * 60 * 60
ODD = ["a,b", 'say "hi"', "\\N", "\\.", " ä€😀 ", "it's", "x:y", "{}", "null", "%s"]
IDS = {"string": [*ODD, *(f"u{n}" for n in range(40))], "long": [-1, 0, *range(2**40, 2**40 + 48)]}
TABLES = ("recommendations", "similar_items")
CASES = [(table, kind) for table in TABLES for kind in IDS]


def lists_of(table, run_id, kind):
    """Every id with its list of 0 to 3 entries, whose scores tell the runs apart."""
    other = {"string": "long", "long": "string"}[kind] if table == "recommendations" else kind
    for at, owner in enumerate(IDS[kind]):
        scores = [float(np.float32(len(run_id) + 1 / rank)) for rank in range(1, at % 4 + 1)]
        yield owner, [(IDS[other][rank], s, rank) for rank, s in enumerate(scores, 1)]


def entries_of(table, run_id="first", kind="string"):
    """What readers should find: owner, rank, item, score, and the source of recommendations."""
    more = ("model",) if table == "recommendations" else ()
    return sorted(
        (owner, rank, item, score, *more)
        for owner, entries in lists_of(table, run_id, kind)
        for item, score, rank in entries
    )


def make_lists(spark, table="recommendations", run_id="first", kind="string"):
    own, other = (
        schema.ID_TYPES[name] for name in (kind, "long" if kind == "string" else "string")
    )
    rows = list(lists_of(table, run_id, kind))
    if table == "recommendations":
        frame = spark.createDataFrame(
            [(*row, "model", "v1") for row in rows], schema.recommendations(own, other)
        )
    else:
        frame = spark.createDataFrame(rows, schema.similar("item_id", own))
    return ExportTable(table, run_id, len(rows), FILES, frame.repartition(3))


def deliver(target, lists):
    """As the pipeline does; whether it was there."""
    held = target.exists(lists)
    if not held:
        target.write(lists)
    target.activate(lists)
    return held


class SqliteStore:
    """Reads as docs/serving.md says; so do the other two."""

    form = "sqlite"

    def __init__(self, path):
        self.address = str(path)

    def target(self):
        return open_target(self.form, self.address, Options())

    def read(self, table):
        with closing(sqlite3.connect(f"file:{self.address}?mode=ro", uri=True)) as file:
            return sorted(file.execute(f"SELECT * FROM {table}").fetchall())


class PostgresStore:
    form = "postgres"

    def __init__(self, url):
        self.address = url

    def target(self):
        return open_target(self.form, self.address, Options(connections=1))

    def rows(self, query):
        with psycopg.connect(self.address) as db:
            return db.execute(query).fetchall()

    def change(self, statement):
        with psycopg.connect(self.address) as db:
            db.execute(statement)

    def read(self, table):
        rows = self.rows(f"SELECT * FROM {table}")
        return sorted((*row[:3], float(np.float32(row[3])), *row[4:]) for row in rows)


def entry_of(entry):
    return entry["rank"], entry["item_id"], float(np.float32(entry["score"]))


class RedisStore:
    form = "redis"

    def __init__(self, url):
        self.address, self.client = url, redis.Redis.from_url(url, decode_responses=True)

    def target(self):
        return open_target(self.form, self.address, Options(connections=1))

    def keys(self, table, run_id):
        return [*self.client.scan_iter(f"recsys:{table}:{run_id}:*", count=1000)]

    def read(self, table):
        names, run_id = schema.LISTS[table], self.client.get(f"recsys:{table}:live")
        lists = [json.loads(text) for text in self.client.mget(self.keys(table, run_id))]
        assert all(len(one) == 2 + len(names.others) for one in lists)
        return sorted(
            (one[names.named], *entry_of(entry), *(one[name] for name in names.others))
            for one in lists
            for entry in one[names.lists]
        )


@pytest.fixture
def sqlite_store(tmp_path):
    return SqliteStore(tmp_path / "a folder" / "lists.db")


@pytest.fixture
def postgres_store(postgres_url):
    store = PostgresStore(postgres_url)
    store.change("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return store


@pytest.fixture
def redis_store(redis_url):
    store = RedisStore(redis_url)
    store.client.flushall()
    return store


@pytest.fixture(params=["sqlite_store", "postgres_store", "redis_store"])
def store(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(("table", "kind"), CASES)
def test_export_has_every_entry_of_the_table(spark, store, table, kind):
    target, lists = store.target(), make_lists(spark, table, kind=kind)
    assert not deliver(target, lists)
    assert store.read(table) == entries_of(table, kind=kind)
    place = target.location(lists)
    assert table in place
    assert "shop" not in place


def test_repeated_export_is_skipped(spark, store):
    lists = make_lists(spark)
    assert not deliver(store.target(), lists)
    broken = ExportTable(lists.table, lists.run_id, lists.count, FILES, spark.range(1))
    assert deliver(store.target(), broken), "the rows are not looked at"


def test_exports_of_both_tables_share_a_target(spark, store):
    for table, run_id in [(TABLES[0], "first"), (TABLES[1], "other"), (TABLES[0], "another")]:
        deliver(store.target(), make_lists(spark, table, run_id))
    assert store.read(TABLES[0]) == entries_of(TABLES[0], "another")
    assert store.read(TABLES[1]) == entries_of(TABLES[1], "other")


def test_readers_see_the_old_version_until_they_see_the_new_one(spark, store):
    """A reader that never stops asking, and writing and showing as two steps."""
    deliver(store.target(), make_lists(spark))
    seen, done = [], threading.Event()

    def ask():
        while not done.is_set():
            seen.append(store.read("recommendations"))

    reader = threading.Thread(target=ask)
    reader.start()
    target, second = store.target(), make_lists(spark, run_id="second")
    try:
        target.write(second)
        assert store.read("recommendations") == entries_of("recommendations")
        target.activate(second)
        assert store.read("recommendations") == entries_of("recommendations", "second")
    finally:
        done.set()
        reader.join()
    versions = [entries_of("recommendations", run_id) for run_id in ("first", "second")]
    assert all(found in versions for found in seen)


def test_an_older_version_can_be_shown_again(spark, store):
    for run_id in ("first", "second", "first"):
        deliver(store.target(), make_lists(spark, run_id=run_id))
    assert store.read("recommendations") == entries_of("recommendations", "first")


def test_an_empty_table_is_delivered(spark, store):
    lists = make_lists(spark)
    empty = ExportTable(lists.table, "empty", 0, FILES, lists.frame.limit(0))
    deliver(store.target(), lists)
    deliver(store.target(), empty)
    assert store.read("recommendations") == []


# SQLite


def failing(lists):
    """The lists, of which the last cannot be made."""
    entries = F.when(F.col("user_id") == "u9", F.raise_error(F.lit("no u9")))
    frame = lists.frame.withColumn("recommendations", entries.otherwise(F.col("recommendations")))
    return ExportTable(lists.table, lists.run_id, lists.count, FILES, frame)


def test_a_failed_file_leaves_the_old_one_and_nothing_else(spark, sqlite_store, tmp_path):
    deliver(sqlite_store.target(), make_lists(spark))
    second = make_lists(spark, run_id="second")
    with pytest.raises(PySparkException, match="no u9"):
        sqlite_store.target().write(failing(second))
    assert sqlite_store.read("recommendations") == entries_of("recommendations")
    assert [path.name for path in (tmp_path / "a folder").iterdir()] == ["lists.db"]
    assert not deliver(sqlite_store.target(), second)
    assert sqlite_store.read("recommendations") == entries_of("recommendations", "second")


def test_of_two_exports_to_one_file_the_later_one_is_repeated(spark, sqlite_store, tmp_path):
    one, other = sqlite_store.target(), sqlite_store.target()
    lists, similar = make_lists(spark), make_lists(spark, "similar_items")
    other.write(similar)
    deliver(one, lists)
    with pytest.raises(TransientError, match="repeat the command"):
        other.activate(similar)
    assert not deliver(sqlite_store.target(), similar)
    assert sqlite_store.read("recommendations") == entries_of("recommendations")
    assert sqlite_store.read("similar_items") == entries_of("similar_items")
    assert [path.name for path in (tmp_path / "a folder").iterdir()] == ["lists.db"]


def test_the_file_says_which_version_it_has(spark, sqlite_store):
    deliver(sqlite_store.target(), make_lists(spark))
    with closing(sqlite3.connect(sqlite_store.address)) as file:
        found = file.execute("SELECT name, run_id, lists, entries FROM exports").fetchall()
        plan = file.execute(
            "EXPLAIN QUERY PLAN SELECT item_id FROM recommendations WHERE user_id = ? "
            "ORDER BY rank",
            ("u1",),
        ).fetchall()
    assert found == [("recommendations", "first", 50, len(entries_of("recommendations")))]
    assert [row[-1] for row in plan] == ["SEARCH recommendations USING PRIMARY KEY (user_id=?)"]


def test_files_of_others_are_left_alone(tmp_path):
    theirs, text, busy = (tmp_path / name for name in ("theirs.db", "text.db", "busy.db"))
    with closing(sqlite3.connect(theirs)) as file:
        file.execute("CREATE TABLE customers (name TEXT)")
    text.write_text("not a database, but a text that is long enough to be one")
    shutil.copy(theirs, busy)
    (tmp_path / "busy.db-wal").write_bytes(b"")
    for path, cure in [
        (theirs, "a file of their own"),
        (text, "name another"),
        (busy, "being written to by another program"),
        (tmp_path, "name a file in it"),
        ("postgresql://shop:geheim@host/db", "give its path"),
    ]:
        with pytest.raises(ConfigError, match=cure) as caught:
            open_target("sqlite", str(path), Options())
        assert "geheim" not in str(caught.value)


# PostgreSQL

REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'disk full'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON recsys_export_parts
FOR EACH ROW WHEN (NEW.part = 2) EXECUTE FUNCTION refuse()"""


def test_postgres_export_resumes_with_the_missing_parts(spark, postgres_store):
    deliver(postgres_store.target(), make_lists(spark))
    second = make_lists(spark, run_id="second")
    postgres_store.change(REFUSE)
    with pytest.raises(TransientError, match=r"stopped: disk full\. Readers keep what they had"):
        deliver(postgres_store.target(), second)
    assert postgres_store.read("recommendations") == entries_of("recommendations")
    done = "SELECT part, xmin::text FROM recsys_export_parts WHERE run_id = 'second' ORDER BY part"
    before = postgres_store.rows(done)
    assert [part for part, _ in before] == [0, 1]
    postgres_store.change("DROP FUNCTION refuse CASCADE")
    assert not deliver(postgres_store.target(), second)
    assert postgres_store.rows(done)[:2] == before, "parts that were there are not written again"
    assert postgres_store.read("recommendations") == entries_of("recommendations", "second")


def test_replaced_and_abandoned_versions_are_deleted(spark, postgres_store):
    deliver(postgres_store.target(), make_lists(spark))
    postgres_store.target().write(make_lists(spark, run_id="given up"))
    deliver(postgres_store.target(), make_lists(spark, run_id="second"))
    tables = (
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    found = {name for (name,) in postgres_store.rows(tables)}
    assert found == {"recommendations", "recsys_exports", "recsys_export_parts"}
    registry = "SELECT run_id, lists, live_since IS NOT NULL FROM recsys_exports"
    assert postgres_store.rows(registry) == [("second", 50, True)]
    key = (
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = 'recommendations'::regclass"
    )
    assert ("PRIMARY KEY (user_id, rank)",) in postgres_store.rows(key)


def test_new_table_keeps_the_privileges_of_the_old_one(spark, postgres_store):
    deliver(postgres_store.target(), make_lists(spark))
    postgres_store.change(
        'DROP ROLE IF EXISTS "the service"; CREATE ROLE "the service"; '
        'GRANT SELECT ON recommendations TO "the service", PUBLIC'
    )
    deliver(postgres_store.target(), make_lists(spark, run_id="second"))
    found = postgres_store.rows(
        "SELECT grantee FROM information_schema.role_table_grants "
        "WHERE table_name = 'recommendations' AND privilege_type = 'SELECT'"
    )
    assert {name for (name,) in found} == {"shop", "the service", "PUBLIC"}


def test_a_dropped_table_is_delivered_again(spark, postgres_store):
    deliver(postgres_store.target(), make_lists(spark))
    postgres_store.change("DROP TABLE recommendations")
    assert not deliver(postgres_store.target(), make_lists(spark))
    assert postgres_store.read("recommendations") == entries_of("recommendations")


def test_rows_that_are_too_many_or_too_few_are_never_shown(spark, postgres_store):
    deliver(postgres_store.target(), make_lists(spark))
    second = make_lists(spark, run_id="second")
    postgres_store.target().write(second)
    (staging,) = (
        name
        for (name,) in postgres_store.rows("SELECT staging FROM recsys_exports ORDER BY 1")
        if postgres_store.rows(f"SELECT to_regclass('{name}')") != [(None,)]
    )
    postgres_store.change(f"DELETE FROM {staging} WHERE user_id = 'u1'")
    with pytest.raises(TransientError, match=r"where 73 were sent.*repeat the command"):
        deliver(postgres_store.target(), second)
    assert postgres_store.read("recommendations") == entries_of("recommendations")
    assert not deliver(postgres_store.target(), second)
    assert postgres_store.read("recommendations") == entries_of("recommendations", "second")


def test_tables_of_others_are_left_alone(spark, postgres_store):
    postgres_store.change("CREATE TABLE recommendations (by text)")
    with pytest.raises(ConfigError, match="that no export made"):
        deliver(postgres_store.target(), make_lists(spark))
    assert postgres_store.read("recommendations") == []


def test_refusal_of_the_server_is_reported(spark, postgres_store):
    deliver(postgres_store.target(), make_lists(spark))
    postgres_store.change("CREATE VIEW best AS SELECT * FROM recommendations WHERE rank = 1")
    with pytest.raises(ConfigError, match="refuses: cannot drop table recommendations"):
        deliver(postgres_store.target(), make_lists(spark, run_id="second"))
    assert postgres_store.read("recommendations") == entries_of("recommendations")


# Redis


def test_keys_end_with_their_version(spark, redis_store):
    for run_id in ("first", "second"):
        deliver(redis_store.target(), make_lists(spark, run_id=run_id))
    for run_id in ("first", "second"):
        keys = redis_store.keys("recommendations", run_id)
        assert len(keys) == len(IDS["string"])
        times = {redis_store.client.expiretime(key) for key in keys}
        assert times == {redis_store.client.expiretime(f"recsys:parts:recommendations:{run_id}")}
        assert WEEK - 600 < redis_store.client.ttl(keys[0]) <= WEEK


def test_a_version_that_is_soon_to_end_is_written_again(spark, redis_store):
    lists, marks = make_lists(spark), "recsys:parts:recommendations:first"
    deliver(redis_store.target(), lists)
    redis_store.client.expire(marks, WEEK // 2 - 10)
    redis_store.client.expire("recsys:recommendations:first:u1", WEEK // 2 - 10)
    assert not deliver(redis_store.target(), lists)
    for key in (marks, "recsys:recommendations:first:u1"):
        assert redis_store.client.ttl(key) > WEEK - 600
    redis_store.client.delete(*redis_store.keys("recommendations", "first"), marks)  # it ended
    assert not deliver(redis_store.target(), lists)
    assert redis_store.read("recommendations") == entries_of("recommendations")


def test_redis_export_resumes_with_the_missing_parts(spark, redis_store):
    deliver(redis_store.target(), make_lists(spark))
    second = make_lists(spark, run_id="second")
    part = F.pmod(F.hash("user_id"), F.lit(FILES))
    refused = second.frame.where((part == 2) & F.col("user_id").like("u__")).first()["user_id"]
    others = [one for one in IDS["string"] if one != refused]
    patterns = [re.sub("[^a-z0-9]", lambda odd: "?" * len(odd[0].encode()), one) for one in others]
    allowed = [f"~recsys:recommendations:second:{pattern}" for pattern in patterns]
    client, marks = redis_store.client, "recsys:parts:recommendations:second"
    client.execute_command(
        "ACL", "SETUSER", "exporter", "reset", "on", f">{PASSWORD}", "+@all",
        "~recsys:parts:*", "~recsys:recommendations:live", *allowed,
    )  # fmt: skip
    narrow = RedisStore(redis_store.address.replace("redis://:", "redis://exporter:"))
    with pytest.raises(TransientError, match=r"stopped: .*Readers keep what they had") as caught:
        deliver(narrow.target(), second)
    assert PASSWORD not in str(caught.value)
    assert refused not in str(caught.value), "people's lists have no place in messages"
    assert redis_store.read("recommendations") == entries_of("recommendations")
    assert sorted(client.hgetall(marks)) == ["0", "1"]
    kept = next(row["user_id"] for row in second.frame.where(part == 0).collect())
    client.set(f"recsys:recommendations:second:{kept}", "not written again", keepttl=True)
    assert not deliver(redis_store.target(), second)
    assert client.get(f"recsys:recommendations:second:{kept}") == "not written again"
    assert sum(int(count) for count in client.hvals(marks)) == second.count
    assert client.get("recsys:recommendations:live") == "second"


# Targets that cannot be


@pytest.mark.parametrize("form", ["postgres", "redis"])
@pytest.mark.parametrize(
    "target",
    [
        "{}://shop:ge/heim@127.0.0.1/0",
        "{}://shop:12/heim@127.0.0.1/0",
        "{}://shop:geheim@127.0.0.1:99x/0",
        "shop:geheim@127.0.0.1",
        "http://shop:geheim@127.0.0.1/0",
        "",
    ],
)
def test_a_wrong_url_is_not_repeated(form, target):
    scheme = {"postgres": "postgresql"}.get(form, form)
    with pytest.raises(
        ConfigError, match=rf"The target of {form} is a URL like {scheme}://"
    ) as caught:
        open_target(form, target.format(scheme), Options())
    assert "heim" not in str(caught.value)


@pytest.mark.parametrize("form", ["postgres", "redis"])
def test_unreachable_server_is_reported_without_the_password(form):
    scheme, port = {"postgres": "postgresql"}.get(form, form), free_port()
    with pytest.raises(TransientError, match=r"does not answer: .*Check that it runs") as caught:
        open_target(form, f"{scheme}://shop:geheim@127.0.0.1:{port}/0", Options())
    assert f"{scheme}://127.0.0.1:{port}/0" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_wrong_password_is_not_worth_trying_again(postgres_url, redis_url):
    for form, url in (("postgres", postgres_url), ("redis", redis_url)):
        with pytest.raises(ConfigError, match=r"refuses: .*password") as caught:
            open_target(form, url.replace("%2F", "geheim"), Options())
        assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(("form", "package"), [("postgres", "psycopg"), ("redis", "redis")])
def test_a_missing_package_is_named_with_its_cure(monkeypatch, form, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ConfigError, match=rf"{package} is not .*pip install 'recsys-spark\[{form}\]'"
    ):
        open_target(form, {"postgres": "postgresql://x/y", "redis": "redis://x"}[form], Options())


def test_a_target_can_be_named_by_a_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("LISTS", str(tmp_path / "lists.db"))
    assert open_target("sqlite", "env:LISTS", Options()).path == tmp_path / "lists.db"
    monkeypatch.delenv("LISTS")
    with pytest.raises(ConfigError, match="variable LISTS is not set"):
        open_target("sqlite", "env:LISTS", Options())


@pytest.mark.parametrize(
    ("form", "options", "named"),
    [
        ("sqlite", Options(ttl_days=3), "--ttl-days has no effect on sqlite"),
        ("postgres", Options(prefix="shop"), "--prefix has no effect on postgres"),
        ("csv", Options(connections=2), "--connections has no effect on csv"),
        ("redis", Options(prefix="a b"), "--prefix 'a b' may hold"),
    ],
)
def test_options_without_effect_are_refused(form, options, named):
    with pytest.raises(ConfigError, match=named):
        open_target(form, "x://y", options)
