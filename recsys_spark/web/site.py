"""From an address to a page: which run is shown, and what is asked of it."""

from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import HTMLResponse, Response

from recsys_spark.errors import RecsysError
from recsys_spark.storage.runs import Runs
from recsys_spark.storage.tables import Tables
from recsys_spark.web.lookups import FOUND, HISTORY, Lookups
from recsys_spark.web.pages import asset, render

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
# The report is a page of ours that holds its style itself.
_REPORT_POLICY = POLICY.replace("style-src 'self'", "style-src 'unsafe-inline'")
_LISTS = "recommendations"
_ASSETS = {"/style.css": "text/css", "/icon.svg": "image/svg+xml"}


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

    def answer(self, target: str) -> Response:
        """What stands at the path and query of an address."""
        path, _, query = target.partition("?")
        if path in _ASSETS:
            return Response(asset(path.removeprefix("/")), media_type=_ASSETS[path])
        try:
            lookups, published = self.shown()
        except RecsysError as error:
            return page("failure", HTTPStatus.SERVICE_UNAVAILABLE, reason=str(error))
        report = self._report(lookups.run_id)
        if path == "/report" and report:
            return HTMLResponse(report, headers={"Content-Security-Policy": _REPORT_POLICY})
        name, content = _chosen(lookups, path, parse_qs(query).get("id", [""])[0])
        status = HTTPStatus.NOT_FOUND if name == "missing" else HTTPStatus.OK
        shown = {"lookups": lookups, "published": published, "has_report": bool(report)}
        return page(name, status, **shown, **content)

    def _report(self, run_id: str) -> str | None:
        """The page of the run that made the lists, where there is one."""
        store = self._tables.store
        return store.read(Runs(store).path(run_id, "report.html"))


def page(name: str, status: HTTPStatus, **content: Any) -> HTMLResponse:
    """A page by the name of its template; all content is escaped."""
    return HTMLResponse(render(name, **content), status)


def _chosen(lookups: Lookups, path: str, asked: str) -> tuple[str, Mapping[str, Any]]:
    """The template of a page, and what it shows."""
    if path == "/":
        return "home", {}
    if path == "/search":
        return _searched(lookups, asked.strip())
    if path == "/user" and (user := lookups.user(asked)):
        return "user", {"user": user, "limit": HISTORY}
    if path == "/item" and (item := lookups.item(asked)):
        return "item", {"found": item}
    kind = path.removeprefix("/") if path in ("/user", "/item") else "page"
    return "missing", {"kind": kind, "asked": asked}


def _searched(lookups: Lookups, asked: str) -> tuple[str, Mapping[str, Any]]:
    """The user of this id; where items are found too, or no user, all that was found."""
    user, item, titled = lookups.user(asked), lookups.item(asked), lookups.titled(asked)
    items = list(dict.fromkeys([*([item.item] if item else []), *titled]))
    if user and not items:
        return "user", {"user": user, "limit": HISTORY}
    if not user and not items:
        return "missing", {"kind": "user or item", "asked": asked}
    return "search", {"asked": asked, "user": user, "items": items, "most": len(titled) == FOUND}
