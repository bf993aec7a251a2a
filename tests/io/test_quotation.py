"""Quotations that a line leaves open, against the csv module's reading of whole files."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import functions as F

from recsys_spark.io.quotation import Quoting, mark_open

COMMA = Quoting('"', ",")
# line, open behind it when it begins outside, and inside
LINES = [
    ("ann,tea,5", False, True),
    ("", False, True),
    ('"ann', True, True),
    ('marie",tea,5', False, False),
    ('"ann","tea",5', False, False),
    ('"say ""hi""",x', False, False),
    ('"say ""hi"""', False, False),
    ('"ends with a doubled mark""', True, True),
    ('12" vinyl,x', False, True),
    ('x,12" vinyl', False, True),
    ('"5" pipe",x', False, False),
    ('x,"', True, False),
    ('""', False, True),
    ('"",x', False, True),
    ('12","open', True, True),
    ('ab"c,"open', True, True),
    ('x,"a,b', True, True),
]


@pytest.mark.parametrize(("line", "outside", "inside"), LINES)
def test_quotation_state_behind_a_line(line, outside, inside):
    assert COMMA.ends_inside(line, False) is outside
    assert COMMA.ends_inside(line, True) is inside


def records(text):
    """The number of records, by the standard library."""
    return len(list(csv.reader(io.StringIO(text), strict=False)))


@given(st.lists(st.lists(st.text('ab",\n', max_size=5), min_size=1, max_size=3), max_size=6))
def test_quotation_lines_that_end_records_are_those_of_the_csv_module(rows):
    target = io.StringIO()
    csv.writer(target, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    lines, inside, ends = target.getvalue().split("\n")[:-1], False, 0
    for line in lines:
        inside = COMMA.ends_inside(line, inside)
        ends += not inside
    assert ends == len(rows) == records(target.getvalue())
    assert not inside


def test_quotation_of_blocks_is_that_of_the_whole_file(spark):
    """Two files in blocks, in partitions of several blocks; the long record spans three blocks."""
    first = ["a,1", '"b', "it,bob,tea", "c,2", 'end",3', "d,4", '"e', 'f",5']
    second = ["u,1", 'x,"', "v,2"]
    rows = [(line, "one", at // 2) for at, line in enumerate(first)]
    rows += [(line, "two", 0) for line in second]
    lines = spark.createDataFrame(rows, "raw string, source_file string, block bigint").coalesce(1)
    found = {row.raw: row.open for row in mark_open(lines, COMMA).collect()}
    assert [line for line in [*first, *second] if not found[line]] == ["a,1", "d,4", "u,1"]


def test_quotation_no_open_line_is_missed(spark):
    texts = [line for line, *_ in LINES]
    pieces = ['"', ",", "x", '""']
    texts += [a + b + c + d for a in pieces for b in pieces for c in pieces for d in pieces]
    frame = spark.createDataFrame([(text,) for text in texts], "raw string")
    rows = frame.select("raw", COMMA.may_open(F.col("raw")).alias("may")).collect()
    missed = [row.raw for row in rows if COMMA.ends_inside(row.raw, False) and not row.may]
    assert missed == []
    plain = [row.raw for row in rows if row.may and '"' not in row.raw]
    assert plain == []
    closed = {'"ann","tea",5', '"say ""hi""",x', '12" vinyl,x', '"say ""hi"""', "ann,tea,5"}
    assert not {row.raw for row in rows if row.may} & closed
