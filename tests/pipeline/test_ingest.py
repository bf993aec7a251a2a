"""What ingest says where the rules reject what it reads."""

import pytest

from recsys_spark.config import Ingest, Source
from recsys_spark.errors import ContractError
from recsys_spark.ingest.validation_rules import REASONS
from recsys_spark.io.events import Events
from recsys_spark.pipeline import ingest


def refused(monkeypatch, source, keys=(), raw="", **counts):
    """The message of a source of a hundred rows."""
    monkeypatch.setattr(ingest, "_example", lambda rejects, reason: raw)
    config = Ingest.model_validate({"thresholds": {"max_rejected_fraction": 1.0}})
    every = dict.fromkeys(REASONS, 0) | {"read": 100, "rejected": 100} | counts
    events = Events(Source.model_validate({"path": "r.csv", **source}), None, keys=keys)
    with pytest.raises(ContractError, match="all 100 rows rejected") as caught:
        ingest._enforce(config, every, events, None, "recsys-spark show rejects")
    return str(caught.value)


@pytest.mark.parametrize(
    ("source", "found", "text"),
    [
        ({}, {"future_timestamp": 100}, "timestamp_unit is seconds; is it finer?"),
        ({}, {"bad_timestamp": 100}, "iso reads 2024-01-31"),
        ({}, {"bad_value": 90, "raw": "u;i;4,5;1"}, "ingest.source.decimal: ','"),
        ({}, {"bad_value": 90, "raw": 'u,i,"1,234",1700000000'}, "marks of thousands are not read"),
        ({}, {"bad_encoding": 100}, "ingest.source.encoding"),
        ({}, {"malformed_row": 100, "raw": 'u,"i,4,1'}, "ingest.source.quote: ''"),
        (
            {},
            {"malformed_row": 100, "raw": "u,i,4,1,"},
            "another number of fields than the first line",
        ),
        (
            {"format": "jsonl"},
            {"empty_user": 100, "keys": ("user", "item_id", "rating", "timestamp")},
            "columns.user is 'user_id'; the first object has 'user', 'item_id'",
        ),
    ],
)
def test_ingest_reasons_of_all_rows_name_the_setting(monkeypatch, source, found, text):
    assert text in refused(monkeypatch, source, **found)


def test_ingest_does_not_blame_filters_for_rejected_rows(monkeypatch):
    message = refused(monkeypatch, {}, empty_user=100)
    assert "filters" not in message
    assert "empty_user" in message
