"""How large the events are, before a session is opened."""

from pathlib import Path

import pytest

from recsys_spark.pipeline.inputs import event_bytes
from recsys_spark.settings import load_config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, size in (("events/a.csv", 10), ("events/b.csv", 7), ("train.csv", 5)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x" * size)
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        (["ingest.source.path={}/train.csv"], 5),
        (["ingest.source.path={}/events"], 17),
        (["ingest.source.path={}/events/*.csv"], 17),
        (
            [
                "split.method=predefined",
                "split.predefined.train={}/train.csv",
                "split.predefined.test={}/events",
            ],
            22,
        ),
        (["split.method=predefined", "split.predefined.train={}/train.csv"], None),
        (["ingest.source.path={}/nowhere.csv"], None),
        (["ingest.source.path=hdfs://away/events"], None),
        ([], None),
    ],
)
def test_the_size_is_known_where_the_files_are_here(folder, settings, size):
    config = load_config(overrides=[setting.format(folder) for setting in settings])
    assert event_bytes(config) == size
