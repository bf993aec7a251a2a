"""What stages build on, and in which run they are done, from the records of earlier commands."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from recsys_spark.config import Config
from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.context import Run
from recsys_spark.pipeline.run_choice import candidates, conflicts, is_suitable
from recsys_spark.pipeline.stage_graph import COMMANDS, STAGES
from recsys_spark.pipeline.upstream import newer, plan
from recsys_spark.settings import load_config
from recsys_spark.storage.runs import Runs, StageRecord
from recsys_spark.storage.store import LocalStore

SUMMARIES = {
    "ingest": {"interactions": 11},
    "split": {"method": "per_user"},
    "train": {"preset": "ials"},
    "refit": {"rows": 11},
    "fold_in": {"users": 1},
    "recommend": {"users": 3},
}

WHOLE = [("X", stage) for stage in STAGES]
AGAIN = [("X-2", "ingest")]
UPDATED = [*AGAIN, ("X-2", "fold_in"), ("X-2", "recommend")]


class History:
    """Records of commands, one a second, each as the planner would have it."""

    def __init__(self, folder: Path) -> None:
        self.runs, self.files, self.clock = Runs(LocalStore(folder)), {"ingest": "a"}, 0

    def done(self, *made: tuple[str, str], trial: bool = False, **summary: str) -> None:
        for run_id, stage in made:
            self.clock += 1
            (step,) = (s for s in self.plan([stage], only=run_id) if s.stage == stage)
            self.runs.finish_stage(
                StageRecord(
                    stage,
                    run_id,
                    step.fingerprint,
                    step.made_in(run_id),
                    f"2026-01-01T18:28:{self.clock:02}.000+00:00",
                    1.0,
                    SUMMARIES.get(stage, {}) | summary,
                    trial,
                )
            )

    def plan(
        self, stages: Sequence[str], only: str | None = None, config: Config | None = None
    ) -> list:
        return plan(self.runs, config or Config(), stages, self.files, lambda name: name == only)

    def record(self, run_id: str, stage: str) -> StageRecord:
        found = self.runs.stage(run_id, stage)
        assert found is not None
        return found


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


def lineage(history: History, *stages: str, **options: object) -> dict[str, str | None]:
    return dict(history.plan(stages, **options)[-1].lineage)


@pytest.mark.parametrize(
    ("before", "stage", "expected"),
    [
        ([("X", "ingest"), *AGAIN], "split", {"ingest": "X-2"}),
        ([*WHOLE, *AGAIN], "split", {"ingest": "X-2"}),
        ([*WHOLE, *AGAIN, ("X-2", "split")], "train", {"ingest": "X-2", "split": "X-2"}),
        ([*WHOLE, *AGAIN], "fold_in", {"ingest": "X-2", "train": "X", "refit": "X"}),
        ([*WHOLE, *AGAIN], "recommend", {"ingest": "X-2", "train": "X", "refit": "X"}),
        ([*WHOLE, *UPDATED[:2]], "recommend", {"ingest": "X-2", "fold_in": "X-2", "refit": "X"}),
        ([*WHOLE, *UPDATED], "publish", {"recommend": "X-2", "fold_in": "X-2", "train": "X"}),
        # folded into another model: not of use for this one
        ([*WHOLE, *UPDATED, ("Y", "split"), ("Y", "train")], "refit", {"train": "Y"}),
        # interactions came after the users were folded in: they keep their factors
        (
            [*WHOLE, *UPDATED[:2], ("X-3", "ingest")],
            "recommend",
            {"ingest": "X-3", "fold_in": "X-2"},
        ),
    ],
)
def test_a_stage_alone_builds_on_the_newest_that_has_what_it_needs(
    history: History, before: list[tuple[str, str]], stage: str, expected: dict[str, str]
) -> None:
    history.done(*before)
    found = lineage(history, stage)
    assert expected.items() <= found.items()
    assert found[stage] is None


def test_users_folded_into_an_older_model_are_not_listed_by_the_new_one(history: History) -> None:
    history.done(*WHOLE, *UPDATED, ("Y", "split"), ("Y", "train"))
    assert "fold_in" not in lineage(history, "recommend")
    assert lineage(history, "recommend")["train"] == "Y"


def test_a_command_of_several_stages_builds_on_what_it_makes(history: History) -> None:
    assert set(lineage(history, *STAGES).values()) == {None}
    history.done(*WHOLE, *UPDATED)
    assert set(lineage(history, *STAGES).values()) == {None}
    assert "fold_in" not in lineage(history, *STAGES)
    found = lineage(history, *COMMANDS["update"])
    assert {name for name, made in found.items() if made is None} == set(COMMANDS["update"])
    assert (found["train"], found["refit"]) == ("X", "X")


@pytest.mark.parametrize(
    ("settings", "stages", "expected"),
    [
        ([], ["recommend"], ["refit", "recommend"]),
        ([], ["fold_in"], ["refit", "fold_in"]),
        ([], ["split", "train", "evaluate"], ["split", "train", "evaluate"]),
        ([], STAGES, STAGES),
        (["train.refit=false"], ["recommend"], ["recommend"]),
        (["train.refit=false"], STAGES, [name for name in STAGES if name != "refit"]),
        (
            ["split.method=none"],
            STAGES,
            [name for name in STAGES if name not in ("evaluate", "refit")],
        ),
    ],
)
def test_the_refit_is_planned_where_lists_need_it(
    history: History, settings: list[str], stages: Sequence[str], expected: Sequence[str]
) -> None:
    history.done(*WHOLE[:3])
    steps = history.plan(stages, config=load_config(overrides=settings))
    assert [step.stage for step in steps] == list(expected)


def test_a_refit_that_there_is_is_not_done_again(history: History) -> None:
    history.done(*WHOLE)
    assert [step.stage for step in history.plan(["recommend"])] == ["recommend"]


@pytest.mark.parametrize(
    ("settings", "method", "stage"),
    [(["train.refit=false"], "per_user", "refit"), ([], "none", "refit"), ([], "none", "evaluate")],
)
def test_a_stage_that_has_nothing_to_do_is_refused(
    history: History, settings: list[str], method: str, stage: str
) -> None:
    history.done(("X", "ingest"))
    history.done(("X", "split"), method=method)
    history.done(("X", "train"))
    with pytest.raises(ConfigError, match="There is nothing to"):
        history.plan([stage], config=load_config(overrides=settings))


@pytest.mark.parametrize(
    ("stage", "needed"),
    [
        ("split", "ingest"),
        ("train", "split"),
        ("evaluate", "train"),
        ("refit", "train"),
        ("fold_in", "train"),
        ("recommend", "train"),
        ("publish", "recommend"),
    ],
)
def test_on_an_empty_root_the_stage_to_start_with_is_named(
    history: History, stage: str, needed: str
) -> None:
    with pytest.raises(ConfigError, match=f"start with `recsys-spark {needed}`"):
        history.plan([stage])


def test_a_named_run_is_built_on_before_newer_ones(history: History) -> None:
    history.done(*WHOLE, *UPDATED)
    assert lineage(history, "publish", only="X")["recommend"] == "X"
    assert lineage(history, "publish")["recommend"] == "X-2"
    assert lineage(history, "publish", only="elsewhere")["recommend"] == "X-2"


def test_parts_of_a_backtest_are_built_on_by_nothing_else(history: History) -> None:
    history.done(*WHOLE)
    history.done(("B-1", "split"), ("B-1", "train"), trial=True)
    assert lineage(history, "recommend")["train"] == "X"
    assert lineage(history, "evaluate", only="B-1")["train"] == "B-1"


def test_the_line_says_what_is_built_on_how_much_and_since_when(history: History) -> None:
    history.done(*WHOLE, *AGAIN)
    assert history.plan(["split"])[0].sources() == (
        "ingest of run X-2, 11 interactions, read 2026-01-01 18:28"
    )
    text = history.plan(["fold_in"])[-1].sources()
    assert "refit of run X, fitted on 11 interactions" in text
    assert "and ingest of run X-2" in text
    assert history.plan(STAGES)[-1].sources() == ""


def chosen(history: History, *stages: str, of_day: Callable[[StageRecord], bool]) -> str:
    steps = history.plan(stages)
    ids = islice(candidates(steps, "D", of_day), 9)
    return next(name for name in ids if is_suitable(history.runs, name, steps))


@pytest.mark.parametrize(
    ("before", "files", "stages", "today", "earlier"),
    [
        ([], "a", STAGES, "D", "D"),
        # the same again; with other input
        ([("D", s) for s in STAGES], "a", STAGES, "D", "D"),
        ([("D", s) for s in STAGES], "b", STAGES, "D-2", "D-2"),
        ([("D", s) for s in STAGES], "b", ["ingest"], "D-2", "D-2"),
        # stages alone go on with the run that they build on, if it is of the day
        ([("mine", "ingest")], "a", ["split"], "mine", "D"),
        ([("D", "ingest"), ("D-2", "ingest")], "a", ["split"], "D-2", "D-2"),
        ([*[("D", s) for s in STAGES], ("D-2", "ingest")], "b", ["fold_in"], "D-2", "D-2"),
        ([*[("D", s) for s in STAGES], ("D-2", "ingest")], "b", ["recommend"], "D-2", "D-2"),
        # what is done under the name, but is not the newest, is done again under another
        ([("D", "ingest"), ("E", "ingest")], "a", ["ingest"], "D-2", "D-2"),
    ],
)
def test_a_run_is_gone_on_with_and_never_mixed(
    history: History,
    before: list[tuple[str, str]],
    files: str,
    stages: Sequence[str],
    today: str,
    earlier: str,
) -> None:
    history.done(*before)
    history.files = {"ingest": files}
    assert chosen(history, *stages, of_day=lambda _: True) == today
    assert chosen(history, *stages, of_day=lambda _: False) == earlier


def test_conflicts_are_stages_with_another_fingerprint(history: History) -> None:
    history.done(*WHOLE)
    assert conflicts(history.runs, "X", history.plan(STAGES)) == []
    history.files = {"ingest": "b"}
    assert conflicts(history.runs, "X", history.plan(STAGES)) == list(STAGES)


@pytest.mark.parametrize(
    ("after", "files", "expected"),
    [
        ([], "a", []),
        ([("X-2", "ingest")], "b", ["ingest"]),
        ([("X-2", "ingest")], "a", []),  # the same source and settings
        ([("X-2", "ingest"), ("X-2", "fold_in"), ("X-2", "recommend")], "b", None),
        ([("X", "split")], "a", []),
    ],
)
def test_newer_versions_than_the_published_lists_are_found(
    history: History, after: list[tuple[str, str]], files: str, expected: list[str] | None
) -> None:
    history.done(*WHOLE)
    history.files = {"ingest": files}
    history.done(*after)
    found = [record.stage for record in newer(history.runs, history.record("X", "recommend"))]
    assert found == (["ingest", "fold_in", "recommend"] if expected is None else expected)


def test_summary_keys_missing_from_older_runs_are_refused(tmp_path: Path) -> None:
    runs = Runs(LocalStore(tmp_path))
    runs.finish_stage(StageRecord("ingest", "X", "f", {"ingest": "X"}, "2026", 1.0, {"users": 3}))
    some: Any = None
    run = Run(Config(), "X", some, some, runs, some, some, lineage={"ingest": "X"})
    assert run.noted("ingest", "users") == 3
    with pytest.raises(ConfigError, match=r"older version, .* note its values: run ingest"):
        run.noted("ingest", "values")
