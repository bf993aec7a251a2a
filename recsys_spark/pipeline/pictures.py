"""What the report shows of an evaluation beside its metrics: small, and by the names of items."""

from functools import reduce
from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrow import list_matrix
from recsys_spark.evaluation.ratings import predict_ratings, prediction_spread
from recsys_spark.pipeline.contenders import MODEL, Contender, Contest
from recsys_spark.pipeline.run import Run
from recsys_spark.pipeline.train import trained_spec

_PEOPLE, _LIKED, _SHOWN = 5, 5, 10
_PATTERNS = 15
_DIRECTIONS, _ENDS = 4, 3
HISTORY, HELD_OUT = "history", "held_out"

Contenders = dict[str, Contender]


def pictures(contest: Contest, truth: DataFrame, ranked: Contenders, k: int) -> dict[str, Any]:
    """Data of the report's figures. truth: columns user_id, user, item, value."""
    run = contest.run
    found = {
        "sets": _sets(truth, ranked, k),
        "people": _people(contest, truth, ranked),
        "directions": _directions(run, ranked[MODEL]),
    }
    spec, scores = trained_spec(run), ranked[MODEL].scores
    if spec.explicit and scores is not None:
        found["ratings"] = prediction_spread(predict_ratings(truth, *scores, spec.clip))
    return found


def _entries(ranked: Contenders, k: int) -> DataFrame:
    """Columns user_id, item, rank, name: the first k of everyone's lists."""
    frames = [
        contender.lists.select("user_id", F.inline("recommendations"))
        .where(F.col("rank") <= k)
        .select("user_id", F.col("item_id").alias("item"), "rank", F.lit(name).alias("name"))
        for name, contender in ranked.items()
    ]
    return reduce(DataFrame.unionByName, frames)


def _sets(truth: DataFrame, ranked: Contenders, k: int) -> dict[str, Any]:
    """How many items of users each combination of lists and held-out rows has in common."""
    listed = _entries(ranked, k).select("user_id", "item", "name")
    held_out = truth.select("user_id", "item", F.lit(HELD_OUT).alias("name"))
    members = F.array_sort(F.collect_set("name")).alias("members")
    patterns = listed.unionByName(held_out).groupBy("user_id", "item").agg(members)
    counts = [row.asDict() for row in patterns.groupBy("members").count().collect()]
    counts.sort(key=lambda row: (-row["count"], row["members"]))
    names = [HELD_OUT, *ranked]
    sizes = {name: sum(r["count"] for r in counts if name in r["members"]) for name in names}
    return {"k": k, "sizes": sizes, "patterns": counts[:_PATTERNS]}


def _people(contest: Contest, truth: DataFrame, ranked: Contenders) -> list[dict[str, Any]]:
    """Some users: their training rows, their held-out rows, and each list."""
    run = contest.run
    everyone = contest.users.select("user_id", "user")
    chosen = everyone.orderBy(F.xxhash64("user_id"), "user_id").limit(_PEOPLE)
    some = run.keep(chosen, "people")
    best = F.struct(F.col("value").alias("by"), "item")
    before = _largest(contest.train.join(some, "user"), best, HISTORY)
    after = _largest(truth.join(some.select("user"), "user", "left_semi"), best, HELD_OUT)
    shown = _entries(ranked, _SHOWN).join(some.select("user_id"), "user_id", "left_semi")
    everything = before.unionByName(after).unionByName(shown)
    titled = everything.join(_titles(run), "item").collect()
    people: dict[Any, dict[str, Any]] = {}
    for row in sorted(titled, key=lambda row: (str(row["user_id"]), row["name"], row["rank"])):
        user = people.setdefault(row["user_id"], {"user_id": str(row["user_id"]), "lists": {}})
        user["lists"].setdefault(row["name"], []).append(row["title"])
    return list(people.values())


def _largest(rows: DataFrame, order: Column, name: str) -> DataFrame:
    """Columns user_id, item, rank, name: the items of each user that come first by the order."""
    first = F.slice(F.sort_array(F.collect_list(order), asc=False), 1, _LIKED)
    lists = rows.groupBy("user_id").agg(first.alias("first"))
    long = lists.select("user_id", F.posexplode("first").alias("rank", "entry"))
    item = F.col("entry.item").alias("item")
    return long.select("user_id", item, "rank", F.lit(name).alias("name"))


def _titles(run: Run) -> DataFrame:
    """Columns item (the index) and title: the name, or the id where there is none."""
    ids = run.read("item_ids").toDF("item_id", "item")
    own = F.col("item_id").cast("string")
    if not run.has("items"):
        return ids.select("item", own.alias("title"))
    named = ids.join(run.read("items"), "item_id", "left")
    return named.select("item", F.coalesce("title", own).alias("title"))


def _directions(run: Run, model: Contender) -> dict[str, Any]:
    """The items at either end of the principal directions of the item factors, by title.

    The factors come to the driver, as they do to recommend.
    """
    assert model.scores is not None
    table = model.scores[1].toDF("id", "factors").toArrow().sort_by("id").combine_chunks()
    vectors = table["factors"].combine_chunks()
    matrix = list_matrix(vectors, len(vectors[0])).astype(np.float64)
    matrix -= matrix.mean(axis=0)
    _, directions = np.linalg.eigh(matrix.T @ matrix)
    shown = min(_DIRECTIONS, directions.shape[1])
    placed = matrix @ directions[:, ::-1][:, :shown]
    placed *= np.sign(placed[np.abs(placed).argmax(axis=0), np.arange(shown)])
    placed /= placed.std(axis=0)
    ends = min(_ENDS, len(placed) // 2)
    order = np.argsort(-placed, axis=0, kind="stable")
    rows = np.concatenate([np.r_[column[:ends], column[-ends:]] for column in order.T])
    kept = list(dict.fromkeys(rows.tolist()))
    ids = table["id"].to_numpy()[kept].tolist()
    titles = {
        row["item"]: row["title"] for row in _titles(run).where(F.col("item").isin(ids)).collect()
    }
    return {
        "items": [titles.get(item, str(item)) for item in ids],
        "values": placed[kept].round(3).tolist(),
    }
