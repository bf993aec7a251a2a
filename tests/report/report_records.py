"""The records of a run that never was, with everything that a report can show."""

from itertools import product

from recsys_spark.storage.runs import StageRecord

MODELS = ["model", "popularity", "recent_popularity", "random", "item_knn", "user_knn", "mllib"]
_METRICS = {"ndcg": 0.4, "recall": 0.3, "hit_rate": 0.9, "gini": 0.8, "popularity_rank": 0.1}
_WHOLE = {"auc": 0.9, "rmse": 0.8}
_TITLE = "A Film With a Name as Long as Names of Films May Ever Be, Part"


def records(**summaries):
    """The record of every stage; summaries: keys of a stage that are to be different."""
    found = {
        "ingest": _ingest(),
        "split": _split(),
        "train": _train(),
        "evaluate": _evaluate(),
        "recommend": _recommend(),
        "publish": {"tables": {}},
    }
    return {
        stage: StageRecord(
            stage, "2026-11-21-b6633996", "print", {}, f"2026-11-21T20:1{at}:00+00:00", 3.0 + at,
            summary | summaries.get(stage, {}),
        )
        for at, (stage, summary) in enumerate(found.items())
    }  # fmt: skip


def _ingest():
    return {
        "rows_read": 100_188, "rows_rejected": 189, "interactions": 99_999, "users": 2000,
        "items": 1000, "reasons": {"bad_value": 89, "future_timestamp": 100}, "values": [0.5, 5.0],
        "guessed": ["user_id_type is string", "item_id_type is string"],
        "long_tail": [[0.0, 0.0], [0.1, 0.6], [0.5, 0.9], [1.0, 1.0]],
        "histograms": {
            "values": [[at / 2, at / 2, 900 * at] for at in range(1, 11)],
            "activity": [[2.0**at, 2.0 ** (at + 1), 400 - 30 * at] for at in range(10)],
            "days": [[15_000 + 90 * at, 15_090 + 90 * at, 500 + 90 * at] for at in range(24)],
        },
    }  # fmt: skip


def _split():
    return {
        "method": "per_user", "rows": {"train": 80_000, "validation": 0, "test": 19_999},
        "cold": {"users": 0, "items": 12, "user_rows": 0, "item_rows": 12}, "in_both": 0,
        "older_than_training": 19_527, "unused": 0, "dropped": 0,
    }  # fmt: skip


def _train():
    terms = ("total", "observed", "unobserved", "regularization")
    losses = [
        {"iteration": at, "seconds": 1.0, **dict.fromkeys(terms, 100000.0 / at + 10)}
        for at in range(1, 16)
    ]
    return {
        "preset": "ials", "users": 2000, "items": 1000, "losses": losses, "stopped": None,
        "values": "values 0.5 to 5 are not used: each of 99,999 rows counts as a like; keys",
        "spec": {
            "rank": 64, "iterations": 15, "unobserved_weight": 0.1, "regularization": 0.003,
        },
    }  # fmt: skip


def _evaluate():
    cells = product(enumerate(MODELS), _METRICS.items(), (5, 10, 20))
    rows = [_row(name, at, metric, value, k) for (at, name), (metric, value), k in cells]
    whole = product(enumerate(MODELS), _WHOLE.items())
    rows += [_row(name, at, metric, value, None) for (at, name), (metric, value) in whole]
    segments = [
        _row(name, at, metric, value, 10) | {"segment": segment, "users": 500}
        for at, name in enumerate(MODELS)
        for metric, value, names in (
            ("ndcg", 0.4, ["activity=cold", "activity=warm", "country=DE"]),
            ("exposure", 0.2, ["items=head", *(f"genre=Genre {n}" for n in range(9))]),
            ("rmse", 0.9, ["value=1", "value=5"]),
            ("mae", 0.7, ["value=1", "value=5"]),
        )
        for segment in names
    ]
    paired = {"baseline": "popularity", "metric": "ndcg", "difference": 0.03, "ci_low": 0.02,
              "ci_high": 0.04, "p_value": 0.001, "users": 2000}  # fmt: skip
    return {
        "split": "test", "k": 10, "min_relevant_value": None, "metrics": rows,
        "segments": segments, "pictures": _pictures(), "paired": paired,
    }  # fmt: skip


def _row(model, at, metric, value, k):
    value = value * (1 - 0.1 * at)
    return {
        "model": model, "metric": metric, "k": k, "split": "test", "value": value,
        "ci_low": value * 0.95, "ci_high": value * 1.05, "users": 2000,
    }  # fmt: skip


def _pictures():
    titles = [f"{_TITLE} {at}" for at in range(30)]
    people = [
        {
            "user_id": f"u00014{user}",
            "lists": {"history": titles[:5], "held_out": titles[5:10]}
            | {name: titles[at : at + 10] for at, name in enumerate(MODELS)},
        }
        for user in range(3)
    ]
    patterns = [
        {"members": MODELS[at : at + 2], "count": 1000 - 100 * at} for at in range(len(MODELS))
    ]
    return {
        "people": people,
        "sets": {
            "k": 10,
            "patterns": patterns,
            "sizes": dict.fromkeys(["held_out", *MODELS], 20_000),
        },
        "exposure": {name: [[0.0, 0.0], [0.2, 0.7], [1.0, 1.0]] for name in MODELS},
        "directions": {
            "items": titles[:24],
            "values": [[at / 8 - 1.5, 1 - at / 12, 0.1 * at, -0.2] for at in range(24)],
        },
        "ratings": [
            {"true": str(star), "low": star - 1, "median": star, "high": star + 0.5}
            for star in range(1, 6)
        ],
    }


def _recommend():
    sample = [
        {
            "user_id": "u1", "source": "model", "history": [f"{_TITLE} 1"],
            "items": [f"{_TITLE} 2"] * 10,
        }
    ] * 5  # fmt: skip
    return {
        "n": 10, "users": 2000, "sources": {"model": 1990, "popular": 10}, "short_lists": 4,
        "published": None, "sample": sample,
    }  # fmt: skip
