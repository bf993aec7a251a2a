"""The pages in a real browser: nothing hangs over on a phone, dark is dark, the console empty."""

import re
from urllib.request import urlopen

import pytest

from tests.browser import brightness, measured, opened
from tests.web.shop import SCRIPT, publish, serving, write_shop

PAGES = ["/", "/user?id=ann", "/item?id=tea", "/search?id=t", f"/user?id={'x' * 3000}"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A server, and the events that it logs."""
    events = []
    root = publish(write_shop(tmp_path_factory.mktemp("shop")))
    with serving(root, sinks=[events.append]) as server:
        yield server, events


def inlined(server, path):
    """The page with its style in it, to be measured in a frame."""
    page, style = (
        urlopen(f"{server.address.rstrip('/')}{part}", timeout=20).read().decode()
        for part in (path, "/style.css")
    )
    link = '<link rel="stylesheet" href="/style.css">'
    assert link in page
    return page.replace(link, f"<style>{style}</style>")


@pytest.mark.parametrize("path", PAGES, ids=["home", "user", "item", "search", "long-id"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_fit_a_phone(browser, shop, tmp_path, path, dark):
    found = measured(browser, inlined(shop[0], path), tmp_path, 390, dark)
    assert found["overhang"] <= 0
    paper, ink = brightness(found["paper"]), brightness(found["ink"])
    assert (paper < 150 and ink > 600) if dark else (paper > 600 and ink < 300)


@pytest.mark.parametrize("path", ["/user?id=ann", f"/user?id={SCRIPT}"], ids=["ann", "script"])
def test_a_page_loads_its_own_files_and_leaves_the_console_empty(browser, shop, tmp_path, path):
    server, events = shop
    events.clear()
    address = f"{server.address.rstrip('/')}{path}"
    done = opened(browser, address, tmp_path, 1200, dark=False)
    assert "<h2>Recommended</h2>" in done.stdout
    assert "CONSOLE" not in done.stderr
    asked = {found[1] for event in events if (found := re.search(r'"GET (/\S*)', event["msg"]))}
    assert asked > {"/style.css"}
    assert {found.partition("?")[0] for found in asked} == {"/user", "/style.css", "/icon.svg"}
    assert all(" 200 " in event["msg"] for event in events), events
