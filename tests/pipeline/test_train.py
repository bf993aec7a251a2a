"""How train says what it did."""

import pytest

from recsys_spark.pipeline.train import readable


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
