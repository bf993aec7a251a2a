"""Pages in a real browser without a window."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

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
      cut: [...page.querySelectorAll(".person")].filter(
        (lists) => [lists, lists.parentElement].some((box) => box.scrollWidth > box.clientWidth)
      ).length,
      broken: [...page.querySelectorAll("nav a")].filter(
        (link) => link.getClientRects().length > 1
      ).length,
      holes: [...page.querySelectorAll(".gallery")].filter((gallery) => {{
        const boxes = [...gallery.children].map((part) => part.getBoundingClientRect());
        const heights = boxes.filter((box) => box.top === boxes[0].top).map((box) => box.height);
        return Math.max(...heights) > 1.5 * Math.min(...heights);
      }}).length,
      links: [...page.querySelectorAll("nav a")].map((a) => !!page.querySelector(a.hash)),
    }};
    document.title = JSON.stringify(found);
  }});
</script>
"""


def find_browser() -> str:
    """The path of a browser; skips the test where none is installed."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(_BROWSERS)} is installed")
    return found


def measured(browser: str, page: str, folder: Path, width: int, dark: bool) -> dict[str, Any]:
    """What a self-contained page is like in a frame of this width: its overhang, colours, links;
    lists that are cut off, links of the navigation on two lines, figures beside a hole."""
    frame = folder / "frame.html"
    frame.write_text(_MEASURE.format(width=width, page=html.escape(page)))
    done = opened(browser, frame.as_uri(), folder, width + 200, dark)
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title, done.stderr[-2000:]
    content: dict[str, Any] = json.loads(html.unescape(title[1]))
    return content


def opened(
    browser: str, address: str, folder: Path, width: int, dark: bool
) -> "subprocess.CompletedProcess[str]":
    """The document as it is once loaded, on stdout, and the console among stderr."""
    command = [
        browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--enable-logging=stderr",
        f"--window-size={width},1000", "--dump-dom", address,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def brightness(colour: str) -> int:
    """Of a colour as browsers name it: 0 to 765."""
    return sum(map(int, re.findall(r"\d+", colour)[:3]))
