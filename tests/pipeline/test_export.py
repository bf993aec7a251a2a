"""Lists for others: every form has every entry, and readers see whole versions only."""

import csv
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import psycopg
import pyarrow.parquet as pq
import pytest

from recsys_spark.cli import main
from recsys_spark.cli.show import show_table
from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.export import export_lists
from recsys_spark.pipeline.stage_graph import STAGES
from recsys_spark.runtime.log import Log
from recsys_spark.settings import load_config
from tests.pipeline.pipeline_runs import run_in, write_source
from tests.servers import PASSWORD, QUOTED

MADE = [stage for stage in STAGES if stage != "evaluate"]


@pytest.fixture(scope="module")
def root(spark, tmp_path_factory):
    """The root of a run that has published lists of users and of items."""
    folder = tmp_path_factory.mktemp("export")
    write_source(folder)
    settings = [f"recommend.{key}" for key in ("n=3", "similar_items.n=2", "similar_users.n=2")]
    run_in(folder, *settings, stages=MADE, run_id="night")
    return folder / "root"


def export(root, form, target, **options):
    config = load_config(overrides=[f"paths.root={root}", "tracking.backend=none"])
    table = options.pop("table", "recommendations")
    return export_lists(config, Log([]), table, form, str(target), **options)


def published(root, table="recommendations"):
    return pq.read_table(root / "tables" / table / "versions" / "night").to_pylist()


def copy_version(root, run_id):
    """The folder of a second version with the lists of the first."""
    versions = root / "tables/recommendations/versions"
    shutil.copytree(versions / "night", versions / run_id)
    manifest = versions / run_id / "_manifest.json"
    manifest.write_text(manifest.read_text().replace('"night"', f'"{run_id}"'))
    return versions / run_id


def lines(folder, ending):
    return [line for part in sorted(folder.glob(f"part-*.{ending}")) for line in part.open()]


def entries(root):
    return [
        (row["user_id"], entry["rank"], entry["item_id"], entry["score"], row["source"])
        for row in published(root)
        for entry in row["recommendations"]
    ]


def test_json_has_a_line_a_list(root, tmp_path):
    made = export(root, "jsonl", tmp_path)
    found = [json.loads(line) for line in lines(tmp_path / "recommendations.jsonl/night", "json")]
    expected = [{name: row[name] for name in found[0]} for row in published(root)]
    assert sorted(found[0]) == ["recommendations", "source", "user_id"]
    for row in (row for lists in (found, expected) for row in lists):
        for entry in row["recommendations"]:
            entry["score"] = pytest.approx(entry["score"])
    assert found == expected
    assert (made.lists, made.run_id, made.unchanged) == (30, "night", False)


def test_csv_has_a_row_an_entry_with_a_header_in_every_file(root, tmp_path):
    export(root, "csv", tmp_path)
    found = []
    for part in sorted((tmp_path / "recommendations.csv/night").glob("part-*.csv")):
        with part.open(newline="") as file:
            found += [tuple(row.values()) for row in csv.DictReader(file)]
    assert [(int(u), int(r), i, float(s), source) for u, r, i, s, source in found] == [
        (*row[:3], pytest.approx(row[3]), row[4]) for row in entries(root)
    ]


def test_parquet_has_a_typed_row_an_entry(root, tmp_path):
    export(root, "parquet", tmp_path)
    table = pq.read_table(tmp_path / "recommendations.parquet/night")
    assert table.column_names == ["user_id", "rank", "item_id", "score", "source"]
    assert [tuple(row.values()) for row in table.to_pylist()] == entries(root)


@pytest.mark.parametrize("side", ["item", "user"])
def test_similar_items_and_users_are_exported(root, tmp_path, side):
    name = f"similar_{side}s"
    export(root, "parquet", tmp_path, table=name)
    table = pq.read_table(tmp_path / f"{name}.parquet/night")
    assert table.column_names == [f"like_{side}_id", "rank", f"{side}_id", "score"]
    expected = [
        (row[f"{side}_id"], entry["rank"], entry[f"{side}_id"])
        for row in published(root, name)
        for entry in row["similar"]
    ]
    assert sorted(tuple(row.values())[:3] for row in table.to_pylist()) == sorted(expected)
    config = load_config(overrides=[f"paths.root={root}"])
    shown = list(csv.DictReader(show_table(config, Log([]), name, None, {}, 99, "csv").split("\n")))
    assert len(shown) == len(expected)
    assert all(row[f"like_{side}_id"] and row[f"{side}_id"] for row in shown)


def test_a_whole_folder_is_left_alone_and_a_broken_one_is_replaced(root, tmp_path):
    folder = tmp_path / "recommendations.csv/night"
    export(root, "csv", tmp_path)
    before = {part.name: part.stat().st_mtime_ns for part in folder.iterdir()}
    pointer = folder.parent / "CURRENT.json"
    pointer.unlink()
    assert export(root, "csv", tmp_path).unchanged
    assert {part.name: part.stat().st_mtime_ns for part in folder.iterdir()} == before
    assert json.loads(pointer.read_text())["path"] == "night", "what a killed command left undone"
    (folder / "_SUCCESS").unlink()
    next(folder.glob("part-*.csv")).write_text("half a")
    assert not export(root, "csv", tmp_path).unchanged
    assert len([line for line in lines(folder, "csv") if line[0] != "u"]) == len(entries(root))


def test_the_pointer_moves_only_after_the_files(root, tmp_path, monkeypatch):
    """A command that fails while it writes leaves readers with what they had."""
    export(root, "jsonl", tmp_path)
    base = tmp_path / "recommendations.jsonl"
    before = (base / "CURRENT.json").read_text()
    shutil.copytree(root / "tables", tmp_path / "other/tables")
    folder = copy_version(tmp_path / "other", "broken")
    next(folder.glob("part-*.parquet")).write_bytes(b"not parquet")
    with pytest.raises(Exception, match=r"(?i)parquet"):
        export(tmp_path / "other", "jsonl", tmp_path, run_id="broken")
    assert (base / "CURRENT.json").read_text() == before
    assert not (base / "broken/_SUCCESS").exists()


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"table": "metrics"}, "similar_items, similar_users, not metrics"),
        ({"table": "similar_item"}, r"not similar_item \(did you mean similar_items\?\)"),
        ({"run_id": "nothing"}, r"no complete version nothing; the newest are "),
    ],
)
def test_export_refusals_name_the_cure(root, tmp_path, options, cure):
    with pytest.raises(ConfigError, match=cure):
        export(root, "csv", tmp_path, **options)


def test_a_file_of_sqlite_holds_both_tables(root, tmp_path):
    path = tmp_path / "lists.db"
    for table in ("recommendations", "similar_items"):
        assert not export(root, "sqlite", path, table=table).unchanged
    assert export(root, "sqlite", path).unchanged
    file = sqlite3.connect(path)
    assert file.execute("SELECT * FROM recommendations").fetchall() == sorted(entries(root))
    (count,) = file.execute("SELECT count(*) FROM similar_items").fetchone()
    assert count == sum(len(row["similar"]) for row in published(root, "similar_items"))
    file.close()


@pytest.mark.parametrize("server", ["postgres_url", "redis_url"])
def test_export_command_reports_the_target_without_the_password(
    root, server, request, monkeypatch, capsys
):
    url, store = request.getfixturevalue(server), server.removesuffix("_url")
    monkeypatch.setenv("STORE", url)
    host = url.rpartition("@")[2]
    for target, state in [(url, r"written in [\d.]+ s"), ("env:STORE", "were there already")]:
        assert main(["export", store, target, "--set", f"paths.root={root}"]) == 0
        captured = capsys.readouterr()
        text = rf"30 lists of recommendations, run night, {state}: \w+://{host}, "
        assert re.match(text, captured.out)
        for secret in (PASSWORD, QUOTED):
            assert secret not in captured.out + captured.err


@pytest.mark.parametrize(
    "words",
    [
        ["postgresql://shop:geheim@host/db", "x"],
        ["postgres", "postgresql://shop:ge/heim@host/db"],
        ["sqlite", "redis://:geheim@host"],
        ["redis", "redis://host", "redis://:geheim@host"],
    ],
)
def test_wrong_words_end_with_code_2_and_are_not_repeated(words, capsys):
    assert main(["export", *words]) == 2
    captured = capsys.readouterr()
    assert "heim" not in captured.out + captured.err


BLOCK = """
CREATE FUNCTION block() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$;
CREATE TRIGGER block BEFORE INSERT ON recsys_export_parts
FOR EACH ROW WHEN (NEW.part = 1) EXECUTE FUNCTION block()"""
LISTS = "SELECT * FROM recommendations ORDER BY user_id, rank"
SLEEPING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
PARTS = "SELECT part, xmin::text FROM recsys_export_parts WHERE run_id = 'second' ORDER BY 1"


def test_a_killed_export_is_finished_by_the_same_command(
    root, postgres_url, process_environment, tmp_path
):
    """The machine is lost while the executors copy, with one part there and one on its way."""
    shutil.copytree(root / "tables", tmp_path / "root/tables")
    copy_version(tmp_path / "root", "second")
    export(tmp_path / "root", "postgres", postgres_url)
    words = ["export", "postgres", "env:STORE", "--run-id", "second", "--connections", "1"]
    words += ["--set", f"paths.root={tmp_path / 'root'}"]
    with psycopg.connect(postgres_url, autocommit=True) as db:
        before = db.execute(LISTS).fetchall()
        db.execute(BLOCK)
        with subprocess.Popen(
            [sys.executable, "-m", "recsys_spark", *words],
            env=process_environment | {"STORE": postgres_url},
            start_new_session=True,
        ) as process:
            while not (asleep := db.execute(SLEEPING).fetchone()):
                assert process.poll() is None
                time.sleep(0.1)
            os.killpg(process.pid, signal.SIGKILL)
        db.execute("SELECT pg_terminate_backend(%s)", asleep)
        db.execute("DROP FUNCTION block CASCADE")
        done = db.execute(PARTS).fetchall()
        assert [part for part, _ in done] == [0]
        assert db.execute(LISTS).fetchall() == before
        assert not export(tmp_path / "root", "postgres", postgres_url, run_id="second").unchanged
        assert db.execute(PARTS).fetchall()[0] == done[0], "the part is not copied again"
        assert db.execute(LISTS).fetchall() == before
        live = "SELECT run_id FROM recsys_exports WHERE live_since IS NOT NULL"
        assert db.execute(live).fetchall() == [("second",)]
