"""Days after a training: what comes in reaches the lists, by single stages and by `update`."""

import json

import pyarrow.parquet as pq
import pytest

from recsys_spark.pipeline import sessions
from recsys_spark.pipeline.stage_graph import COMMANDS
from tests.pipeline.pipeline_runs import run_in, write_source


def run(folder, *settings, **options):
    """Stages, of which lists come from the refit."""
    return run_in(folder, "train.refit=true", *settings, **options)


def listed(folder):
    """The lists that readers see, by user."""
    table = folder / "root/tables/recommendations"
    version = json.loads((table / "CURRENT.json").read_text())["run_id"]
    rows = pq.read_table(table / "versions" / version).to_pylist()
    return {row["user_id"]: row for row in rows}


def messages(folder, run_id, level="info"):
    events = (folder / "root/runs" / run_id / "events.jsonl").read_text().splitlines()
    return [event["msg"] for event in map(json.loads, events) if event["level"] == level]


def append(folder, user):
    """Another user, who has done what user 3 has."""
    path = folder / "ratings.csv"
    own = [line for line in path.read_text().splitlines(keepends=True) if line.startswith("3,")]
    with path.open("a") as file:
        file.writelines(line.replace("3,", f"{user},", 1) for line in own)


@pytest.fixture(scope="module")
def shop(spark, tmp_path_factory):
    """A published run, and then another user in the source."""
    folder = tmp_path_factory.mktemp("shop")
    write_source(folder)
    first = run(folder)
    append(folder, 1001)
    return folder, first


def test_stages_alone_bring_a_new_user_to_the_published_lists(shop):
    """All on one day, with the settings of the run."""
    folder, first = shop
    outcomes = {}
    events = []
    for stage in ("ingest", "publish", "fold_in", "recommend"):
        outcomes[stage] = run(folder, stages=(stage,), sinks=[events.append])
    again = f"{first.run_id}-2"
    assert outcomes["ingest"].run_id == again
    assert outcomes["publish"].unchanged
    warnings = [event["msg"] for event in events if event["level"] == "warning"]
    text = f"newer than what is published, and not in it: ingest of run {again}, "
    assert [warning.startswith(text) for warning in warnings].count(True) == 1
    lineage = outcomes["fold_in"].records["fold_in"].lineage
    assert (lineage["ingest"], lineage["train"]) == (again, first.run_id)
    assert outcomes["fold_in"].records["fold_in"].summary["users"] == 1
    assert 1001 not in listed(folder)
    published = run(folder, stages=("publish",))
    assert listed(folder)[1001]["source"] == "fold_in"
    assert {outcome.run_id for outcome in (published, outcomes["recommend"])} == {again}
    (line,) = (text for text in messages(folder, again) if text.startswith("builds on refit"))
    assert f"run {first.run_id}, fitted on" in line
    assert f"and ingest of run {again}, " in line


def test_a_second_split_is_of_the_second_ingest(shop):
    folder, first = shop
    run(folder, stages=("ingest",))  # unless another test of this module has
    record = run(folder, stages=("split",)).records["split"]
    assert record.lineage["ingest"] == f"{first.run_id}-2"


def test_update_is_the_same_in_one_command(shop):
    folder, first = shop
    append(folder, 1002)
    outcome = run(folder, stages=COMMANDS["update"])
    assert list(outcome.records) == list(COMMANDS["update"])
    assert outcome.records["recommend"].lineage["train"] == first.run_id
    assert listed(folder)[1001]["source"] == listed(folder)[1002]["source"] == "fold_in"
    assert run(folder, stages=COMMANDS["update"]).unchanged


def test_finished_update_opens_no_session(shop, monkeypatch):
    """Neither to see that nothing is new, nor to publish."""
    folder, _ = shop
    run(folder, stages=COMMANDS["update"])
    run(folder, "recommend.n=3", stages=("recommend",))

    def refuse(*_):
        raise AssertionError("a session was opened")

    monkeypatch.setattr(sessions, "open_session", refuse)
    published = run(folder, stages=("publish",))
    assert not published.unchanged
    assert max(len(row["recommendations"]) for row in listed(folder).values()) == 3
    for stage in ("ingest", "publish"):
        assert run(folder, stages=(stage,)).unchanged
