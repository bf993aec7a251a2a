"""What is refused, or finished before, is so without a Spark session and leaves nothing behind."""

from pathlib import Path

import pytest

from recsys_spark.cli import main
from recsys_spark.pipeline import sessions


@pytest.fixture
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a session was opened")

    monkeypatch.setattr(sessions, "open_session", refuse)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["run"], "ingest.source.path is not set"),
        (["ingest"], "ingest.source.path is not set"),
        (["update"], "ingest.source.path is not set"),
        (["run", "--set", "ingest.source.path=nowhere.csv"], "does not exist"),
        (["run", "--set", "ingest.source.path=file:/nowhere/a.csv"], "does not exist"),
        (["run", "--set", "split.method=predefined"], "split.predefined.train is not set"),
        (
            [
                *("tune", "--set", "ingest.source.path=nowhere.csv"),
                *("--set", "split.validation_fraction=0.1"),
            ],
            "does not exist",
        ),
        (["tune"], "tune measures on validation rows, and split.validation_fraction is 0"),
        (["tune", "--set", "split.method=k_fold"], "split.method: k_fold leaves none"),
        (
            ["backtest", "--set", "ingest.source.columns.timestamp=null"],
            "backtest.method: rolling needs the time of every event",
        ),
        (["backtest", "--set", "ingest.source.path=nowhere.csv"], "does not exist"),
        (["split"], "start with `recsys-spark ingest`"),
        (["train"], "start with `recsys-spark split`"),
        (["evaluate"], "start with `recsys-spark train`"),
        (["refit"], "start with `recsys-spark train`"),
        (["fold-in"], "start with `recsys-spark train`"),
        (["recommend"], "start with `recsys-spark train`"),
        (["recommend", "--set", "recommend.users.path=nowhere.csv"], "does not exist"),
        (["publish"], "start with `recsys-spark recommend`"),
        (["compare", "a", "b"], "No run a: `recsys-spark status` lists the runs"),
        (["export", "csv", "elsewhere"], "There are no tables"),
        (["show", "recommendations"], "There are no tables"),
        (["path", "recommendations"], "There are no tables"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("no_session")
def test_commands_without_session_refuse_invalid_requests(
    words: list[str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code = main([*words, "--set", "paths.root=root", "--set", "tracking.backend=none"])
    assert (code, reason in " ".join(capsys.readouterr().err.split())) == (2, True)
    assert list(tmp_path.iterdir()) == []
