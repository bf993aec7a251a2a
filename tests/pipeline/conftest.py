"""Fixtures of the pipeline's tests."""

from functools import partial

import pytest

from tests.pipeline.pipeline_runs import run_in, write_source


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path)


@pytest.fixture
def run(spark, tmp_path, source):
    """Run stages on the source with these settings; answers the outcome."""
    return partial(run_in, tmp_path)
