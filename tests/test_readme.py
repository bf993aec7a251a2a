"""The commands and the Python of the README, run as a reader would."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (REPOSITORY / "README.md").read_text(), re.M | re.S)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what the commands use, with this environment as its .venv."""
    folder = tmp_path_factory.mktemp("readme") / "checkout"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy2(REPOSITORY / name, folder)
    for name in ("conf", "jobs"):
        shutil.copytree(REPOSITORY / name, folder / name)
    (folder / ".venv").symlink_to(Path(sys.prefix))
    return folder


def run(command, folder, environment):
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_shell_commands_run_in_order(checkout, process_environment):
    script = "\n".join(text for language, text in BLOCKS if language == "bash")
    output = run(["bash", "-euo", "pipefail", "-c", script], checkout, process_environment)
    assert "ann" in output
    assert (checkout / "submitted/tables/recommendations/CURRENT.json").exists()


def test_the_python_runs_though_path_has_another_python(checkout, process_environment, tmp_path):
    """As in a virtual environment that is not activated: python3 knows none of its packages."""
    other = tmp_path / "python3"
    other.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    other.chmod(0o755)
    clean = {key: value for key, value in process_environment.items() if "SPARK" not in key}
    clean["PATH"] = f"{tmp_path}:{clean['PATH']}"
    (text,) = (text for language, text in BLOCKS if language == "python")
    (checkout / "snippet.py").write_text(text)
    output = run([".venv/bin/python", "snippet.py"], checkout, clean)
    assert "recommendations" in output


def test_make_demo_ends_with_the_summary(checkout, process_environment):
    (checkout / ".venv/.run").exists() or pytest.fail("run the tests through `make test`")
    output = run(["make", "demo"], checkout, process_environment)
    for text in (
        "Rows",
        "Values",
        "Loss",
        "Ranking of the test rows",
        "Recommendations of five users",
        "Try next",
    ):
        assert text in output
    assert (checkout / "demo/output/tables/recommendations/CURRENT.json").exists()


def test_every_folder_of_the_map_exists():
    (text,) = (t for language, t in BLOCKS if language == "text" and "kernels/" in t)
    for line in text.splitlines():
        name = line.split()[0]
        path = REPOSITORY / ("recsys_spark" if line.startswith(" ") else "") / name
        assert path.exists(), name


def test_make_help_lists_the_targets(checkout, process_environment):
    output = run(["make", "help"], checkout, process_environment)
    for target in (
        "demo",
        "test",
        "test-fast",
        "test-spark",
        "test-slow",
        "lint",
        "type",
        "bench",
        "format",
        "clean",
        "bundle",
        "docs",
        "hooks",
        "coverage",
        "test-oldest",
    ):
        assert f"make {target}" in output


def test_missing_java_stops_at_once_and_says_what_to_install(
    checkout, process_environment, tmp_path
):
    done = subprocess.run(
        ["make", "demo"],
        cwd=checkout,
        env=process_environment | {"PATH": "/usr/bin:/bin", "JAVA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    for place in ("apt install", "brew install", "conda install"):
        assert place in done.stdout
