"""How train says what it did."""

from types import SimpleNamespace

import numpy as np
import pytest

from recsys_spark.als.factors import Factors
from recsys_spark.pipeline import train
from recsys_spark.pipeline.train import _warn_of_equal_items, readable
from recsys_spark.runtime.log import Log


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (69_051.34, "69,051.3"),
        (1_234_567.0, "1,234,567.0"),
        (0.234567, "0.23457"),
        (-12.3456, "-12.346"),
        (0.00012345678, "0.00012346"),
        (1.2345e-9, "1.2345e-09"),
        (0.0, "0.0"),
        (float("inf"), "inf"),
    ],
)
def test_losses_have_five_significant_digits(loss, text):
    assert readable(loss) == text


@pytest.mark.parametrize(
    ("vectors", "warned"),
    [([[1, 2], [1, 2]], True), ([[1, 2], [1, 3]], False), ([[1, 2]], False)],
)
def test_equal_factors_of_all_items_are_warned_about(vectors, warned):
    events = []
    found = Factors(np.arange(len(vectors)), np.array(vectors, np.float32))
    _warn_of_equal_items(found, Log([events.append]))
    assert [event["level"] for event in events] == ["warning"] * warned


@pytest.mark.parametrize(
    ("master", "compiled", "said"), [("local[2]", False, 1), ("local", True, 0), ("yarn", False, 0)]
)
def test_the_first_training_says_that_it_compiles(monkeypatch, master, compiled, said):
    monkeypatch.setattr(train, "is_training_compiled", lambda: compiled)
    events = []
    spark = SimpleNamespace(sparkContext=SimpleNamespace(master=master))
    train._announce_compilation(SimpleNamespace(spark=spark, log=Log([events.append])))
    assert sum("compiling kernels, once" in event["msg"] for event in events) == said
