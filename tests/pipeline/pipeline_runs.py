"""A small source, and runs of the stages on it."""

from recsys_spark.pipeline.runner import Options, run_stages
from recsys_spark.pipeline.stage_graph import STAGES
from recsys_spark.runtime.log import Log
from recsys_spark.settings import load_config

ROWS = [
    f"{user},{item},{(user + item) % 5 + 1},{1_600_000_000 + 1000 * item + user}\n"
    for user in range(1, 31)
    for item in range(1, 26)
    if (user * 5 + item * item) % 3
]


def write_source(folder):
    path = folder / "ratings.csv"
    path.write_text("user_id,item_id,rating,timestamp\n" + "".join(ROWS))
    return path


def run_in(folder, *settings, stages=STAGES, sinks=(), **options):
    base = [
        f"paths.root={folder / 'root'}",
        f"ingest.source.path={folder / 'ratings.csv'}",
        "ingest.source.user_id_type=long",
        "objective.rank=4",
        "objective.iterations=2",
        "evaluate.k=[5]",
        "evaluate.resamples=20",
        "evaluate.full_ranking=false",
        "evaluate.baselines=[popularity]",
        "train.refit=false",
        "tracking.backend=none",
    ]
    config = load_config(overrides=[*base, *settings])
    return run_stages(config, stages, Options(**options), Log([*sinks]))
