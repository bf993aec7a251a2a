"""The configuration: typed, frozen, validated once, before any JVM starts.

The classes below are the truth about every key, its default, meaning and unit; `conf/base.yaml`
is written from them (`recsys-spark config --defaults`), and a wheel works without that file.
`settings.load_config` reads files and overrides into them.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import getitem
from shlex import quote
from typing import Any, get_args

from pydantic import Field, model_validator

from recsys_spark.config.models import WALS, Model
from recsys_spark.config.names import KEYS
from recsys_spark.config.requirements import (
    VALIDATION_KEYS,
    needs_times,
    needs_validation,
    validation_cure,
    without_genres,
    without_times,
)
from recsys_spark.config.running import (
    USE_INSTEAD,
    Generate,
    Paths,
    Spark,
    Tracking,
    is_plain_folder,
)
from recsys_spark.config.secrets import MASK, mask
from recsys_spark.config.section import Scalar, Section
from recsys_spark.config.serving import (
    BaselineName,
    Blocked,
    Evaluate,
    Groups,
    ItemList,
    MllibAls,
    Neighbours,
    Recommend,
    SegmentItems,
    Segments,
    SimilarItems,
    UserAttributes,
    UserSubset,
    Windows,
)
from recsys_spark.config.sources import (
    Filter,
    Ingest,
    Items,
    Reason,
    Source,
    TableFile,
    ValidationRules,
)
from recsys_spark.config.splitting import Split
from recsys_spark.config.training import Objective, Solver, Train
from recsys_spark.config.validating import Backtest, Range, Tune
from recsys_spark.config.wanted import as_wanted, options, under, wants_text
from recsys_spark.errors import ConfigError, settings_named, similar_name
from recsys_spark.kernels.als import solver as solvers
from recsys_spark.kernels.als.spec import WalsSpec

__all__ = [
    "FITTED",
    "KEYS",
    "MASK",
    "USE_INSTEAD",
    "VALIDATION_KEYS",
    "WALS",
    "Backtest",
    "Blocked",
    "Config",
    "Filter",
    "Generate",
    "Groups",
    "Ingest",
    "ItemList",
    "Items",
    "MllibAls",
    "Model",
    "Neighbours",
    "Objective",
    "Range",
    "Reason",
    "Recommend",
    "Scalar",
    "Section",
    "SegmentItems",
    "Segments",
    "SimilarItems",
    "Solver",
    "Source",
    "Spark",
    "Split",
    "TableFile",
    "Tracking",
    "Train",
    "Tune",
    "UserAttributes",
    "UserSubset",
    "ValidationRules",
    "Windows",
    "as_wanted",
    "is_plain_folder",
    "mask",
    "needs_validation",
    "options",
    "under",
    "validation_cure",
    "wants_text",
    "without_times",
]


# A key of `Config.digest`: the models of which training writes tables.
FITTED = "fitted_models"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TAKEN = (WALS, "fold_in", "popular", "popular_in_segment", *get_args(BaselineName))


def _flat(content: dict[str, Any], kind: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        inner = under(kind, name)
        if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, Section):
            yield from _flat(value, inner, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _else(setting: str) -> str:
    """What else can be done than to give a setting what it needs."""
    key = setting.split(":")[0]
    return f"or choose another {key}" if key == "split.method" else f"or remove {key}"


class Config(Section):
    """The whole configuration; each stage is handed its own section."""

    paths: Paths = Paths()
    spark: Spark = Spark()
    ingest: Ingest = Ingest()
    items: Items = Items()
    split: Split = Split()
    objective: Objective = Objective()
    models: dict[str, Model] = Field(
        {},
        description="Recommenders beside the weighted ALS of objective, by names of your choice, "
        "such as {walks: {kind: rp3beta, beta: 0.4}}; docs/models.md has the kinds and their keys.",
    )
    solver: Solver = Solver()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    recommend: Recommend = Recommend()
    backtest: Backtest = Backtest()
    tune: Tune = Tune()
    tracking: Tracking = Tracking()
    generate: Generate = Generate()

    @model_validator(mode="after")
    def _solvable(self) -> "Config":
        self.solver_of_rows()
        for name, model in self.models.items():
            if model.kind == "wals":
                self.solver_of_rows(name)
        return self

    @model_validator(mode="after")
    def _models(self) -> "Config":
        for name, model in self.models.items():
            if not _NAME.fullmatch(name) or name in _TAKEN:
                raise ValueError(
                    f"models.{name} needs another name, of letters, digits and _, which begins "
                    f"with a letter and is none of {', '.join(_TAKEN)}"
                )
            if [own.lower() for own in self.models].count(name.lower()) > 1:
                raise ValueError(f"models.{name} differs from another name by capitals alone")
            if model.kind == "content" and self.items.path is None:
                raise ValueError(f"models.{name} compares titles and genres: set items.path")
            if model.segment_by and model.segment_by not in self.evaluate.users.columns:
                raise ValueError(
                    f"models.{name}.segment_by is {model.segment_by}, which is no column of the "
                    "table of users: set evaluate.users.path, and name it in evaluate.users.columns"
                )
            self._check_made_of(name, model)
        unknown = [name for name in self.recommend.chain if name not in (WALS, *self.models)]
        if unknown:
            raise ValueError(
                f"recommend.model is {', '.join(unknown)}"
                f"{similar_name(unknown[0], (WALS, *self.models))}; there are "
                f"{', '.join((WALS, *self.models))}"
            )
        return self

    def _check_made_of(self, name: str, model: Model) -> None:
        """Raise ValueError for parts of a blend that are none, and a cosine of no factors."""
        for part in model.parts:
            if part in self.models and self.models[part].kind == "blend":
                raise ValueError(
                    f"models.{name}.parts has {part}, a blend itself: name its parts in place of it"
                )
            if part not in self.scored_alone():
                raise ValueError(
                    f"models.{name}.parts has {part}, which is no part of a blend: choose "
                    f"among {', '.join(self.scored_alone())}"
                )
        if model.kind == "cosine" and model.of not in self.with_factors():
            raise ValueError(
                f"models.{name}.of is {model.of}, which has no factors: choose among "
                f"{', '.join(self.with_factors())}"
            )

    @model_validator(mode="after")
    def _searched(self) -> "Config":
        for key in self.tune.space:
            if not key.startswith("models."):
                continue
            name, _, inner = key.removeprefix("models.").partition(".")
            if name not in self.models or not self.models[name].has(inner):
                raise ValueError(f"tune.space has {key}, which is no key of a model there is")
        return self

    @model_validator(mode="after")
    def _served(self) -> "Config":
        policy = self.recommend.policy
        asked = {
            "policy.diversity": policy.diversity,
            "policy.popularity_discount": policy.popularity_discount,
            "policy.new_items": policy.new_items.slots,
        }
        wanting = [key for key, value in asked.items() if value]
        if wanting and self.recommend.chain != [WALS]:
            raise ValueError(
                f"recommend.{wanting[0]} needs factors: remove it, or set recommend.model: {WALS}"
            )
        return self

    @model_validator(mode="after")
    def _explained(self) -> "Config":
        if not self.recommend.explain:
            return self
        for name in [*self.recommend.chain, *self.alone(self.recommend.chain)]:
            cure = self.models[name].unexplained() if name != WALS else None
            if cure is not None:
                raise ValueError(
                    f"recommend.explain cannot divide the scores of models.{name} among the user's "
                    f"items: {cure}, or set recommend.explain: 0"
                )
        return self

    @model_validator(mode="after")
    def _cold_start(self) -> "Config":
        parts = self.alone(self.recommend.chain)
        contents = [name for name, model in self.models.items() if model.kind == "content"]
        if self.recommend.cold_start_items and not set(parts) & set(contents):
            raise ValueError(
                "recommend.cold_start_items needs a model that scores items by titles and genres: "
                "name one of kind: content in recommend.model, alone, in a chain or in a blend"
            )
        return self

    def scored_alone(self) -> list[str]:
        """The names of the weighted ALS and of the other models that are no blends."""
        return [WALS, *(name for name, model in self.models.items() if not model.parts)]

    def counts_in_segments(self) -> bool:
        """Whether a model counts within segments of users, which are read from a table."""
        return any(model.segment_by for model in self.models.values())

    def with_factors(self) -> list[str]:
        """The names of the weighted ALS and of the other models with factors of their own."""
        return [WALS, *(name for name, model in self.models.items() if model.by_factors)]

    def objective_of(self, name: str) -> Objective:
        """The objective of a model of kind wals, its keys laid over those of the section.

        Raises ConfigError for keys that do not go together.
        """
        own = self.models[name].objective.model_dump(exclude_unset=True)
        others = {} if "preset" in own else self.objective.model_dump(exclude_unset=True)
        try:
            return Objective.model_validate(others | own)
        except ConfigError as error:
            raise ConfigError(f"models.{name}.objective: {error}") from None

    def alone(self, names: Sequence[str]) -> list[str]:
        """The models that these are or are made of, each once."""
        return list(dict.fromkeys(own for name in names for own in self._made_of(name)))

    def parts_of(self, names: Sequence[str]) -> dict[str, Model]:
        """The same by name, but for the weighted ALS."""
        return {name: self.models[name] for name in self.alone(names) if name != WALS}

    def _made_of(self, name: str) -> list[str]:
        parts = self.models[name].made_of if name != WALS else []
        return [own for part in parts for own in self._made_of(part)] or [name]

    @model_validator(mode="after")
    def _genres(self) -> "Config":
        asked = {
            "policy.max_per_genre": self.recommend.policy.max_per_genre,
            "similar_items.genre_weight": self.recommend.similar_items.genre_weight,
        }
        cure = without_genres(self.items)
        for key, value in asked.items():
            if value and cure is not None:
                raise ValueError(f"recommend.{key} needs the genres of items: {cure}")
        return self

    @model_validator(mode="after")
    def _times(self) -> "Config":
        cure = without_times(self.split, self.ingest)
        wanting = needs_times(self.split, self.objective, self.models, self.recommend, self.ingest)
        key = next(wanting, None)
        if key is not None and cure is not None:
            raise ValueError(f"{key} needs the time of every event, and {cure}; {_else(key)}")
        return self

    @model_validator(mode="after")
    def _one_source(self) -> "Config":
        kept = self.ingest.source.model_dump(include={"user_id_type", "item_id_type"})
        if self.split.method == "predefined" and self.ingest.source != Source(**kept):
            raise ValueError(
                "ingest.source has no effect with split.method: predefined, but for types of ids; "
                "remove it"
            )
        return self

    @model_validator(mode="after")
    def _held_out(self) -> "Config":
        wanting, cure = needs_validation(self.train, self.evaluate), validation_cure(self.split)
        if wanting and cure is not None:
            key = wanting[0]
            raise ValueError(f"{key} needs validation rows, and {cure}; {_else(key)}")
        return self

    def solver_of_rows(self, name: str | None = None) -> solvers.Solver:
        """The solver, as far as it changes the result. Raises ConfigError if it does not fit.

        name: of a model of kind wals; None: for objective.
        """
        objective = self.objective if name is None else self.objective_of(name)
        return self.solver_of(objective.spec())

    @settings_named(KEYS)
    def solver_of(self, spec: WalsSpec) -> solvers.Solver:
        """The same for the spec of an objective."""
        keys = self.solver.model_dump(include={"method", "cg_steps", "subspace_block"})
        return solvers.resolve_solver(spec, **keys)

    def command(self, words: str) -> str:
        """A command that works on the tables of this configuration, wherever they are."""
        root = "" if self.paths.root == Paths().root else f" --root {quote(self.paths.root)}"
        return f"recsys-spark {words}{root}"

    def digest(self, *keys: str) -> str:
        """Hash of the (dotted) keys that decide a result, or of all; eight hexadecimal digits."""
        whole = self.model_dump(mode="json")
        fitted = {name for name, model in self.models.items() if model.fitted}
        whole[FITTED] = {name: own for name, own in whole["models"].items() if name in fitted}
        if self.counts_in_segments():
            whole[FITTED]["evaluate.users"] = whole["evaluate"]["users"]
        content = {key: reduce(getitem, key.split("."), whole) for key in keys} or whole
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]

    def chosen(self) -> dict[str, Any]:
        """What was set, by dotted key, secrets replaced; lists and free mappings are whole."""
        return dict(_flat(mask(self.model_dump(mode="json", exclude_unset=True)), type(self)))

    def masked(self) -> dict[str, Any]:
        """The effective configuration for logs and files, secrets replaced."""
        content = mask(self.model_dump(mode="json"))
        assert isinstance(content, dict)
        return content
