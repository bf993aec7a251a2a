"""Models as they are fitted: the tables that their scorers are made of, and how they score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.factors import factor_bytes
from recsys_spark.errors import ConfigError, setting
from recsys_spark.lookup import Lookup
from recsys_spark.topn.blend_scorer import BlendScorer
from recsys_spark.topn.catalog import MODEL, Catalog, with_factors
from recsys_spark.topn.explanations import Explainer
from recsys_spark.topn.matrices import interaction_rows, item_scores, segment_scores, sparse_rows
from recsys_spark.topn.request import ByScorers, Nearest
from recsys_spark.topn.scorers import FactorScorer, NeighbourScorer, Scorer, UserNeighbourScorer
from recsys_spark.topn.static_scorers import SegmentScorer, StaticScorer

_MB = 2**20
_ENTRY_BYTES = 8  # a position and a weight
_SCORE_BYTES = 16  # a score, whether there is one, and the same in order


@dataclass(frozen=True)
class Basis:
    """What all scorers are made over.

    catalog: with the item factors where the weighted ALS is among the models or a part of one.
    history: columns user, item and, where a model weighs histories by them, value: what users
    interacted with. budget_mb: of what every worker needs of one model. explainer: of scores of the
    weighted ALS, where they are to be explained.
    """

    catalog: Catalog
    history: DataFrame
    budget_mb: int
    explainer: Explainer | None = None

    def require_room(self, size: int, what: str, cure: str) -> None:
        """Raise ConfigError where what every worker needs exceeds the budget. size: in bytes."""
        if size > self.budget_mb * _MB:
            raise ConfigError(
                f"Every worker needs {what}, {size / _MB:,.0f} MB: {cure}, or raise "
                f"{setting('budget_mb')} above that."
            )


class FittedModel(Protocol):
    """A model that scores by itself."""

    def scorer(self, name: str, basis: Basis) -> Scorer:
        """Its scorer. Raises ConfigError for what is too large for the workers."""
        ...


@dataclass(frozen=True)
class FactorModel:
    """users, items: columns id and factors."""

    users: DataFrame
    items: DataFrame

    def scorer(self, name: str, basis: Basis) -> FactorScorer:
        """The products of both. Raises ConfigError where the items' are too many."""
        size = factor_bytes(self.items)
        basis.require_room(size, f"the item factors of {name}", "lower its rank")
        own = with_factors(basis.catalog, self.items)
        return FactorScorer(name, own.factors, own.scored)


@dataclass(frozen=True)
class NeighbourModel:
    """rows: columns item, neighbours and weights, a row an item. positive, weighted: as of
    `NeighbourScorer`.
    """

    rows: DataFrame
    positive: bool = True
    weighted: bool = False

    def scorer(self, name: str, basis: Basis) -> NeighbourScorer:
        """Sums over the history. Raises ConfigError where the neighbours are too many."""
        row = self.rows.agg(F.sum(F.size("neighbours"))).first()
        size = _ENTRY_BYTES * int(row[0] or 0) if row else 0
        cure = f"lower {setting('neighbours', model=name)}"
        basis.require_room(size, f"the neighbours of {name}", cure)
        return self.over(basis.catalog.lookup)

    def over(self, lookup: Lookup) -> NeighbourScorer:
        """The same, whatever its size. lookup: of the catalog's internal ids."""
        return NeighbourScorer(sparse_rows(self.rows, lookup), self.positive, self.weighted)


@dataclass(frozen=True)
class UserNeighbourModel:
    """weighted: whether interactions count by their values, or 1."""

    weighted: bool = False

    def scorer(self, name: str, basis: Basis) -> UserNeighbourScorer:
        """Sums over similar users. Raises ConfigError where the interactions are too many."""
        size, lookup = _ENTRY_BYTES * basis.history.count(), basis.catalog.lookup
        basis.require_room(size, f"the interactions for {name}", "take kind: item_knn")
        matrix = interaction_rows(basis.history, lookup, self.weighted)
        return UserNeighbourScorer(
            matrix, weighted=self.weighted, model=name, width=len(lookup.ids)
        )


@dataclass(frozen=True)
class PopularityModel:
    """scores: columns segment, item and score; segment is null in the scores of all users.
    in_segments: whether segments have scores of their own.
    """

    scores: DataFrame
    in_segments: bool = False

    def scorer(self, name: str, basis: Basis) -> StaticScorer | SegmentScorer:
        """The same for all users, or for a segment. Raises ConfigError for too many segments."""
        lookup = basis.catalog.lookup
        if not self.in_segments:
            return StaticScorer(*item_scores(self.scores, lookup))
        count = self.scores.select("segment").distinct().count()
        size = _SCORE_BYTES * count * len(lookup.ids)
        basis.require_room(size, f"the scores of {name}", "take a column with fewer values")
        found = segment_scores(self.scores, lookup)
        own = {key: StaticScorer(*scores) for key, scores in found.items()}
        overall = own.pop(None)
        return SegmentScorer(name, overall, {key: own[key] for key in own if key is not None})


@dataclass(frozen=True)
class CosineModel:
    """of: the name of a model with factors, whose cosine it scores by."""

    of: str


@dataclass(frozen=True)
class BlendModel:
    """parts: weights of other models, by name. method, constant: as of `BlendScorer`."""

    parts: Mapping[str, float]
    method: Literal["sum", "standardised", "rank_fusion"]
    constant: float


# What is made of others.
Mixture = CosineModel | BlendModel


@dataclass(frozen=True)
class Models:
    """The models that serve, and their parts, by name; but for the weighted ALS, which is
    `catalog.MODEL`.
    """

    fitted: Mapping[str, FittedModel]
    mixtures: Mapping[str, Mixture]

    @property
    def factors(self) -> dict[str, FactorModel]:
        """Those with factors of their own."""
        return {name: own for name, own in self.fitted.items() if isinstance(own, FactorModel)}


def ranked_by(
    models: Models,
    names: Sequence[str],
    basis: Basis,
    main: DataFrame,
    nearest: Mapping[str, Nearest],
    segments: Mapping[str, DataFrame],
) -> ByScorers:
    """The scorers of these of the models, the first ones first, with what they score by.

    main: the user factors of the weighted ALS, columns id and factors. nearest, segments: as of
    `ByScorers`. Raises ConfigError for what is too large for the workers.
    """
    found = scorers(models, names, basis)
    users = {MODEL: main} | {name: own.users for name, own in models.factors.items()}
    needed = {name: users[name] for own in found.values() for name in own.needs}
    return ByScorers(tuple(found.items()), needed, basis.history, nearest, segments)


def scorers(models: Models, names: Sequence[str], basis: Basis) -> dict[str, Scorer]:
    """The scorers of these of the models, by name.

    Raises ConfigError for what is too large for the workers.
    """
    own = basis.catalog.factors, basis.catalog.scored
    alone: dict[str, Scorer] = {MODEL: FactorScorer(MODEL, *own, explainer=basis.explainer)}
    alone |= {name: model.scorer(name, basis) for name, model in models.fitted.items()}
    return {name: with_parts(models.mixtures, name, alone) for name in names}


def with_parts(mixtures: Mapping[str, Mixture], name: str, alone: Mapping[str, Scorer]) -> Scorer:
    """The scorer of a model; blends and cosines are made of those of other models."""
    if name in alone:
        return alone[name]
    model = mixtures[name]
    if isinstance(model, CosineModel):
        return by_cosine(alone[model.of])
    parts = ((with_parts(mixtures, part, alone), weight) for part, weight in model.parts.items())
    return BlendScorer(tuple(parts), model.method, model.constant)


def by_cosine(scorer: Scorer) -> FactorScorer:
    """The same factors, of length 1."""
    assert isinstance(scorer, FactorScorer), "the configuration refuses others"
    return replace(scorer, cosine=True)
