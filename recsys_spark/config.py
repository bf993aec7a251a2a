"""The configuration: typed, frozen, validated once, before any JVM starts.

The classes below are the truth about every key, its default, meaning and unit; `conf/base.yaml`
is written from them (`recsys-spark config --defaults`), and a wheel works without that file.
`settings.load_config` reads files and overrides into them.
"""

import hashlib
import json
import re
from datetime import datetime
from functools import reduce
from math import isfinite
from operator import getitem
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from recsys_spark.kernels import solver as solvers
from recsys_spark.kernels.spec import (
    Biases,
    Confidence,
    Counted,
    Init,
    Order,
    PresetName,
    Target,
    WalsSpec,
    Weighting,
    resolve_spec,
)

Fraction = float
Reason = Literal[
    "malformed_row",
    "bad_encoding",
    "empty_user",
    "bad_user",
    "long_user",
    "empty_item",
    "bad_item",
    "long_item",
    "missing_value",
    "bad_value",
    "nan_value",
    "infinite_value",
    "out_of_range",
    "unknown_event",
    "bad_timestamp",
    "future_timestamp",
]
IdType = Literal["auto", "string", "long"]
FileFormat = Literal["csv", "jsonl", "parquet"]
FilterOp = Literal["eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "is_null", "not_null"]
Scalar = bool | int | float | str
MASK = "********"
_SECRET = re.compile(r"secret|password|token|(access|account)[._-]?key|credential", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?<=://)[^/\s]+@")


class Section(BaseModel):
    """A frozen group of keys; an unknown key is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class Paths(Section):
    root: str = Field("recsys_data", description="Folder or URI under which tables and runs live.")


class Spark(Section):
    master: str = Field(
        "local[*]", description="Used only where spark-submit has not chosen a master."
    )
    app_name: str = Field("recsys_spark", description="Name shown in Spark's own pages.")
    driver_memory: str = Field(
        "4g", description="Heap of the local-mode JVM; spark-submit has its own option."
    )
    shuffle_partitions: int | None = Field(
        None, ge=1, description="Partitions of a shuffle; null: two per core in local mode."
    )
    conf: dict[str, Scalar] = Field(
        {}, description="Further spark.* settings; those given to spark-submit win."
    )


class SourceColumns(Section):
    user: str | int = Field("user_id", description="Column of the user id: a name, or a position.")
    item: str | int = Field("item_id", description="Column of the item id.")
    value: str | int | None = Field(
        "rating", description="Column of the rating or count; null: every event counts 1."
    )
    timestamp: str | int | None = Field(
        "timestamp", description="Column of the event time; null: the events have none."
    )
    event: str | int | None = Field(
        None, description="Column of the event's type, weighed by event_weights; null: no types."
    )


class Source(Section):
    path: str | None = Field(None, description="File, folder or glob of the events (required).")
    format: FileFormat = Field("csv", description="csv (any separator), jsonl or parquet.")
    separator: str = Field(",", description="One or two characters between csv fields; \\t is tab.")
    quote: str = Field('"', description="Quotation mark of csv fields; empty: none.")
    header: bool = Field(
        True, description="Whether csv files begin with a header; without: columns by position."
    )
    columns: SourceColumns = SourceColumns()
    timestamp_unit: Literal["seconds", "milliseconds", "microseconds", "iso"] = Field(
        "seconds", description="Unit of the event time since 1970, or iso for written dates."
    )
    user_id_type: IdType = Field(
        "auto", description="auto: long where a Parquet source has whole numbers, else string."
    )
    item_id_type: IdType = Field("auto", description="The same for items.")

    @field_validator("separator")
    @classmethod
    def _separator(cls, value: str) -> str:
        value = value.replace("\\t", "\t")
        if not 1 <= len(value) <= 2:
            raise ValueError("needs one or two characters")
        return value

    @field_validator("quote")
    @classmethod
    def _quote(cls, value: str) -> str:
        if len(value) > 1:
            raise ValueError("needs one character, or none")
        return value

    @model_validator(mode="after")
    def _positions(self) -> "Source":
        if self.format == "csv" and not self.header:
            named = [
                key
                for key, value in self.columns.model_dump().items()
                if value is not None and not isinstance(value, int)
            ]
            if named:
                keys = ", ".join(f"columns.{key}" for key in named)
                raise ValueError(
                    f"has header: false, so columns are positions counted from 0: set {keys}"
                )
        return self


class Rules(Section):
    min_value: float | None = Field(None, description="Values below are rejected (out_of_range).")
    max_value: float | None = Field(None, description="Values above are rejected (out_of_range).")
    min_timestamp: datetime = Field(
        datetime(1990, 1, 1), description="Earlier events are rejected (bad_timestamp); UTC."
    )
    max_future_hours: float = Field(
        24.0, ge=0, description="Events later than now plus this are rejected (future_timestamp)."
    )
    max_id_bytes: int = Field(256, ge=1, description="Longer ids are rejected (long_id); bytes.")


class Limit(Section):
    fraction: Fraction | None = Field(None, ge=0, le=1, description="Share of the rows read.")
    rows: int | None = Field(None, ge=0, description="Number of rows.")


class Thresholds(Section):
    max_rejected_fraction: Fraction = Field(
        0.05, ge=0, le=1, description="A larger share of rejected rows stops the stage (code 3)."
    )
    max_rejected_rows: int | None = Field(
        None, ge=0, description="More rejected rows stop the stage (code 3)."
    )
    per_rule: dict[Reason, Limit] = Field(
        {}, description="Limits by reason, such as {bad_number: {fraction: 0.01, rows: 500}}."
    )


class Filter(Section):
    column: str = Field(..., description="Column of the source.")
    op: FilterOp = Field(..., description="eq ne lt le gt ge in not_in is_null not_null.")
    value: Scalar | list[Scalar] | None = Field(None, description="What is compared with.")

    @model_validator(mode="after")
    def _value_fits(self) -> "Filter":
        if self.op in ("in", "not_in") and not isinstance(self.value, list):
            raise ValueError(f"op {self.op} needs a list as its value")
        if self.op in ("eq", "ne", "lt", "le", "gt", "ge") and (
            self.value is None or isinstance(self.value, list)
        ):
            raise ValueError(f"op {self.op} needs one value")
        return self


class Ingest(Section):
    source: Source = Source()
    rules: Rules = Rules()
    thresholds: Thresholds = Thresholds()
    filters: list[Filter] = Field(
        [], description="Keep rows that fulfil all, such as [{column: event, op: eq, value: buy}]."
    )
    event_weights: dict[str, float] = Field(
        {},
        description="What the value is multiplied by for each type of event, before duplicates are "
        "combined, such as {view: 1, cart: 3, purchase: 10}; other types are rejected.",
    )
    since: datetime | None = Field(None, description="Keep events from this time on; UTC.")
    until: datetime | None = Field(None, description="Keep events before this time; UTC.")
    duplicates: Literal["last", "max", "sum", "mean", "count", "error"] = Field(
        "last", description="What becomes of several events of one user with one item."
    )
    min_pair_value: float | None = Field(
        None, description="Keep user-item pairs with at least this value, after duplicates."
    )
    min_user_items: int = Field(
        1, ge=1, description="Keep users with at least so many items (repeated to a fixpoint)."
    )
    min_item_users: int = Field(
        1, ge=1, description="Keep items with at least so many users (repeated to a fixpoint)."
    )

    @field_validator("event_weights")
    @classmethod
    def _finite(cls, value: dict[str, float]) -> dict[str, float]:
        if not all(isfinite(weight) for weight in value.values()):
            raise ValueError("weights are finite numbers")
        return value

    @model_validator(mode="after")
    def _weighed(self) -> "Ingest":
        named = self.source.columns.event is not None
        if named and not self.event_weights:
            raise ValueError("source.columns.event needs event_weights, such as {view: 1, buy: 10}")
        if self.event_weights and not named:
            raise ValueError(
                "event_weights has no effect without source.columns.event; name it or remove them"
            )
        if self.event_weights and self.duplicates == "count":
            raise ValueError("event_weights has no effect with duplicates: count; choose sum")
        return self


class ItemColumns(Section):
    item: str = Field("item_id", description="Column of the item id.")
    title: str = Field("title", description="Column of the name shown to people.")
    genres: str | None = Field(None, description="Column of the genres; null: none.")


class Items(Section):
    path: str | None = Field(None, description="Table of item names; null: ids are shown instead.")
    format: FileFormat = Field("csv", description="csv (with a header), jsonl or parquet.")
    separator: str = Field(",", description="Between csv fields; \\t is tab.")
    quote: str = Field('"', description="Quotation mark of csv fields; empty: none.")
    columns: ItemColumns = ItemColumns()
    genre_separator: str = Field("|", description="Between the genres of one item.")

    @field_validator("separator")
    @classmethod
    def _separator(cls, value: str) -> str:
        return value.replace("\\t", "\t")


class Split(Section):
    method: Literal["random", "per_user", "leave_last_out", "global_time", "user_holdout"] = Field(
        "per_user", description="How test rows are chosen; docs/pipeline.md compares the methods."
    )
    test_fraction: Fraction = Field(
        0.2, gt=0, lt=1, description="Share of the rows (of the users, for user_holdout) in test."
    )
    validation_fraction: Fraction = Field(
        0.0, ge=0, lt=1, description="Share of the rows (of the users) in validation."
    )
    test_last: int = Field(1, ge=1, description="leave_last_out: last rows of a user in test.")
    validation_last: int = Field(
        0, ge=0, description="leave_last_out: rows of a user before those, in validation."
    )
    fold_in_fraction: Fraction = Field(
        0.8, gt=0, lt=1, description="user_holdout: share of a held-out user's rows to fold in."
    )
    drop_cold: bool = Field(
        False, description="Leave out test rows whose user or item is not in the training rows."
    )
    seed: int = Field(42, description="Changes which rows the hash chooses.")

    @model_validator(mode="after")
    def _consistent(self) -> "Split":
        if self.test_fraction + self.validation_fraction >= 1:
            raise ValueError("test_fraction + validation_fraction leave nothing to train on")
        last = self.method == "leave_last_out"
        idle = ["test_fraction", "validation_fraction"] if last else ["test_last"]
        idle += [] if last else ["validation_last"]
        idle += [] if self.method == "user_holdout" else ["fold_in_fraction"]
        for key in idle:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} has no effect with method: {self.method}; remove it")
        return self


class Objective(Section):
    preset: PresetName = Field(
        "ials",
        description="ials, hu2008, mllib, mllib_explicit (or explicit), implicit, irspack, "
        "lenskit, lenskit_explicit or tf_wals; null keys take its value (docs/objectives.md).",
    )
    rank: int | None = Field(None, description="Length of a factor vector (64).")
    iterations: int | None = Field(None, description="Sweeps over both sides (15).")
    unobserved_weight: float | None = Field(None, description="Weight w0 of unobserved pairs.")
    user_unobserved_exponent: float | None = Field(
        None, description="w0 grows with this power of the user's frequency; its mean stays."
    )
    item_unobserved_exponent: float | None = Field(
        None, description="The same for items, as in eALS, where it is 0.4 to 0.5."
    )
    weighting: Weighting | None = Field(
        None,
        description="Confidence c of value r. binary: 1; linear: alpha*r; log: alpha*ln(1 + "
        "r/epsilon); power: alpha*r^exponent; bm25, tfidf: alpha times implicit's of that name.",
    )
    alpha: float | None = Field(None, description="Scale of every weighting but binary.")
    epsilon: float | None = Field(None, description="Scale of r in log weights.")
    exponent: float | None = Field(None, description="Power of r in power weights (0.5).")
    bm25_k1: float | None = Field(None, description="Where bm25 weights level off (100).")
    bm25_b: float | None = Field(
        None, description="How much bm25 discounts frequent items, 0 to 1 (0.8)."
    )
    user_frequency_exponent: float | None = Field(
        None, description="c grows with this power of the user's frequency; its mean stays."
    )
    item_frequency_exponent: float | None = Field(
        None, description="The same for items; below 0, popular items count less."
    )
    half_life_days: float | None = Field(
        None, description="Age at which c has fallen to a half; days; null: no decay."
    )
    decay_reference: datetime | None = Field(
        None, description="Time from which ages are counted; UTC; null: the newest training row."
    )
    negative_alpha: float | None = Field(
        None, description="Scale of c for values of 0 or below, the dislikes; null: as for likes."
    )
    confidence: Confidence | None = Field(
        None,
        description="extra: c on top of w0; total: c is all the weight of a pair (implicit).",
    )
    target: Target | None = Field(
        None, description="weight: b = a (Google iALS); unit: target 1 (Hu); value: target r."
    )
    regularization: float | None = Field(None, description="Strength lambda of the L2 penalty.")
    user_regularization: float | None = Field(
        None, description="lambda of the users; null: regularization."
    )
    item_regularization: float | None = Field(
        None, description="lambda of the items; null: regularization."
    )
    nu: float | None = Field(None, description="Exponent of the penalty in the row's length.")
    beta: float | None = Field(
        None, description="Share of the other side's size counted into the row's length."
    )
    counted: Counted | None = Field(
        None, description="The row's length: all rows, positive values, or the sum of weights."
    )
    nu_star: float | None = Field(
        None, description="Rescale lambda to mean what it would at this nu; null: do not."
    )
    biases: Biases | None = Field(
        None,
        description="Of ratings. none; learned: with the factors; means: halfway between the means "
        "of user and item; damped: LensKit's. The last two are subtracted before training.",
    )
    bias_damping: float | None = Field(
        None, description="Number of average ratings that damped biases begin with (5)."
    )
    clip: tuple[float, float] | None = Field(
        None, description="Range [low, high] that predicted ratings are held in."
    )
    order: Order | None = Field(None, description="users_first or items_first in a sweep.")
    init: Init | None = Field(
        None, description="Initial factors: normal, unit_norm, uniform or squared_normal."
    )
    init_scale: float | None = Field(
        None,
        description="normal: standard deviation times sqrt(rank); uniform: upper end; "
        "squared_normal: standard deviation before squaring.",
    )
    nonnegative: bool | None = Field(None, description="Keep every factor at 0 or above.")
    seed: int | None = Field(None, description="Seed of the initial factors (42).")

    @model_validator(mode="after")
    def _resolves(self) -> "Objective":
        self.spec()
        return self

    def spec(self) -> WalsSpec:
        """The complete objective, the preset's values filled in."""
        given = self.model_dump()
        if self.decay_reference is not None:
            given["decay_reference"] = self.decay_reference.isoformat()
        return resolve_spec(**given)


class Solver(Section):
    method: solvers.Method = Field(
        "cholesky",
        description="cholesky: exact; cg: conjugate gradients; subspace: blocks of coordinates "
        "(iALS++); auto: cholesky or cg, whichever pays by rank and rows (docs/objectives.md).",
    )
    cg_steps: int | None = Field(None, description="Steps a row of cg (3).")
    subspace_block: int | None = Field(None, description="Coordinates a block of subspace (64).")
    layout: Literal["auto", "broadcast", "routed"] = Field(
        "auto",
        description="broadcast: each host receives the whole fixed side; routed: each task "
        "receives the rows it needs; auto: broadcast while both sides fit broadcast_budget_mb.",
    )
    blocks: int | None = Field(
        None,
        ge=1,
        description="Blocks a side; null: three a task slot, of at most 1,000,000 interactions.",
    )
    checkpoint_seconds: float | None = Field(
        60.0, ge=0, description="Keep the factors at most this often, to resume; null: never."
    )
    split_rows_above: int = Field(
        1_000_000, ge=1, description="Longer rows are split over several blocks; interactions."
    )
    broadcast_budget_mb: int = Field(
        2048, ge=1, description="Largest factor matrix that may be broadcast; MiB."
    )


class Train(Section):
    warm_start: bool = Field(
        False, description="Begin with the factors of the newest finished run, by id."
    )
    early_stopping: Literal["none", "loss", "ndcg"] = Field(
        "none", description="What ends training early: the loss, or NDCG of validation rows."
    )
    tolerance: float = Field(
        0.001, ge=0, description="A sweep that improves by a smaller share does not count."
    )
    patience: int = Field(2, ge=1, description="Sweeps without improvement after which it ends.")
    validation_users: int = Field(
        2000, ge=1, description="Users of the validation rows whose lists ndcg is measured on."
    )

    @model_validator(mode="after")
    def _effective(self) -> "Train":
        idle = ["tolerance", "patience"] if self.early_stopping == "none" else []
        idle += [] if self.early_stopping == "ndcg" else ["validation_users"]
        for key in idle:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} has no effect with early_stopping: {self.early_stopping}")
        return self


class Evaluate(Section):
    split: Literal["test", "validation"] = Field("test", description="Rows held as the truth.")
    k: list[int] = Field([5, 10, 20], min_length=1, description="Cut-offs of the ranking metrics.")
    min_relevant_value: float | None = Field(
        None, description="Truth rows below are not relevant; null: every row is."
    )
    baselines: list[Literal["popularity"]] = Field(
        ["popularity"], description="Simple recommenders measured beside the model."
    )

    @field_validator("k")
    @classmethod
    def _cutoffs(cls, value: list[int]) -> list[int]:
        if min(value) < 1:
            raise ValueError("cut-offs are 1 or more")
        return sorted(set(value))


class UserSubset(Section):
    path: str | None = Field(None, description="File of user ids; null: every known user.")
    format: FileFormat = Field("csv", description="csv (with a header), jsonl or parquet.")
    column: str = Field("user_id", description="Column of the user id.")


class Recommend(Section):
    n: int = Field(10, ge=1, description="Recommendations a user.")
    users: UserSubset = UserSubset()
    exclude_seen: bool = Field(True, description="Leave out what the user has interacted with.")
    backfill: bool = Field(True, description="Fill short lists with popular items.")


class Tracking(Section):
    backend: Literal["mlflow", "none"] = Field("mlflow", description="Where runs are mirrored.")
    uri: str | None = Field(
        None, description="Tracking server; null: MLFLOW_TRACKING_URI, else sqlite under the root."
    )
    experiment: str = Field("recsys_spark", description="Name of the MLflow experiment.")
    required: bool = Field(False, description="Whether a dead tracking server fails the run.")


class Generate(Section):
    path: str = Field("generated", description="Folder that the data set is written to.")
    kind: Literal["explicit", "implicit"] = Field("explicit", description="Ratings, or counts.")
    format: Literal["csv", "parquet"] = Field("csv", description="Format of the ratings.")
    users: int = Field(2000, ge=1, description="Number of users.")
    items: int = Field(1000, ge=1, description="Number of items.")
    interactions: int = Field(100_000, ge=1, description="Number of ratings, about.")
    rank: int = Field(8, ge=1, le=64, description="Length of the planted factors.")
    noise: float = Field(0.3, ge=0, description="Standard deviation of a rating's noise; stars.")
    user_skew: float = Field(0.8, ge=0, description="Exponent of the users' activity.")
    item_skew: float = Field(0.9, ge=0, description="Exponent of the items' popularity.")
    bad_fraction: Fraction = Field(
        0.0, ge=0, lt=1, description="Share of broken rows mixed in, to see them rejected."
    )
    partitions: int = Field(8, ge=1, description="Files of the ratings.")
    seed: int = Field(42, description="Same seed, same rows, on any cluster.")


class Config(Section):
    """The whole configuration; each stage is handed its own section."""

    paths: Paths = Paths()
    spark: Spark = Spark()
    ingest: Ingest = Ingest()
    items: Items = Items()
    split: Split = Split()
    objective: Objective = Objective()
    solver: Solver = Solver()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    recommend: Recommend = Recommend()
    tracking: Tracking = Tracking()
    generate: Generate = Generate()

    @model_validator(mode="after")
    def _solvable(self) -> "Config":
        self.solver_of_rows()
        return self

    def solver_of_rows(self) -> solvers.Solver:
        """The solver, as far as it changes the result. Raises ConfigError if it does not fit."""
        keys = self.solver.model_dump(include={"method", "cg_steps", "subspace_block"})
        return solvers.resolve_solver(self.objective.spec(), **keys)

    def digest(self, *keys: str) -> str:
        """Hash of the (dotted) keys that decide a result, or of all; eight hexadecimal digits."""
        whole = self.model_dump(mode="json")
        content = {key: reduce(getitem, key.split("."), whole) for key in keys} or whole
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]

    def masked(self) -> dict[str, Any]:
        """The effective configuration for logs and files, secrets replaced."""
        content = mask(self.model_dump(mode="json"))
        assert isinstance(content, dict)
        return content


def mask(value: Any, key: str = "") -> Any:
    """The value without passwords: those under a telling key, and those inside URLs."""
    if isinstance(value, dict):
        return {name: mask(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [mask(inner, key) for inner in value]
    if _SECRET.search(key) and value is not None:
        return MASK
    return _URL_PASSWORD.sub(f"{MASK}@", value) if isinstance(value, str) else value
