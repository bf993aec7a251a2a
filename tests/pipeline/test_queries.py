"""Stages make few queries: on small data, and on a cold JVM, their number is the time."""

from functools import partial

import pytest

from recsys_spark.pipeline.stage_graph import STAGES
from tests.pipeline.pipeline_runs import run_in, write_source
from tests.queries import count_queries

# Lower a limit where a stage makes fewer; raise one with a reason alone.
LIMITS = {
    "ingest": 12,  # one writes the checked rows, so that the source is read once
    "split": 5,
    "train": 4,
    "evaluate": 11,
    "refit": 12,
    "recommend": 10,
    "publish": 0,
}


@pytest.fixture(scope="module")
def queries(spark, tmp_path_factory):
    """The queries of each stage of a run with the names of items."""
    folder = tmp_path_factory.mktemp("queries")
    write_source(folder)
    (folder / "items.csv").write_text("item_id,title\n" + "".join(f"{i},{i}\n" for i in range(26)))
    settings = [f"items.path={folder / 'items.csv'}", "train.refit=true"]
    return {
        stage: count_queries(
            spark, partial(run_in, folder, *settings, stages=[stage], run_id="counted")
        )
        for stage in STAGES
    }


def test_interactions_that_are_not_split_are_written_and_no_more(spark, tmp_path):
    write_source(tmp_path)
    run = partial(run_in, tmp_path, "split.method=none", run_id="counted")
    run(stages=["ingest"])
    assert count_queries(spark, lambda: run(stages=["split"])) == 3, "one a part"


def test_queries_are_counted(spark):
    assert count_queries(spark, lambda: [spark.range(3).count() for _ in range(12)]) == 12


@pytest.mark.parametrize("stage", STAGES)
def test_queries_of_a_stage_are_few(queries, stage):
    assert queries[stage] <= LIMITS[stage]
