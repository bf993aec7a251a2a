"""Fixtures of the pipeline's tests."""

from collections.abc import Iterator
from functools import partial

import pytest
from matplotlib.figure import Figure

from tests.pipeline.pipeline_runs import run_in, write_source


@pytest.fixture(scope="module", autouse=True)
def quick_figures() -> Iterator[pytest.MonkeyPatch]:
    """Reports have empty figures, since drawing them takes seconds of the driver for every run.

    Undo it to have them drawn; what is drawn is tested in tests/report.
    """

    def savefig(_: Figure, target, **__: object) -> None:
        target.write("<svg></svg>")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        yield patch


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path)


@pytest.fixture
def run(spark, tmp_path, source):
    """Run stages on the source with these settings; answers the outcome."""
    return partial(run_in, tmp_path)
