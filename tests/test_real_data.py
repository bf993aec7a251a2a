"""The shipped configurations on real ratings: the model beats popularity.

Ranks and iterations are small, to keep the suite short; the figures of the full configurations
are in docs/quality.md.
"""

from pathlib import Path

import pytest

from recsys_spark.pipeline.night import Options, run_stages
from recsys_spark.pipeline.run import STAGES
from recsys_spark.runtime.log import Log
from recsys_spark.settings import load_config

CONF = Path(__file__).parents[1] / "conf"
CASES = {
    "movielens": ("ml-latest-small/ratings.csv", "ml-latest-small/movies.csv", 100_836, 0),
    "goodbooks": ("goodbooks-10k/ratings.csv", "goodbooks-10k/books.csv", 981_756, 2_278),
    "lastfm": ("lastfm-2k/user_artists.dat", "lastfm-2k/artists.dat", 92_834, 0),
}

# Batches of seven rows and interpreted plans, as the other tests want them, take minutes here.
FOR_MANY_ROWS = {
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "10000",
    "spark.sql.codegen.wholeStage": "true",
    "spark.sql.codegen.factoryMode": "FALLBACK",
}


@pytest.fixture
def for_many_rows(spark):
    before = {key: spark.conf.get(key) for key in FOR_MANY_ROWS}
    for key, value in FOR_MANY_ROWS.items():
        spark.conf.set(key, value)
    yield
    for key, value in before.items():
        spark.conf.set(key, value)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("for_many_rows")
def test_the_model_beats_popularity_on_real_ratings(real_data, tmp_path, name):
    source, items, rows, duplicates = CASES[name]
    config = load_config(
        [CONF / f"{name}.yaml"],
        [
            f"paths.root={tmp_path}",
            f"ingest.source.path={real_data / source}",
            f"items.path={real_data / items}",
            "objective.rank=8",
            "objective.iterations=3",
            "evaluate.k=[10]",
            "evaluate.baselines=[popularity]",
            "evaluate.full_ranking=false",
            "tracking.backend=none",
        ],
    )
    records = run_stages(config, STAGES, Options(), Log([])).records
    ingested = records["ingest"].summary
    assert ingested["rows_read"] == rows
    assert ingested["rows_rejected"] == 0
    assert ingested["duplicates_combined"] == duplicates
    ndcg = {
        row["model"]: row["value"]
        for row in records["evaluate"].summary["metrics"]
        if row["metric"] == "ndcg"
    }
    assert ndcg["model"] > 1.2 * ndcg["popularity"]
    assert records["recommend"].summary["short_lists"] == 0
