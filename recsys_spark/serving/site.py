"""From an address to a page: which run is shown, and what is asked of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from recsys_spark.errors import RecsysError
from recsys_spark.runtime.tables import Tables
from recsys_spark.serving.lookups import HISTORY, Lookups
from recsys_spark.serving.pages import asset, render

_LISTS = "recommendations"
_ASSETS = {"/style.css": "text/css", "/icon.svg": "image/svg+xml"}


@dataclass(frozen=True)
class Answer:
    """What a request is answered with: text of a media type, sent as UTF-8."""

    text: str
    status: HTTPStatus = HTTPStatus.OK
    media: str = "text/html"


class Site:
    """The pages of a root; run_id: of one run for good, or, None, of the one that is published."""

    def __init__(self, tables: Tables, run_id: str | None = None) -> None:
        self._tables, self._run_id = tables, run_id
        # Two versions, for a publish comes while pages of the one before are made.
        self._opened = lru_cache(maxsize=2)(self._open)

    def shown(self) -> tuple[Lookups, str | None]:
        """The version to show now, and when it was published if readers see it.

        Raises ConfigError, with the cure, if there is none.
        """
        pointer = self._tables.pointer(_LISTS)
        lookups = self._opened(self._run_id or (pointer.run_id if pointer else None))
        is_current = pointer is not None and pointer.run_id == lookups.run_id
        return lookups, pointer.published_at if pointer and is_current else None

    def _open(self, run_id: str | None) -> Lookups:
        return Lookups(self._tables, self._tables.version(_LISTS, run_id))

    def answer(self, target: str) -> Answer:
        """What stands at the path and query of an address."""
        path, _, query = target.partition("?")
        if path in _ASSETS:
            return Answer(asset(path.removeprefix("/")), media=_ASSETS[path])
        try:
            lookups, published = self.shown()
        except RecsysError as error:
            return Answer(render("failure", reason=str(error)), HTTPStatus.SERVICE_UNAVAILABLE)
        page, content = _chosen(lookups, path, parse_qs(query).get("id", [""])[0])
        status = HTTPStatus.NOT_FOUND if page == "missing" else HTTPStatus.OK
        return Answer(render(page, lookups=lookups, published=published, **content), status)


def _chosen(lookups: Lookups, path: str, asked: str) -> tuple[str, Mapping[str, Any]]:
    """The template of a page, and what it shows."""
    if path == "/":
        return "home", {}
    if path == "/user" and (user := lookups.user(asked)):
        return "user", {"user": user, "limit": HISTORY}
    if path == "/item" and (item := lookups.item(asked)):
        return "item", {"found": item}
    kind = path.removeprefix("/") if path in ("/user", "/item") else "page"
    return "missing", {"kind": kind, "asked": asked}
