"""What the report shows of an evaluation beside its metrics: small, and by the names of items."""

from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from recsys_spark.evaluation.model_exposure import count_patterns
from recsys_spark.evaluation.model_lists import LISTS
from recsys_spark.evaluation.ratings import predict_ratings, prediction_spread
from recsys_spark.pipeline.baselines import MODEL, MeasuredModel
from recsys_spark.pipeline.evaluation_inputs import EvaluationInputs
from recsys_spark.pipeline.metric_tables import truth_of
from recsys_spark.topn.scorers import FactorScorer

_PEOPLE, _LIKED, LISTED = 5, 5, 10
_PATTERNS = 15
_DIRECTIONS, _ENDS = 4, 3
HISTORY, HELD_OUT = "history", "held_out"

MeasuredModels = dict[str, MeasuredModel]


def report_data(
    inputs: EvaluationInputs,
    ranked: DataFrame,
    patterns: pa.Table,
    found: MeasuredModels,
    k: int,
) -> dict[str, Any]:
    """Data of the report's figures.

    ranked: the users of the pass, with lists of all models that were found. patterns: what their
    first k have in common.
    """
    people, directions = _people(inputs, ranked, list(found)), _directions(inputs, found[MODEL])
    listed = {item for person in people for items in person["lists"].values() for item in items}
    titles = _titles(inputs, sorted(listed | set(directions["items"])))
    for person in people:
        person["lists"] = {
            name: [titles[item] for item in items if item in titles]
            for name, items in person["lists"].items()
        }
    directions["items"] = [titles.get(item, str(item)) for item in directions["items"]]
    data = {
        "sets": _sets(patterns, list(found), k),
        "people": people,
        "directions": directions,
    }
    spec, scores = inputs.spec, found[MODEL].scores
    if spec.explicit and scores is not None:
        predicted = predict_ratings(truth_of(ranked), *scores, spec.clip)
        data["ratings"] = prediction_spread(predicted)
    return data


def _sets(patterns: pa.Table, models: list[str], k: int) -> dict[str, Any]:
    """How many items of users each combination of lists and held-out rows has in common."""
    found = count_patterns(patterns, models, HELD_OUT)
    counts: list[dict[str, Any]] = [
        {"members": list(members), "count": count} for members, count in found.items()
    ]
    counts.sort(key=lambda row: (-row["count"], row["members"]))
    names = [HELD_OUT, *models]
    sizes = {name: sum(r["count"] for r in counts if name in r["members"]) for name in names}
    return {"k": k, "sizes": sizes, "patterns": counts[:_PATTERNS]}


def _people(inputs: EvaluationInputs, ranked: DataFrame, models: list[str]) -> list[dict[str, Any]]:
    """Some users: items of their training rows, of their held-out rows, and of each list."""
    columns = ("user_id", "user", "truth", "values", LISTS)
    chosen = ranked.select(*columns).orderBy(F.xxhash64("user_id"), "user_id").limit(_PEOPLE)
    rows = sorted(chosen.collect(), key=lambda row: str(row["user_id"]))
    before = _histories(inputs.train, [row["user"] for row in rows])
    return [
        {
            "user_id": str(row["user_id"]),
            "lists": {
                name: items
                for name, items in sorted(_own_lists(row, before, models).items())
                if items
            },
        }
        for row in rows
    ]


def _own_lists(row: Row, before: dict[int, list[int]], models: list[str]) -> dict[str, list[int]]:
    held_out = sorted(zip(row["values"], row["truth"], strict=True), reverse=True)
    listed = zip(models, row[LISTS], strict=True)
    return {
        HISTORY: before.get(row["user"], []),
        HELD_OUT: [item for _, item in held_out[:_LIKED]],
        **{name: items[:LISTED] for name, items in listed},
    }


def _histories(train: DataFrame, users: list[int]) -> dict[int, list[int]]:
    """The items of some users with the largest values, the largest first."""
    entries = F.collect_list(F.struct("value", "item"))
    first = F.slice(F.sort_array(entries, asc=False), 1, _LIKED).getField("item").alias("items")
    rows = train.where(F.col("user").isin(users)).groupBy("user").agg(first)
    return {row["user"]: row["items"] for row in rows.collect()}


def _titles(inputs: EvaluationInputs, items: list[int]) -> dict[int, str]:
    """The names of items, by index; the id where there is none."""
    ids = inputs.item_ids.toDF("item_id", "item").where(F.col("item").isin(items))
    title = F.col("item_id").cast("string")
    if inputs.items is not None:
        ids = ids.join(inputs.items, "item_id", "left")
        title = F.coalesce("title", title)
    return {row["item"]: row["title"] for row in ids.select("item", title.alias("title")).collect()}


def _directions(inputs: EvaluationInputs, model: MeasuredModel) -> dict[str, Any]:
    """The items at either end of the principal directions of the item factors."""
    assert isinstance(model.scorer, FactorScorer)
    scored, index = model.scorer.scored, inputs.catalog.index
    order = np.argsort(index[scored])
    matrix = model.scorer.factors[scored][order].astype(np.float64)
    matrix -= matrix.mean(axis=0)
    _, directions = np.linalg.eigh(matrix.T @ matrix)
    shown = min(_DIRECTIONS, directions.shape[1])
    placed = matrix @ directions[:, ::-1][:, :shown]
    placed *= np.sign(placed[np.abs(placed).argmax(axis=0), np.arange(shown)])
    placed /= placed.std(axis=0)
    ends = min(_ENDS, len(placed) // 2)
    ranked = np.argsort(-placed, axis=0, kind="stable")
    rows = np.concatenate([np.r_[column[:ends], column[-ends:]] for column in ranked.T])
    kept = list(dict.fromkeys(rows.tolist()))
    return {
        "items": index[scored][order][kept].tolist(),
        "values": placed[kept].round(3).tolist(),
    }
