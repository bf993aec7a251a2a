"""The trials of a search as people see them, also where a line is short."""

import pytest
from rich.console import Console

from recsys_spark.cli.trials import narrow_table, print_trials, short_names, trial_table
from recsys_spark.pipeline.tune import Trial, Tuned
from recsys_spark.settings import load_config

KEYS = ("unobserved_weight", "rank", "models.walks.beta", "models.mix.parts.walks")


def trial(number: int, value: float, **changed: float) -> Trial:
    settings = dict.fromkeys(KEYS, 0.5) | {"rank": 64} | changed
    return Trial(number, settings, value, 12.34)


TRIALS = [
    trial(1, 0.25),
    trial(2, 0.5, **{"models.walks.beta": 0.123456}),
    trial(3, 0.125, **{"models.mix.parts.walks": 2, "unobserved_weight": 0.1}),
]


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["rank"], ["rank"]),
        (["models.walks.beta", "rank"], ["beta", "rank"]),
        (["models.walks.beta", "models.far.beta"], ["walks.beta", "far.beta"]),
        (["regularization", "models.e.regularization"], ["regularization", "e.regularization"]),
        (["models.e.objective.rank", "rank"], ["objective.rank", "rank"]),
    ],
)
def test_short_names_are_the_fewest_last_parts(keys: list[str], names: list[str]) -> None:
    assert list(short_names(keys).values()) == names


@pytest.mark.parametrize("width", [60, 200])
def test_trials_break_no_word(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_trials(Tuned("run", TRIALS, "runs/run/best.yaml"), load_config())
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    table = lines[: next(at for at, line in enumerate(lines) if line.startswith("beta"))]
    assert "beta: models.walks.beta" in lines
    assert "walks: models.mix.parts.walks" in lines
    assert "The same in all trials: rank 64" in lines
    best = next(line for line in table if "0.5000" in line)
    assert best.split()[:3] == ["2", "0.5000", "12.3"]
    assert all(len(line.rstrip()) <= width for line in table)
    assert sum("0.123456" in line for line in table) == 1
    assert any("weight" in line for line in table)


def test_the_narrow_table_has_every_setting() -> None:
    console = Console(width=60, record=True)
    console.print(narrow_table(TRIALS, short_names(KEYS), "ndcg@10"))
    text = console.export_text()
    for part in ("unobserved_weight=0.1", "beta=0.123456", "walks=2", "rank=64"):
        assert part in text


def test_a_trial_without_a_setting_has_none_in_its_column() -> None:
    trials = [Trial(1, {"rank": 8}, 0.1, 1.0), Trial(2, {"rank": 16, "seed": 3}, 0.2, 1.0)]
    console = Console(width=80, record=True)
    console.print(trial_table(trials, short_names(["rank", "seed"]), "ndcg@10"))
    assert console.export_text().splitlines()[-2].split() == ["1", "0.1000", "1.0", "8", "None"]
