"""What each stage of a command builds on.

A stage builds on what the same command makes before it, else on the newest finished stage of the
run or day that the command names, else on the newest of any run. Runs of a backtest are measured
and thrown away: nothing outside the backtest builds on them.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from recsys_spark.config import Config
from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.stage_graph import fingerprint
from recsys_spark.storage.runs import Runs, StageRecord

# Stages that need a model, and the one that each of the others builds on.
_ON_MODEL = ("fold_in", "recommend")
_BEFORE = {"split": "ingest", "train": "split", "evaluate": "train", "publish": "recommend"}
_FACTS: dict[str, Callable[[Mapping[str, object]], str]] = {
    "ingest": lambda found: f"{found['interactions']:,} interactions, read",
    "split": lambda found: f"by {found['method']},",
    "train": lambda found: f"{found['preset']}, trained",
    "refit": lambda found: f"fitted on {found['rows']:,} interactions,",
    "fold_in": lambda found: f"{found['users']:,} users, folded in",
    "recommend": lambda found: f"{found['users']:,} lists, made",
}


@dataclass(frozen=True)
class Step:
    """A stage that is finished, or that the command does.

    lineage: the run that made each stage up to this one; None: the command's own run.
    built_on: the finished stages that are not of this command, among those directly before.
    """

    stage: str
    fingerprint: str
    lineage: Mapping[str, str | None]
    built_on: tuple[StageRecord, ...] = ()

    def made_in(self, run_id: str) -> dict[str, str]:
        """The lineage, once the command's run has its id."""
        return {stage: made or run_id for stage, made in self.lineage.items()}

    def sources(self) -> str:
        """What it builds on, for people; empty where the command makes it all."""
        return " and ".join(map(described, self.built_on))


def plan(
    runs: Runs,
    config: Config,
    stages: Sequence[str],
    files: Mapping[str, str],
    preferred: Callable[[str], bool] = lambda _: False,
) -> list[Step]:
    """The stages of a command in order, with the refit that they need.

    files: fingerprints of what each stage reads beside tables. preferred: whether records of a run
    go before newer ones of others. Raises ConfigError if a stage has nothing to build on.
    """
    planner = _Planner(runs, config, files, preferred)
    for stage in _wanted(stages, config):
        if stage in _ON_MODEL and planner.lacks_refit():
            planner.add("refit")
        planner.add(stage)
    return list(planner.made.values())


def newer(runs: Runs, published: StageRecord) -> list[StageRecord]:
    """The newest stages that finished after these lists were made, of other input or settings."""
    found = (runs.newest(stage) for stage in _FACTS if stage != "split")
    later = [r for r in found if r is not None and r.finished_at > published.finished_at]
    before = {
        record.fingerprint
        for stage, run_id in published.lineage.items()
        if (record := runs.stage(run_id, stage))
    }
    return [record for record in later if record.fingerprint not in before]


def described(record: StageRecord) -> str:
    """A finished stage for people: its run, its size and its time (UTC)."""
    finished = datetime.fromisoformat(record.finished_at)
    form = "%H:%M" if finished.date() == datetime.now(UTC).date() else "%Y-%m-%d %H:%M"
    facts = _FACTS[record.stage](record.summary)
    name = record.stage.replace("_", "-")
    return f"{name} of run {record.run_id}, {facts} {finished:{form}}"


class _Planner:
    """Adds one stage after the other. made: those of the command."""

    def __init__(
        self,
        runs: Runs,
        config: Config,
        files: Mapping[str, str],
        preferred: Callable[[str], bool],
    ) -> None:
        self.runs, self.config, self.files, self.preferred = runs, config, files, preferred
        self.made: dict[str, Step] = {}

    def add(self, stage: str) -> None:
        """Plan a stage after those that are planned."""
        upstream = self._upstream(stage)
        source = (upstream.fingerprint if upstream else "") + self.files.get(stage, "")
        lineage = {**(upstream.lineage if upstream else {}), stage: None}
        built_on = upstream.built_on if upstream else ()
        self.made[stage] = Step(stage, fingerprint(self.config, stage, source), lineage, built_on)

    def lacks_refit(self) -> bool:
        """Whether the model is to be refitted, and neither is nor will be."""
        trained = self._required("train", "recommend")
        return self._is_refitted(trained) and self._refit(trained) is None

    def _upstream(self, stage: str) -> Step | None:
        if stage == "ingest":
            return None
        if stage == "fold_in":
            return self._beside_newest(self._model(stage))
        if stage == "recommend":
            return self._beside_newest(self._folded(self._model(stage)))
        upstream = self._required(_BEFORE.get(stage, "train"), stage)
        if stage == "refit" and not self._is_refitted(upstream):
            raise ConfigError(
                "There is nothing to refit: train.refit is false, or split.method: none has left "
                "all interactions to train."
            )
        if stage == "evaluate" and self._method(upstream) == "none":
            raise ConfigError(
                "There is nothing to evaluate: with split.method: none no rows are held out. "
                "Choose another split.method, then split and train."
            )
        return upstream

    def _required(self, needed: str, stage: str) -> Step:
        found = self._found(needed)
        if found is None:
            raise ConfigError(
                f"{stage} needs what {needed} makes, and no run under {self.runs.store.uri('')} "
                f"has done it: start with `recsys-spark {needed}` or `recsys-spark run`."
            )
        return found

    def _found(
        self, stage: str, fits: Callable[[StageRecord], bool] = lambda _: True
    ) -> Step | None:
        """The stage as the command makes it, else its newest record."""
        if stage in self.made:
            return replace(self.made[stage], built_on=())
        records = [record for record in self.runs.finished(stage) if fits(record)]
        own = (record for record in records if self.preferred(record.run_id))
        lasting = (record for record in records if not record.trial)
        record = next(own, None) or next(lasting, None)
        if record is None:
            return None
        return Step(stage, record.fingerprint, record.lineage, (record,))

    def _model(self, stage: str) -> Step:
        """The trained model, or its refit where that is wanted."""
        trained = self._required("train", stage)
        if not self._is_refitted(trained):
            return trained
        refit = self._refit(trained)
        assert refit is not None
        return refit

    def _is_refitted(self, trained: Step) -> bool:
        return self.config.train.refit and self._method(trained) != "none"

    def _method(self, trained: Step) -> str:
        """How the rows were split that the model was trained on."""
        made = trained.lineage["split"]
        record = self.runs.stage(made, "split") if made else None
        return str(record.summary["method"]) if record else self.config.split.method

    def _refit(self, trained: Step) -> Step | None:
        """The refit of this model, if it is finished or planned."""
        made = trained.lineage["train"]
        if made is None:
            return self._found("refit") if "refit" in self.made else None
        return self._found("refit", lambda record: record.lineage["train"] == made)

    def _folded(self, model: Step) -> Step:
        """The newest users folded into this model; the model itself if there are none."""
        folded = self._found("fold_in")
        same = folded and all(
            folded.lineage.get(name) == model.lineage.get(name) for name in ("train", "refit")
        )
        return folded if folded and same else model

    def _beside_newest(self, model: Step) -> Step:
        """The model with the newest interactions in place of those it was made from."""
        ingested = self._required("ingest", "recommend")
        made = ingested.lineage["ingest"]
        if made == model.lineage["ingest"]:
            return model
        both = hashlib.sha256(f"{model.fingerprint}|{ingested.fingerprint}".encode()).hexdigest()
        lineage = {**model.lineage, "ingest": made}
        return Step(model.stage, both, lineage, (*model.built_on, *ingested.built_on))


def _wanted(stages: Sequence[str], config: Config) -> list[str]:
    """Those of a command of several that have something to do."""
    idle = set() if config.train.refit else {"refit"}
    if config.split.method == "none":
        idle |= {"evaluate", "refit"}
    return [stage for stage in stages if len(stages) == 1 or stage not in idle]
