"""What is measured, and what is delivered."""

from datetime import datetime
from typing import Literal

from pydantic import Field, field_validator, model_validator

from recsys_spark.config.section import Section
from recsys_spark.config.sources import TableFile
from recsys_spark.kernels.topn.group_scores import Opinion
from recsys_spark.neighbours.spec import Similarity


class UserAttributes(TableFile):
    path: str | None = Field(None, description="Table of users; null: no segments by attribute.")
    user: str | int = Field("user_id", description="Column of the user id.")
    columns: list[str] = Field(
        [], description="Columns whose values part the users, such as [country, device]."
    )

    def named_columns(self) -> dict[str, str | int | None]:
        """The columns that the section names, by their keys."""
        attributes: dict[str, str | int | None] = {f"columns.{name}": name for name in self.columns}
        return {"user": self.user, **attributes}

    @model_validator(mode="after")
    def _both(self) -> "UserAttributes":
        if (self.path is None) != (not self.columns):
            raise ValueError("path and columns need each other: set both or neither")
        return self


class Neighbours(Section):
    similarity: Similarity = Field(
        "cosine", description="Of the sets of users who have an item (or of items that a user has)."
    )
    neighbours: int = Field(50, ge=1, description="Nearest items (or users) that count.")
    shrinkage: float = Field(
        0.0, ge=0, description="Added to the denominator of cosine, jaccard and tfidf."
    )

    @model_validator(mode="after")
    def _shrinks(self) -> "Neighbours":
        if self.shrinkage and self.similarity == "bm25":
            raise ValueError("shrinkage has no effect with similarity: bm25; remove it")
        return self


class MllibAls(Section):
    rank: int | None = Field(None, ge=1, description="Rank; null: that of the model.")
    iterations: int | None = Field(None, ge=1, description="Iterations; null: those of the model.")
    regularization: float = Field(0.1, ge=0, description="regParam.")
    alpha: float = Field(1.0, ge=0, description="alpha; only used without ratings as targets.")


BaselineName = Literal["popularity", "recent_popularity", "random", "item_knn", "user_knn", "mllib"]


class Evaluate(Section):
    split: Literal["test", "validation"] = Field("test", description="Rows held as the truth.")
    k: list[int] = Field([5, 10, 20], min_length=1, description="Cut-offs of the ranking metrics.")
    min_relevant_value: float | None = Field(
        None, description="Truth rows below are not relevant; null: every row is."
    )
    full_ranking: bool = Field(
        True, description="Also measure auc and percentile_rank, which rank the whole catalog."
    )
    sampled_negatives: int | None = Field(
        None,
        ge=1,
        description="Also rank each user's test items among so many others, drawn at random: the "
        "protocol of sampled candidates, for comparing with papers. null: only the catalog.",
    )
    resamples: int = Field(
        1000, ge=0, description="Resamples of the users for 95 % intervals; 0: no intervals."
    )
    per_user: Literal["all", "delivered"] = Field(
        "all",
        description="Models that the table metrics_per_user has, which compare reads: all that "
        "are measured, or only the one whose lists are delivered.",
    )
    cold_below: int = Field(
        5, ge=1, description="Users with fewer training rows are the segment activity=cold."
    )
    users: UserAttributes = UserAttributes()
    baselines: list[BaselineName] = Field(
        ["popularity", "recent_popularity", "random", "item_knn"],
        description="Recommenders measured beside the model: popularity, recent_popularity, "
        "random, item_knn, user_knn, mllib (Spark's ALS).",
    )
    recent_days: float = Field(
        30.0, gt=0, description="Age up to which rows count for recent_popularity; days."
    )
    item_knn: Neighbours = Neighbours()
    user_knn: Neighbours = Neighbours()
    max_pair_products: int = Field(
        5_000_000_000, ge=0, description="item_knn and user_knn are left out where they need more."
    )
    mllib: MllibAls = MllibAls()

    @field_validator("k")
    @classmethod
    def _cutoffs(cls, value: list[int]) -> list[int]:
        if min(value) < 1:
            raise ValueError("cut-offs are 1 or more")
        return sorted(set(value))

    @field_validator("baselines")
    @classmethod
    def _once(cls, value: list[BaselineName]) -> list[BaselineName]:
        return list(dict.fromkeys(value))


class UserSubset(TableFile):
    path: str | None = Field(None, description="File of user ids; null: every known user.")
    column: str | int = Field("user_id", description="Column of the user id.")


class ItemList(TableFile):
    path: str | None = Field(None, description="File of item ids; null: no such list.")
    column: str | int = Field("item_id", description="Column of the item id.")


class Windows(TableFile):
    path: str | None = Field(
        None, description="Table of when items are available; others always are. null: none."
    )
    item: str | int = Field("item_id", description="Column of the item id.")
    since: str | int = Field(
        "available_from", description="Column of the first moment; empty: always."
    )
    until: str | int = Field("available_until", description="Column of the end; empty: for ever.")
    at: datetime | None = Field(
        None, description="When the lists will be shown; UTC. null: when the stage starts."
    )


class Blocked(TableFile):
    path: str | None = Field(None, description="Table of pairs that are never listed; null: none.")
    user: str | int = Field("user_id", description="Column of the user id.")
    item: str | int = Field("item_id", description="Column of the item id.")


class Segments(TableFile):
    path: str | None = Field(
        None, description="Table of the segment of each user, such as a country; null: none."
    )
    user: str | int = Field("user_id", description="Column of the user id.")
    segment: str | int = Field("segment", description="Column of the segment's name.")


class SegmentItems(TableFile):
    path: str | None = Field(
        None,
        description="Table of the only items that users of a segment are listed; a segment without "
        "rows has all. null: all have.",
    )
    segment: str | int = Field("segment", description="Column of the segment's name.")
    item: str | int = Field("item_id", description="Column of the item id.")


class NewItems(ItemList):
    path: str | None = Field(
        None, description="File of further new items, with or without interactions; null: none."
    )
    slots: int = Field(0, ge=0, description="Slots of each list that new items have, at least.")
    days: float | None = Field(
        30.0,
        gt=0,
        description="An item is new so many days from its first event on; null: only those of "
        "path are.",
    )

    @model_validator(mode="after")
    def _placed(self) -> "NewItems":
        if self.path is not None and not self.slots:
            raise ValueError("path has no effect without slots; set slots or remove it")
        if self.path is None and self.days is None:
            raise ValueError("days: null needs a path of new items; set one of them")
        return self


class TailItems(Section):
    slots: int = Field(0, ge=0, description="Slots of each list that the tail has, at least.")
    share: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="The tail: the least popular items that together have this share of all "
        "interactions.",
    )


class Policy(Section):
    allow: ItemList = ItemList()
    allow_in_segment: SegmentItems = SegmentItems()
    deny: ItemList = ItemList()
    available: Windows = Windows()
    blocked: Blocked = Blocked()
    min_users: int | None = Field(
        None,
        ge=1,
        description="Items that fewer users interacted with are not listed, new ones included; "
        "null: any item.",
    )
    min_score: float | None = Field(
        None, description="The model lists nothing that it scores below; null: anything."
    )
    max_per_genre: int | None = Field(
        None, ge=1, description="Items of one genre in a list, at most; null: any number."
    )
    diversity: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="How much being unlike what is listed above counts beside the score (MMR).",
    )
    popularity_discount: float = Field(
        0.0, ge=0, le=1, description="Scores are divided by popularity to this power."
    )
    new_items: NewItems = NewItems()
    tail_items: TailItems = TailItems()


class SimilarItems(Section):
    n: int = Field(0, ge=0, description="Items like each item, in a table of their own; 0: none.")
    min_users: int = Field(
        5, ge=1, description="Items that fewer users have are not listed as similar."
    )
    genre_weight: float = Field(
        0.0,
        ge=0,
        le=1,
        description="How much common genres count beside the factors, 0 to 1; needs items.path.",
    )


class SimilarUsers(Section):
    n: int = Field(0, ge=0, description="Users like each user, in a table of their own; 0: none.")


class Groups(TableFile):
    path: str | None = Field(
        None, description="Table of group and user; their lists are in a table of their own."
    )
    group: str | int = Field("group_id", description="Column of the group id.")
    user: str | int = Field("user_id", description="Column of the user id.")
    opinion: Opinion = Field(
        "average", description="A group's score: its members' mean, the least or the largest."
    )
    member_scores: bool = Field(
        False, description="Say of each listed item what it scores for each member."
    )


class Recommend(Section):
    n: int = Field(10, ge=1, description="Recommendations a user.")
    model: str | list[str] = Field(
        "model",
        description="Whose lists are delivered: model, the weighted ALS, or a name under models; "
        "of several, each serves the users that none before it knows.",
    )
    cold_start_items: bool = Field(
        False,
        description="Also list items of items.path without interactions; needs a model "
        "of kind content.",
    )
    users: UserSubset = UserSubset()
    changed_since: str | None = Field(
        None,
        description="Make lists anew only for users with other interactions than in the lists of "
        "this run (published: those that readers have), and keep the others' lists; null: all.",
    )
    exclude_seen: bool = Field(True, description="Leave out what the user has interacted with.")
    seen_days: float | None = Field(
        None,
        gt=0,
        description="Only interactions of so many days before the newest event count as "
        "seen; null: ever.",
    )
    last_interaction: bool = Field(
        False,
        description="Column last_interaction: when the user last interacted with each listed item.",
    )
    explain: int = Field(
        0, ge=0, description="Items of the user named as reasons of each listed one (because)."
    )
    segments: Segments = Segments()
    policy: Policy = Policy()
    backfill: bool = Field(
        True,
        description="Fill short lists with popular items: of the user's segment first, if there "
        "are segments.",
    )
    slice_users: int = Field(
        5_000_000,
        ge=1,
        description="Users whose lists are written together; a stage that was stopped goes on "
        "behind the last of them.",
    )
    file_mb: int = Field(128, ge=1, description="Size of the lists' files, about; MiB.")
    buckets: int = Field(
        0,
        ge=0,
        description="Write a user's list to the file of this number: the CRC-32 of the id's text "
        "modulo buckets; 0: files are ranges of user ids.",
    )
    similar_items: SimilarItems = SimilarItems()
    similar_users: SimilarUsers = SimilarUsers()
    groups: Groups = Groups()

    @property
    def chain(self) -> list[str]:
        """The names of the models that serve, the first ones first."""
        return [self.model] if isinstance(self.model, str) else self.model

    @model_validator(mode="after")
    def _someone(self) -> "Recommend":
        if not self.chain:
            raise ValueError("model is empty; name model, or one under models")
        if len(set(self.chain)) < len(self.chain):
            raise ValueError("model names a model twice; name each once")
        return self

    @model_validator(mode="after")
    def _seen(self) -> "Recommend":
        if self.seen_days is not None and not self.exclude_seen:
            raise ValueError("seen_days has no effect with exclude_seen: false; remove it")
        return self

    @model_validator(mode="after")
    def _effects(self) -> "Recommend":
        if self.last_interaction and self.exclude_seen and self.seen_days is None:
            raise ValueError(
                "last_interaction has no effect where seen items are left out; set exclude_seen: "
                "false or seen_days, or remove it"
            )
        if self.cold_start_items and self.policy.min_users is not None:
            raise ValueError(
                "policy.min_users removes all items that cold_start_items adds; remove one of them"
            )
        if self.policy.allow_in_segment.path is not None and self.segments.path is None:
            raise ValueError("policy.allow_in_segment needs the users' segments: set segments.path")
        if self.policy.new_items.slots + self.policy.tail_items.slots > self.n:
            raise ValueError("policy.new_items and policy.tail_items have more slots than n")
        return self
