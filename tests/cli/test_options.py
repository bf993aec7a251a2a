"""The options that commands share, and the help."""

import subprocess
import sys

import pytest
import yaml

from recsys_spark.cli import main


@pytest.fixture
def root_of(capsys, monkeypatch):
    """The root of a command with these words, as `config` prints it."""
    monkeypatch.delenv("RECSYS_ROOT", raising=False)

    def run(*words):
        assert main(["config", *words]) == 0
        return yaml.safe_load(capsys.readouterr().out)["paths"]["root"]

    return run


def test_root_option_goes_before_its_variable_and_both_before_files(root_of, tmp_path, monkeypatch):
    file = tmp_path / "shop.yaml"
    file.write_text("paths: {root: file}")
    words = ["--config", str(file)]
    assert root_of(*words) == "file"
    monkeypatch.setenv("RECSYS_ROOT", "")
    assert root_of(*words) == "file"
    monkeypatch.setenv("RECSYS_ROOT", "variable")
    assert root_of(*words) == "variable"
    assert root_of(*words, "--root", "50% #1: x") == "50% #1: x"
    assert root_of(*words, "--root", "option", "--set", "paths.root=set") == "set"


def test_help_groups_commands_and_shows_types_of_values_alone(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for group in ("Stages", "Experiments", "Results", "Setup"):
        assert f"─ {group} ─" in shown
    assert main(["recommend", "--help"]) == 0
    shown += capsys.readouterr().out
    assert "<bool>" not in shown
    for words in ("KEY=VALUE", "RECSYS_ROOT", "--changed-since", "─ Configuration ─"):
        assert words in shown


def test_completion_names_the_commands(process_environment):
    done = subprocess.run(
        [sys.executable, "-m", "recsys_spark"],
        env=process_environment
        | {
            "_RECSYS_SPARK_COMPLETE": "complete_bash",
            "COMP_WORDS": "recsys-spark fol",
            "COMP_CWORD": "1",
            "PYTHONPATH": ":".join(sys.path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["fold-in"]
