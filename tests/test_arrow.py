"""The entry point that every Arrow function's columns go through."""

import gc

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql.types import LongType, StructField, StructType

from recsys_spark.arrow import arrow_schema, binary_array, binary_matrix, make_batch

SCHEMA = StructType([StructField("one", LongType()), StructField("frozen", LongType())])


def test_columns_are_matched_by_name_and_cast():
    schema = arrow_schema(SCHEMA)
    batch = make_batch(schema, {"frozen": np.array([2], np.int32), "one": [1]})
    assert batch.schema.names == ["one", "frozen"]
    assert batch.to_pylist() == [{"one": 1, "frozen": 2}]
    with pytest.raises(ValueError, match="do not match"):
        make_batch(schema, {"one": [1]})


def test_modules_of_a_worker_are_not_collected_again_after_every_task(spark):
    schema = arrow_schema(SCHEMA)

    def task(batches):
        for _ in batches:
            for _ in range(2):  # the first may itself load what Arrow wants
                make_batch(schema, {"one": [1], "frozen": [0]})
            frozen = gc.get_freeze_count()
            yield make_batch(schema, {"one": [len(gc.get_objects())], "frozen": [frozen]})

    row = spark.range(1).repartition(1).mapInArrow(task, SCHEMA).first()
    assert row["frozen"] > 10 * row["one"]  # what is left for the collector to look at


@pytest.mark.parametrize("columns", [1, 3])
def test_binary_values_are_the_bytes_of_their_rows(columns):
    rows = np.arange(5 * columns, dtype=np.float32).reshape(5, columns)
    found = binary_array(rows, np.array([0, 2, 2, 5]))
    assert found.to_pylist() == [rows[:2].tobytes(), b"", rows[2:].tobytes()]
    assert pa.types.is_binary(found.type)


@pytest.mark.parametrize("some", [slice(0, 3), slice(1, 3), slice(2, 2)])
def test_equally_long_binary_values_are_the_rows_of_a_matrix(some):
    rows = np.arange(12, dtype=np.float64).reshape(3, 4)
    column = binary_array(rows, np.arange(4))[some]
    found = binary_matrix(column, np.float64, 4)
    assert found.shape == (len(column), 4)
    assert found.tolist() == rows[some].tolist()
