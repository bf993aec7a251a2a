"""What packing leaves behind in the caller's session."""

import pytest

from recsys_spark.als.packed_interactions import _unmeasured_batches, packed
from recsys_spark.als.weighting import weigh
from recsys_spark.errors import ContractError
from recsys_spark.kernels.als.spec import resolve_spec
from tests.als.samples import frame_of, ratings

LIMIT = "spark.sql.execution.arrow.maxBytesPerBatch"


@pytest.fixture(params=["12345b", None])
def limit(spark, request):
    """The session's own limit of a batch, if it has one."""
    if request.param:
        spark.conf.set(LIMIT, request.param)
    yield request.param
    spark.conf.unset(LIMIT)


def test_the_limit_of_batches_is_lifted_for_one_job_only(spark, limit):
    with _unmeasured_batches(spark):
        assert spark.conf.get(LIMIT) == str(2**31 - 1)
    pairs = weigh(frame_of(spark, ratings(users=6, items=5)), resolve_spec("ials", rank=2))
    with packed(pairs) as found:
        assert found.rows > 7  # more than one batch
        assert spark.conf.getAll.get(LIMIT) == limit
    with pytest.raises(ContractError, match="no training rows"), packed(pairs.where("false")):
        pass
    assert spark.conf.getAll.get(LIMIT) == limit
