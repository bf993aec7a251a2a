"""Recommenders beside the weighted ALS, and mixtures of them."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    FiniteFloat,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from recsys_spark.config.section import Section
from recsys_spark.config.serving import MllibAls
from recsys_spark.config.training import Objective
from recsys_spark.errors import ConfigError
from recsys_spark.neighbours.spec import ContentKnn, Ease, ItemKnn, RP3Beta, Similarity, UserKnn

# The weighted ALS of the section objective, which is always trained.
WALS = "model"

# Scores are in single precision.
Weight = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Kind = Literal[
    "wals", "mllib", "cosine", "item_knn", "user_knn", "rp3beta", "ease", "content", "popularity",
    "blend",
]  # fmt: skip

NeighbourSpec = ItemKnn | UserKnn | RP3Beta | Ease | ContentKnn
_SPECS: dict[str, Callable[..., NeighbourSpec]] = {
    "item_knn": ItemKnn,
    "user_knn": UserKnn,
    "rp3beta": RP3Beta,
    "ease": Ease,
    "content": ContentKnn,
}
_KEYS: dict[str, set[str]] = {
    "wals": {"objective"},
    "mllib": {"rank", "iterations", "regularization", "alpha"},
    "cosine": {"of"},
    "item_knn": {"similarity", "shrinkage", "neighbours", "weights", "centring"},
    "user_knn": {"similarity", "shrinkage", "neighbours", "weights", "centring"},
    "rp3beta": {"alpha", "user_alpha", "beta", "neighbours", "weights"},
    "ease": {"regularization", "neighbours"},
    "content": {"neighbours"},
    "popularity": {"days", "segment_by"},
    "blend": {"parts", "method", "constant"},
}


class ObjectiveKeys(Objective):
    """Keys that are laid over those of the section objective, with which they are checked."""

    @model_validator(mode="after")
    def _resolves(self) -> "ObjectiveKeys":
        return self


class Model(Section):
    kind: Kind = Field(
        ...,
        description="wals (another weighted ALS), mllib (Spark's ALS), cosine (of factors), "
        "item_knn, user_knn, rp3beta (random walks), ease (linear autoencoder), content (titles "
        "and genres), popularity, or blend (of others).",
    )
    objective: ObjectiveKeys = Field(
        ObjectiveKeys(),
        description="wals: keys that differ from those of the section objective, of which none "
        "counts where a preset is named.",
    )
    of: str = Field(
        "model",
        description="cosine: whose factors are compared: model, or one of kind wals or mllib.",
    )
    rank: int | None = Field(None, ge=1, description="mllib: rank; null: that of objective.")
    iterations: int | None = Field(
        None, ge=1, description="mllib: iterations; null: those of objective."
    )
    similarity: Similarity = Field(
        "cosine", description="item_knn: of the users of two items; user_knn: of users' items."
    )
    shrinkage: FiniteFloat = Field(
        0.0, ge=0, description="item_knn, user_knn: added to the denominator of the similarity."
    )
    neighbours: int | None = Field(
        None,
        ge=1,
        description="item_knn, content (50), rp3beta (300), ease (all): nearest items of each that "
        "count; user_knn (50): nearest users.",
    )
    weights: Literal["binary", "values"] = Field(
        "binary",
        description="item_knn, user_knn, rp3beta: whether an interaction counts 1 or its value.",
    )
    centring: Literal["none", "item_mean", "user_mean"] = Field(
        "none", description="item_knn, user_knn: the mean that similarities subtract from values."
    )
    alpha: FiniteFloat = Field(
        1.0,
        description="rp3beta: power of the degrees along the walk; mllib: scale of confidence.",
    )
    user_alpha: FiniteFloat | None = Field(
        None, description="rp3beta: power of the users' degrees; null: alpha."
    )
    beta: FiniteFloat = Field(0.5, description="rp3beta: power of the popularity that scores lose.")
    regularization: FiniteFloat | None = Field(
        None, gt=0, description="ease (200), mllib (0.1): strength of the L2 penalty."
    )
    days: FiniteFloat | None = Field(
        None,
        gt=0,
        description="popularity: only interactions of so many days before the newest count; null: "
        "all.",
    )
    segment_by: str | None = Field(
        None,
        min_length=1,
        description="popularity: a column of evaluate.users, such as country; users are listed "
        "what is popular among those with their value, users without one what is popular overall. "
        "null: the same for all users.",
    )
    parts: dict[str, Weight] = Field(
        {}, description="blend: weights of others by name; model is the weighted ALS."
    )
    method: Literal["sum", "standardised", "rank_fusion"] = Field(
        "sum",
        description="blend: sum of scores; standardised: each divided by its standard deviation "
        "over the user's items; rank_fusion: sum of weight / (constant + rank).",
    )
    constant: FiniteFloat = Field(60.0, gt=0, description="blend: constant of rank_fusion.")

    @model_validator(mode="after")
    def _effective(self) -> "Model":
        idle = sorted(self.model_fields_set - _KEYS[self.kind] - {"kind"})
        if idle:
            raise ValueError(
                f"{', '.join(idle)} has no effect with kind: {self.kind}, which has "
                f"{', '.join(sorted(_KEYS[self.kind]))}; remove it"
            )
        if self.kind == "blend" and not self.parts:
            raise ValueError("a blend needs parts, such as {model: 1.0, walks: 20.0}")
        if self.parts and max(self.parts.values()) <= 0:
            raise ValueError("a blend needs a part with a weight above 0")
        if self.kind in _SPECS:
            self.spec()
        if self.kind == "mllib" and self.alpha < 0:
            raise ValueError("alpha is the scale of confidence with kind: mllib, and 0 or more")
        if "constant" in self.model_fields_set and self.method != "rank_fusion":
            raise ValueError("constant has no effect without method: rank_fusion; remove it")
        return self

    @model_serializer(mode="wrap")
    def _own_keys(
        self, write: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        """The keys of the kind, as they take effect, so that what is written can be read again."""
        keys = {"kind", *_KEYS[self.kind]}
        own = {key: value for key, value in write(self).items() if key in keys}
        if info.exclude_unset:
            return own
        if "objective" in own:
            own["objective"] = self.objective.model_dump(mode=info.mode, exclude_unset=True)
        if self.kind in _SPECS:
            known = asdict(self.spec())
            own |= {key: known[key] for key in own if key in known}
        if self.method != "rank_fusion":
            own.pop("constant", None)
        return own

    @property
    def fitted(self) -> bool:
        """Whether training writes tables of it."""
        return self.kind not in ("blend", "cosine", "user_knn")

    @property
    def by_factors(self) -> bool:
        """Whether it has factors of its own."""
        return self.kind in ("wals", "mllib")

    @property
    def made_of(self) -> list[str]:
        """The models by whose scores it scores."""
        return [self.of] if self.kind == "cosine" else list(self.parts)

    def unexplained(self) -> str | None:
        """What to do where its scores cannot be divided among the user's items."""
        if self.by_factors:
            return "leave it out of recommend.model"
        if self.method == "rank_fusion":
            return "set method: sum or standardised there"
        divided = self.similarity in ("cosine", "jaccard") and self.centring == "none"
        if self.kind == "user_knn" and not divided:
            return "set similarity: cosine (or jaccard) and centring: none there"
        return None

    def mllib(self) -> MllibAls:
        """The settings of Spark's ALS."""
        return MllibAls(**self._given())

    def _given(self) -> dict[str, Any]:
        keys = self.model_dump(exclude_unset=True, exclude={"kind"})
        return {key: value for key, value in keys.items() if value is not None}

    def spec(self) -> NeighbourSpec:
        """The settings of a neighbour model, with the kind's own defaults where none are given.

        Raises ValueError for settings that do not go together.
        """
        try:
            return _SPECS[self.kind](**self._given())
        except ConfigError as error:
            raise ValueError(str(error).rstrip(".")) from None

    def has(self, key: str) -> bool:
        """Whether it has a (dotted) key below its own, such as beta or parts.walks."""
        name, _, inner = key.partition(".")
        if name not in _KEYS[self.kind]:
            return False
        below = {"objective": list(Objective.model_fields), "parts": list(self.parts)}
        return inner in below[name] if name in below else not inner
