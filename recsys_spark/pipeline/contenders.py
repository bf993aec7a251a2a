"""Everyone who is measured on the held-out rows: the model and the baselines, by their lists."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from recsys_spark.config import Neighbours
from recsys_spark.pipeline.run import Run
from recsys_spark.pipeline.train import trained_spec
from recsys_spark.stages.mllib import fit_mllib
from recsys_spark.stages.neighbours import multiplications, recommend_by_neighbours
from recsys_spark.stages.segments import count_rows
from recsys_spark.stages.simple_scores import popularity_scores, random_scores, recent
from recsys_spark.topn.catalog import Catalogue
from recsys_spark.topn.recommend import recommend_from

MODEL = "model"
Scores = tuple[DataFrame, DataFrame]


@dataclass(frozen=True)
class Contender:
    """lists: columns user_id and recommendations, which name items by index.

    scores: factors of users and items, columns id and factors, of those who score every item.
    """

    lists: DataFrame
    scores: Scores | None


@dataclass(frozen=True)
class Contest:
    """What everyone is given.

    users: columns user_id, user, of whom lists are wanted, and seen, the items left out of their
    list. known: the same as pairs, columns user, item, of all users. items: of the training rows,
    columns item, rows and segment, from `by_popularity`. catalogue: the same items on the driver,
    named by index. n: length of the lists.
    """

    run: Run
    users: DataFrame
    known: DataFrame
    items: DataFrame
    catalogue: Catalogue
    n: int

    @property
    def train(self) -> DataFrame:
        """The rows that every contender learns from."""
        return self.run.read("train")

    @property
    def history(self) -> DataFrame:
        """Columns user, item: those, and of users held out whole the rows to fold in."""
        rows = self.train.select("user", "item")
        if self.run.has("fold_in"):
            rows = rows.unionByName(self.run.read("fold_in").select("user", "item"))
        return rows


def contenders(contest: Contest, model: Scores) -> dict[str, Contender]:
    """The lists of all, computed one after the other; a baseline that cannot be is left out."""
    run, found = contest.run, {}
    for name in (MODEL, *run.config.evaluate.baselines):
        run.log.progress(f"ranking by {name.replace('_', ' ')}")
        if name == MODEL:
            found[name] = _by_scores(contest, name, model)
        elif (contender := _BASELINES[name](contest, name)) is not None:
            found[name] = contender
    return found


def _by_scores(contest: Contest, name: str, scores: Scores) -> Contender:
    lists = recommend_from(contest.users, contest.catalogue, scores, contest.n, fill=False)
    return Contender(contest.run.keep(lists.drop("source"), f"lists/{name}"), scores)


def _popularity(contest: Contest, name: str) -> Contender:
    return _by_scores(contest, name, popularity_scores(contest.users, contest.items))


def _recent(contest: Contest, name: str) -> Contender | None:
    rows = recent(contest.train, contest.run.config.evaluate.recent_days)
    if rows is None:
        contest.run.log.info("recent_popularity is left out: the training rows have no time")
        return None
    counts = contest.run.keep(count_rows(rows, "item"), name)
    return _by_scores(contest, name, popularity_scores(contest.users, counts))


def _random(contest: Contest, name: str) -> Contender:
    seed = contest.run.config.split.seed
    return _by_scores(contest, name, random_scores(contest.users, contest.items, seed))


def _neighbours(side: str, config: Neighbours, contest: Contest, name: str) -> Contender | None:
    run, limit = contest.run, contest.run.config.evaluate.max_multiplications
    history = contest.history
    needed = multiplications(contest.users, history, side)
    if needed > limit:
        run.log.warning(
            f"{name} is left out: it needs {needed:,} multiplications, more than "
            f"evaluate.max_multiplications, {limit:,}"
        )
        return None
    lists = recommend_by_neighbours(contest.users, history, contest.known, side, config, contest.n)
    return Contender(run.keep(lists, f"lists/{name}"), None)


def _mllib(contest: Contest, name: str) -> Contender:
    run = contest.run
    with _releasing(run.spark):
        fitted = fit_mllib(contest.train, run.config.evaluate.mllib, trained_spec(run))
        users, items = (
            run.keep(factors, f"{name}/{side}")
            for side, factors in zip(("user", "item"), fitted, strict=True)
        )
    return _by_scores(contest, name, (users, items))


@contextmanager
def _releasing(spark: SparkSession) -> Iterator[None]:
    """Release what MLlib persists inside and forgets: its factors."""
    persisted = spark.sparkContext._jsc.getPersistentRDDs
    before = set(persisted())
    try:
        yield
    finally:
        for key, rdd in dict(persisted()).items():
            if key not in before:
                rdd.unpersist()


_BASELINES: dict[str, Callable[[Contest, str], Contender | None]] = {
    "popularity": _popularity,
    "recent_popularity": _recent,
    "random": _random,
    "item_knn": lambda contest, name: _neighbours(
        "item", contest.run.config.evaluate.item_knn, contest, name
    ),
    "user_knn": lambda contest, name: _neighbours(
        "user", contest.run.config.evaluate.user_knn, contest, name
    ),
    "mllib": _mllib,
}
