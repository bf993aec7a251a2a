"""Lists in slices, buckets and files: the same lists, and none made twice after a fault."""

import json
import re
import zlib

import pyarrow.parquet as pq
import pytest

from recsys_spark.config import Recommend
from recsys_spark.pipeline import recommend as wiring
from recsys_spark.pipeline.resumable_write import plan_layout
from recsys_spark.pipeline.stage_graph import STAGES
from recsys_spark.topn.recommend import Lists
from recsys_spark.topn.request import Layout
from tests.pipeline.pipeline_runs import ROWS, run_in, write_source

SLICED = "recommend.slice_users=7"  # thirty users: five slices


class FaultError(Exception):
    """What stops an attempt."""


@pytest.fixture(scope="module")
def shop(spark, tmp_path_factory):
    """A trained run with published lists; the folder."""
    folder = tmp_path_factory.mktemp("shop")
    write_source(folder)
    run_in(folder, stages=STAGES[:3], run_id="trained")
    run_in(folder, stages=("recommend", "publish"), run_id="trained")
    return folder


def files(folder, run_id):
    return sorted((folder / "root/tables/recommendations/versions" / run_id).glob("*.parquet"))


def manifest(folder, run_id):
    path = folder / "root/tables/recommendations/versions" / run_id / "_manifest.json"
    return json.loads(path.read_text())


def recommend(folder, *settings, run_id):
    run_in(folder, *settings, stages=("recommend",), run_id=run_id)
    rows = [row for file in files(folder, run_id) for row in pq.read_table(file).to_pylist()]
    return sorted(rows, key=lambda row: row["user_id"])


def counted(monkeypatch, stop_at=None):
    """The calls that make lists; one of them raises."""
    calls, made = [], Lists.of

    def counting(lists, rows):
        calls.append(rows)
        if len(calls) == stop_at:
            raise FaultError
        return made(lists, rows)

    monkeypatch.setattr(Lists, "of", counting)
    return calls


def test_slices_have_the_lists_of_one_piece(shop, monkeypatch):
    rules = ["recommend.n=8", "recommend.policy.min_score=0.3"]
    whole = recommend(shop, *rules, run_id="whole")
    calls = counted(monkeypatch)
    sliced = recommend(shop, *rules, SLICED, run_id="sliced")
    assert len(calls) == 5
    assert sliced == whole
    assert len(sliced) == 30
    found = [manifest(shop, run_id)["check_results"]["policy"] for run_id in ("whole", "sliced")]
    assert found[0]["slots_below_min_score"] == found[1]["slots_below_min_score"] > 0


@pytest.mark.parametrize("stop_at", [1, 3, 5])
def test_an_attempt_that_was_stopped_is_gone_on_with(shop, monkeypatch, stop_at):
    rules = ["recommend.policy.min_score=0.3", SLICED]
    whole = recommend(shop, *rules, run_id="undisturbed")
    run_id = f"stopped-{stop_at}"
    with monkeypatch.context() as patched:
        counted(patched, stop_at)
        with pytest.raises(FaultError):
            recommend(shop, *rules, run_id=run_id)
    with pytest.raises(FileNotFoundError):
        manifest(shop, run_id)
    written = users_written(shop, run_id)
    assert (written > 0) == (stop_at > 1)
    calls = counted(monkeypatch)
    assert recommend(shop, *rules, run_id=run_id) == whole
    assert len(calls) == -(-(30 - written) // 7), "what was written is not made again"
    found = [manifest(shop, name)["check_results"]["policy"] for name in ("undisturbed", run_id)]
    assert found[0]["slots_below_min_score"] == found[1]["slots_below_min_score"]


def users_written(folder, run_id):
    """Users whose lists are in slices that are finished."""
    path = folder / "root/tables/recommendations/versions" / run_id
    try:
        names = json.loads((path / "_slices.json").read_text())["files"]
    except FileNotFoundError:
        return 0
    return sum(pq.read_metadata(path / name).num_rows for name in names)


def test_lists_are_not_made_again_when_only_a_later_table_failed(shop, monkeypatch):
    settings = ["recommend.similar_items.n=3", "recommend.n=4"]

    def fail(*args):
        raise FaultError

    with monkeypatch.context() as patched:
        patched.setattr(wiring, "related_tables", fail)
        with pytest.raises(FaultError):
            recommend(shop, *settings, run_id="late")
    calls = counted(monkeypatch)
    assert len(recommend(shop, *settings, run_id="late")) == 30
    assert calls == []


def test_other_settings_begin_afresh(shop, monkeypatch):
    with monkeypatch.context() as patched:
        counted(patched, 3)
        with pytest.raises(FaultError):
            recommend(shop, SLICED, "recommend.n=3", run_id="changed")
    rows = recommend(shop, SLICED, "recommend.n=5", run_id="changed")
    assert max(len(row["recommendations"]) for row in rows) == 5
    assert len(rows) == 30


def test_a_users_bucket_names_the_file(shop):
    whole = recommend(shop, run_id="ranges")
    buckets = ["recommend.buckets=4", SLICED]
    assert recommend(shop, *buckets, run_id="buckets") == whole
    for file in files(shop, "buckets"):
        number = int(re.match(r"part-(\d+)-", file.name)[1])
        users = pq.read_table(file)["user_id"].to_pylist()
        assert users == sorted(users)
        assert {zlib.crc32(str(user).encode()) % 4 for user in users} <= {number % 4}


def test_lists_that_stay_are_in_the_slices_and_buckets_too(shop):
    """User 1 has one thing more; the lists of all others stay."""
    before = recommend(shop, run_id="trained")
    (shop / "ratings.csv").write_text(
        "user_id,item_id,rating,timestamp\n" + "".join(ROWS) + "1,2,5,1600009999\n"
    )
    settings = ["recommend.changed_since=published", "recommend.buckets=3", SLICED]
    run_in(shop, *settings, stages=("ingest",), run_id="tomorrow")
    run_in(shop, *settings, stages=("fold_in",), run_id="tomorrow")
    after = recommend(shop, *settings, run_id="tomorrow")
    write_source(shop)
    assert [row["user_id"] for row in after] == [row["user_id"] for row in before]
    assert [row for row in after if row["user_id"] != 1] == before[1:]
    for file in files(shop, "tomorrow"):
        number = int(re.match(r"part-(\d+)-", file.name)[1])
        users = pq.read_table(file)["user_id"].to_pylist()
        assert {zlib.crc32(str(user).encode()) % 3 for user in users} <= {number % 3}


@pytest.mark.parametrize(
    ("users", "layout"),
    [
        (100, Layout(4)),
        (1_000_000, Layout(5)),  # 572 MiB in files of 128
        (20_000_000, Layout(23, 4)),
    ],
)
def test_files_have_the_size_that_is_asked_for(users, layout):
    config = Recommend(n=100, slice_users=5_000_000, file_mb=128, buckets=0)
    assert plan_layout(config, users, parallelism=4) == layout
