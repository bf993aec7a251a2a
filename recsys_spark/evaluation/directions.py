"""Direction and meaning of each metric, for everything that ranks models."""

from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """Which values of a metric are better; NEITHER: the metric describes and does not judge."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"

    @property
    def sign(self) -> int:
        """The factor that makes higher values better.

        Returns
        -------
        int
            1 where higher is better, -1 where lower is better, else 0.

        Examples
        --------
        >>> from recsys_spark.evaluation import DESCRIBED
        >>> DESCRIBED["ndcg"].direction.sign, DESCRIBED["rmse"].direction.sign
        (1, -1)
        """
        return {"higher": 1, "lower": -1}.get(self.value, 0)


@dataclass(frozen=True)
class Described:
    """A metric's direction and meaning; `DESCRIBED` has one by the name of each metric.

    Attributes
    ----------
    direction : Direction
        Which values are better.
    meaning : str
        One sentence for people; docs/metrics.md has the definition.
    """

    direction: Direction
    meaning: str


_HIGHER = {
    "precision": "Share of the list that is relevant.",
    "recall": "Share of the user's relevant items that are in the list.",
    "recall_min": "Recall of at most as many relevant items as the list has room for.",
    "f1": "Harmonic mean of precision and recall.",
    "hit_rate": "Share of the users with a relevant item in the list.",
    "mrr": "One divided by the rank of the first relevant item.",
    "map": "Mean of the precision at the ranks of the relevant items.",
    "map_min": "The same, of at most as many relevant items as the list has room for.",
    "ndcg": "Relevant items found, discounted by rank, as a share of a perfect list.",
    "ndcg_linear": "NDCG in which an item counts its value.",
    "ndcg_exponential": "NDCG in which an item counts 2 to the power of its value, minus 1.",
    "r_precision": "Precision of as many items as the user has relevant ones.",
    "rbp": "Relevant items found by a reader who goes on to the next rank with probability 0.8.",
    "auc": "Probability that a relevant item is ranked above another one.",
    "partial_auc": "The same among the top tenth of the other items.",
    "r2": "Share of the variance of the ratings that the predictions explain.",
    "novelty": "How few users have the listed items, in bits.",
    "serendipity": "Relevant items found that are ranked far above their popularity.",
    "diversity": "How different the listed items are, by the model's item factors.",
    "attribute_diversity": "How different the listed items are, by their attributes.",
    "item_coverage": "Share of the items that are in a list at all.",
    "user_coverage": "Share of the users with a list that is not empty.",
    "entropy": "How evenly the items are listed, in bits.",
    "personalisation": "How little the lists of two users have in common.",
}
_LOWER = {
    "percentile_rank": "Share of the other items ranked above a relevant one: 0.5 is random.",
    "rmse": "Root of the mean squared error of the predicted ratings.",
    "mae": "Mean absolute error of the predicted ratings.",
    "miscalibration": "How far the list's attributes are from those of the user's history.",
    "gini": "How unevenly the items are listed: 0 is all equally often.",
}
_NEITHER = {
    "popularity_rank": "Rank of the listed items by popularity, as a share: near 0 the best known.",
    "exposure": "Share of the listed items that belong to a group of items.",
    "catalog_share": "Share of all items that belong to a group of items.",
    "overlap": "Share of the items that two models' lists have in common.",
    "rbo": "Overlap of two models' lists in which the first ranks count most.",
}

DESCRIBED: dict[str, Described] = {
    name: Described(direction, meaning)
    for direction, meanings in (
        (Direction.HIGHER, _HIGHER),
        (Direction.LOWER, _LOWER),
        (Direction.NEITHER, _NEITHER),
    )
    for name, meaning in meanings.items()
}
"""Direction and meaning of every metric, by its name in the metrics table."""


def direction_of(metric: str) -> Direction:
    """The direction of a metric; NEITHER of one that is not among these."""
    return DESCRIBED[metric].direction if metric in DESCRIBED else Direction.NEITHER


# The metrics in the order in which people look for them.
_ORDER = (
    *("ndcg", "recall", "recall_min", "precision", "f1", "hit_rate", "mrr", "map", "map_min"),
    *("ndcg_linear", "ndcg_exponential", "r_precision", "rbp"),
    *("auc", "partial_auc", "percentile_rank", "rmse", "mae", "r2"),
    *("item_coverage", "user_coverage", "gini", "entropy", "personalisation"),
    *("novelty", "popularity_rank", "serendipity", "diversity", "attribute_diversity"),
    *("miscalibration", "overlap", "rbo"),
)
_RANK = {name: at for at, name in enumerate(_ORDER)}


def rank_of(metric: str) -> int:
    """Where a metric stands where several are shown; others are the last."""
    return _RANK.get(metric, len(_RANK))
