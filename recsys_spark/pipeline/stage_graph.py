"""The stages of a run, the tables that they write, and the settings that decide them.

A stage's fingerprint covers its settings, its input and everything upstream.
"""

import hashlib
from datetime import date

from recsys_spark.config import FITTED, Config

# What `run` does in order; fold_in and refit are also done where the others need them.
STAGES = ("ingest", "split", "train", "evaluate", "refit", "recommend", "publish")
COMMANDS = {"run": STAGES, "update": ("ingest", "fold_in", "recommend", "publish")}
TABLES = {
    "ingest": ("interactions", "rejects", "user_ids", "item_ids", "items"),
    "split": ("train", "validation", "test", "fold_in", "negatives"),
    "train": (
        *("user_factors", "item_factors", "model_user_factors", "model_item_factors"),
        *("item_neighbours", "item_scores"),
    ),
    "evaluate": ("metrics", "metrics_per_user"),
    "fold_in": ("folded_users", "folded_model_users"),
    "recommend": (
        "recommendations",
        "similar_items",
        "similar_users",
        "group_recommendations",
    ),
}
_SOLVER = ("solver.method", "solver.cg_steps", "solver.subspace_block")
_TRAIN = ("warm_start", "early_stopping", "tolerance", "patience", "validation_users")
_SECTIONS = {
    "ingest": ("ingest", "items"),
    "split": ("split",),
    "train": (
        "objective",
        *(f"train.{key}" for key in _TRAIN),
        "evaluate.min_relevant_value",  # of the validation rows that early stopping looks at
        FITTED,
        *_SOLVER,
    ),
    "evaluate": ("evaluate", "models", "recommend.model"),
    "refit": ("train.refit", *_SOLVER),
    "fold_in": (),
    "recommend": ("recommend", "models", FITTED),  # the table of users, where models count by it
    "publish": (),
}
STAGE_OF = {table: stage for stage, tables in TABLES.items() for table in tables}


def fingerprint(config: Config, stage: str, source: str) -> str:
    """Hash of what decides a stage's tables."""
    settings = config.digest(*_SECTIONS[stage]) if _SECTIONS[stage] else ""
    return hashlib.sha256(f"{stage}|{settings}|{source}".encode()).hexdigest()[:16]


def default_run_id(config: Config, logical_date: date) -> str:
    """Date and hash of the settings that decide the result: a retry finds what is done."""
    sections = [section for stage in STAGES for section in _SECTIONS[stage]]
    return f"{logical_date.isoformat()}-{config.digest(*sections)}"


def refit_version(run_id: str) -> str:
    """The version of the factors that a run's refit writes."""
    return f"{run_id}.refit"
