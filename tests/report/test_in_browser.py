"""The report in a real browser: nothing hangs over on a phone, all is drawn, dark is dark."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from nights import run_in, write_source
from pyspark.sql import SparkSession

from recsys_spark.pipeline.run import STAGES

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_MEASURE = """
<iframe id="page" style="width: {width}px; height: 900px; border: 0" srcdoc="{page}"></iframe>
<script>
  addEventListener("load", () => {{
    const page = document.getElementById("page").contentDocument;
    const drawn = [...page.querySelectorAll("svg")].map((svg) => svg.getBoundingClientRect());
    const style = getComputedStyle(page.body);
    const found = {{
      overhang: page.documentElement.scrollWidth - {width},
      figures: drawn.filter((box) => box.width > 100 && box.height > 50).length,
      paper: style.backgroundColor, ink: style.color,
      links: [...page.querySelectorAll("nav a")].map((a) => !!page.querySelector(a.hash)),
    }};
    document.title = JSON.stringify(found);
  }});
</script>
"""


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
        stages=STAGES[:5],
        run_id="shown",
    )
    return (folder / "root/runs/shown/report.html").read_text()


def measured(page: str, folder: Path, width: int, dark: bool) -> dict[str, Any]:
    found = [path for name in _BROWSERS if (path := shutil.which(name))]
    if not found:
        pytest.skip(f"no browser: none of {', '.join(_BROWSERS)} is installed")
    frame = folder / "frame.html"
    frame.write_text(_MEASURE.format(width=width, page=html.escape(page)))
    command = [
        found[0], "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--window-size={width + 200},1000", "--dump-dom", frame.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title, done.stderr[-2000:]
    content: dict[str, Any] = json.loads(html.unescape(title[1]))
    return content


def brightness(colour: str) -> int:
    return sum(map(int, re.findall(r"\d+", colour)[:3]))


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
