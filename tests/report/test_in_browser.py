"""The report in a real browser: nothing hangs over on a phone, all is drawn, dark is dark."""

from pathlib import Path

import pytest
from browser import brightness, measured
from nights import run_in, write_source
from pyspark.sql import SparkSession

from recsys_spark.pipeline.run import STAGES


@pytest.fixture(scope="module")
def page(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a complete run on ratings, with long names."""
    folder = tmp_path_factory.mktemp("report")
    write_source(folder)
    title = "A Film With a Name as Long as Names of Films May Ever Be, Part"
    names = (f'{i},"{title} {i}",Drama|War\n' for i in range(1, 26))
    (folder / "items.csv").write_text("item_id,title,genres\n" + "".join(names))
    run_in(
        folder,
        "objective.preset=mllib_explicit",
        f"items.path={folder / 'items.csv'}",
        "items.columns.genres=genres",
        "evaluate.k=[3, 10]",
        "evaluate.baselines=[popularity, random]",
        stages=STAGES[:6],
        run_id="shown",
    )
    return (folder / "root/runs/shown/report.html").read_text()


@pytest.mark.process
@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_hangs_over_and_everything_is_drawn(page: str, tmp_path: Path, width: int) -> None:
    found = measured(page, tmp_path, width, dark=False)
    assert found["overhang"] <= 0
    assert found["figures"] == page.count("<figure>") > 10
    assert found["links"]
    assert all(found["links"])
    assert brightness(found["paper"]) > 600 > 300 > brightness(found["ink"])


@pytest.mark.process
def test_a_dark_screen_gets_a_dark_page(page: str, tmp_path: Path) -> None:
    found = measured(page, tmp_path, 900, dark=True)
    assert brightness(found["paper"]) < 150
    assert brightness(found["ink"]) > 600
