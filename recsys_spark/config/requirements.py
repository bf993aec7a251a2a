"""What sections need of each other: as far as the configuration shows it, refused at once."""

from collections.abc import Iterator, Mapping

from recsys_spark.config.models import Model
from recsys_spark.config.serving import Evaluate, Recommend
from recsys_spark.config.sources import Ingest, Items
from recsys_spark.config.splitting import Split
from recsys_spark.config.training import Objective, Train

VALIDATION_KEYS = {
    **dict.fromkeys(
        ("random", "per_user", "global_time", "user_holdout"), "split.validation_fraction"
    ),
    "leave_last_out": "split.validation_last",
    "predefined": "split.predefined.validation",
}


def validation_cure(split: Split) -> str | None:
    """What to set so that there are validation rows; None: there are some."""
    key = VALIDATION_KEYS.get(split.method)
    if key is None:
        return (
            f"split.method: {split.method} leaves none; choose split.method: per_user and "
            "split.validation_fraction: 0.1"
        )
    shares = {
        "split.validation_fraction": split.validation_fraction,
        "split.validation_last": split.validation_last,
        "split.predefined.validation": split.predefined.validation,
    }
    example = "1" if key == "split.validation_last" else "0.1"
    return None if shares[key] else f"{key} is 0; set it above 0, such as {example}"


def needs_validation(train: Train, evaluate: Evaluate) -> list[str]:
    """The settings in use that need validation rows."""
    asked = {
        "train.early_stopping: ndcg": train.early_stopping == "ndcg",
        "evaluate.split: validation": evaluate.split == "validation",
    }
    return [key for key, value in asked.items() if value]


def needs_times(
    split: Split,
    objective: Objective,
    models: Mapping[str, Model],
    recommend: Recommend,
    ingest: Ingest,
) -> Iterator[str]:
    """The settings in use that need the time of every event."""
    if split.method in ("leave_last_out", "global_time", "time_window"):
        yield f"split.method: {split.method}"
    new = recommend.policy.new_items
    wanted = {
        "objective.half_life_days": objective.half_life_days,
        **{f"models.{name}.days": model.days for name, model in models.items()},
        **{
            f"models.{name}.objective.half_life_days": model.objective.half_life_days
            for name, model in models.items()
        },
        "recommend.seen_days": recommend.seen_days,
        "recommend.last_interaction": recommend.last_interaction,
        "recommend.policy.new_items.slots": new.path is None and new.slots and new.days,
        "ingest.since": ingest.since,
        "ingest.until": ingest.until,
    }
    yield from (key for key, value in wanted.items() if value)


def without_times(split: Split, ingest: Ingest) -> str | None:
    """Why events have no time, and what to set; None: they may have one."""
    if split.method == "predefined":
        return (
            "split.predefined.format: adjacency has none; choose another format"
            if split.predefined.format == "adjacency"
            else None
        )
    if ingest.source.columns.timestamp is not None:
        return None
    return "ingest.source.columns.timestamp is null; name the column of the times there"


def without_genres(items: Items) -> str | None:
    """What to set so that items have genres; None: they have."""
    keys = {"items.path": items.path, "items.columns.genres": items.columns.genres}
    missing = [key for key, value in keys.items() if value is None]
    return f"set {' and '.join(missing)}" if missing else None
