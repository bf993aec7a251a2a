"""What the JVM of local mode is started with."""

from pathlib import Path

import pytest

from recsys_spark.errors import TransientError
from recsys_spark.runtime import jvm

JAVA = 'openjdk version "17.0.1"'


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("event_bytes", "light"), [(0, True), (jvm.SMALL, True), (jvm.SMALL + 1, False), (None, False)]
)
def test_the_compiler_does_less_for_few_events(event_bytes: int | None, light: bool) -> None:
    assert ("-XX:TieredStopAtLevel=1" in jvm.java_options(JAVA, event_bytes)) == light


def test_the_archive_is_of_one_java_and_used_once_it_is_there(cache: Path) -> None:
    archive = jvm.class_archive(JAVA)
    assert archive is not None
    assert archive.is_relative_to(cache)
    assert jvm.class_archive('openjdk version "21.0.1"') != archive
    assert "SharedArchiveFile" not in jvm.java_options(JAVA, None)
    archive.parent.mkdir(parents=True)
    archive.touch()
    assert f"-XX:SharedArchiveFile={archive}" in jvm.java_options(JAVA, None)


@pytest.mark.parametrize("folder", ["a folder", "relative"])
def test_a_place_that_java_s_command_line_cannot_name_is_none(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = folder if folder == "relative" else str(tmp_path / folder)
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    assert jvm.class_archive(JAVA) is None
    assert jvm.make_class_archive(JAVA) is None


def dumping(commands: list[str], archive: bool = True):
    """In place of the commands: what they do to the folder."""

    def run(command: str, folder: str, *more: str) -> str:
        commands.append(command)
        if more and archive:
            made = more[-1].split("ArchiveClassesAtExit=")[1].removesuffix("'}")
            Path(made).write_text("classes")
        return "what was printed"

    return run


def test_the_archive_is_made_once_and_appears_whole(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []
    monkeypatch.setattr(jvm, "_run", dumping(commands))
    made = jvm.make_class_archive(JAVA)
    assert made == jvm.class_archive(JAVA)
    assert made.read_text() == "classes"
    assert [path.name for path in made.parent.iterdir()] == [made.name]
    assert jvm.make_class_archive(JAVA) == made
    assert commands == ["generate", "run"]


def test_a_java_that_leaves_no_archive_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jvm, "_run", dumping([], archive=False))
    with pytest.raises(TransientError, match="no archive of classes: what was printed"):
        jvm.make_class_archive(JAVA)
    archive = jvm.class_archive(JAVA)
    assert archive is not None
    assert not list(archive.parent.iterdir())
