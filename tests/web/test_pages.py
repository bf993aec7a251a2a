"""How values and times are written for people."""

from datetime import UTC, datetime

import pytest

from recsys_spark.web.pages import day, moment, number


@pytest.mark.parametrize(
    ("value", "written"),
    [(4.0, "4"), (4.5, "4.5"), (0, "0"), (100, "100"), (12_000.0, "12,000"), (-0.5, "-0.5"),
     (2.345, "2.35"), (0.0025, "0.0025"), (1_234_567.891, "1,234,567.89")],
)  # fmt: skip
def test_numbers_are_short(value, written):
    assert number(value) == written


def test_times_are_days_and_minutes():
    assert day(datetime(2026, 1, 31, 23, 59, tzinfo=UTC)) == "2026-01-31"
    assert moment("2026-01-31T02:03:59+00:00") == "2026-01-31 02:03 UTC"
