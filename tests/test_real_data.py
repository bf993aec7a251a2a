"""The shipped configurations on real ratings, as commands: the model beats popularity.

Ranks and iterations are small, to keep the suite short; the figures of the full configurations
are in docs/quality.md.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CONF = Path(__file__).parents[1] / "conf"
CASES = {
    "movielens": ("ml-latest-small/ratings.csv", "ml-latest-small/movies.csv", 100_836, 0),
    "goodbooks": ("goodbooks-10k/ratings.csv", "goodbooks-10k/books.csv", 981_756, 2_278),
    "lastfm": ("lastfm-2k/user_artists.dat", "lastfm-2k/artists.dat", 92_834, 0),
}


def run(name, root, source, items, environment):
    """What each stage says of the run. The suite sets Java up for few rows; goodbooks has many."""
    settings = [
        f"paths.root={root}",
        f"ingest.source.path={source}",
        f"items.path={items}",
        "objective.rank=8",
        "objective.iterations=3",
        "evaluate.k=[10]",
        "evaluate.baselines=[popularity]",
        "evaluate.full_ranking=false",
        "tracking.backend=none",
        f"train.refit={str(name == 'movielens').lower()}",  # of one, to keep the suite short
    ]
    words = [sys.executable, "-m", "recsys_spark", "run", "--config", CONF / f"{name}.yaml"]
    words += [word for setting in settings for word in ("--set", setting)]
    if name == "goodbooks":
        environment = {key: environment[key] for key in environment if key != "JAVA_TOOL_OPTIONS"}
    done = subprocess.run(
        [*words, "--run-id", name], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    stages = (root / "runs" / name / "stages").glob("*.json")
    return {path.stem: json.loads(path.read_text())["summary"] for path in stages}


@pytest.mark.parametrize("name", CASES)
def test_the_model_beats_popularity_on_real_ratings(real_data, process_environment, tmp_path, name):
    source, items, rows, duplicates = CASES[name]
    found = run(name, tmp_path, real_data / source, real_data / items, process_environment)
    assert found["ingest"]["rows_read"] == rows
    assert found["ingest"]["rows_rejected"] == 0
    assert found["ingest"]["duplicates_combined"] == duplicates
    ndcg = {
        row["model"]: row["value"]
        for row in found["evaluate"]["metrics"]
        if row["metric"] == "ndcg"
    }
    assert ndcg["model"] > 1.2 * ndcg["popularity"]
    assert found["recommend"]["short_lists"] == 0
