"""The report in a real browser: nothing hangs over on a phone, all is drawn, dark is dark."""

from pathlib import Path

import pytest

from recsys_spark.report.page import draw_figures, draw_seconds, render_report
from tests.browser import brightness, measured
from tests.report.report_records import records


@pytest.fixture(scope="module")
def page() -> str:
    """Of a complete run on ratings, with seven models and long names."""
    made = records()
    return render_report("shown", made, draw_figures(made) | draw_seconds(made))


@pytest.mark.parametrize("width", [360, 400, 1280])
def test_report_draws_every_figure_within_the_page(
    browser: str, page: str, tmp_path: Path, width: int
) -> None:
    found = measured(browser, page, tmp_path, width, dark=False)
    assert found["overhang"] <= 0
    assert found["figures"] >= page.count("<figure>") > 10
    assert found["links"]
    assert all(found["links"])
    assert (found["cut"], found["broken"], found["holes"]) == (0, 0, 0)
    assert brightness(found["paper"]) > 600 > 300 > brightness(found["ink"])


def test_a_dark_screen_gets_a_dark_page(browser: str, page: str, tmp_path: Path) -> None:
    found = measured(browser, page, tmp_path, 900, dark=True)
    assert brightness(found["paper"]) < 150
    assert brightness(found["ink"]) > 600
