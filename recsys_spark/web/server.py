"""HTTP by Starlette and uvicorn: read-only, a thread a page, nothing loaded from elsewhere."""

import errno
import ipaddress
import logging
import socket
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPMethod, HTTPStatus
from urllib.parse import urlsplit

import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from recsys_spark.errors import ConfigError
from recsys_spark.runtime.log import Log
from recsys_spark.web.site import POLICY, Site, page

_HEADERS = {
    "Server": "recsys-spark",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # a publish may change every page
}
_READING = (HTTPMethod.GET, HTTPMethod.HEAD)
_LONGEST = 65_536  # bytes of a request line and its headers
_PATIENCE = 1  # seconds that a client has for the rest of its page when the server ends


class Server:
    """Answers requests for a site's pages; `serve_forever` blocks, `shutdown` ends it.

    listening: the socket to answer at. name: what the server is called beside its addresses.
    """

    def __init__(self, site: Site, listening: socket.socket, name: str, log: Log) -> None:
        self.site, self.log, self.name = site, log, name.lower()
        self.server_address = listening.getsockname()
        self._listening = listening
        self._server = uvicorn.Server(
            uvicorn.Config(
                self.application,
                # Not what uvicorn would choose by the packages that are installed.
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                interface="asgi3",
                proxy_headers=False,
                # This class logs requests, and pages that fail. The user who ends the server has no
                # use for uvicorn's lines about clients that are still connected.
                log_config=None,
                log_level=logging.CRITICAL,
                access_log=False,
                server_header=False,
                headers=[*_HEADERS.items()],
                h11_max_incomplete_event_size=_LONGEST,
                timeout_graceful_shutdown=_PATIENCE,
            )
        )

    def serve_forever(self) -> None:
        """Answer requests until `shutdown`, or a signal that ends the process."""
        self._server.run(sockets=[self._listening])

    def shutdown(self) -> None:
        """Let `serve_forever` return, from whatever thread."""
        self._server.should_exit = True

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        host, port = self.server_address[:2]
        name = f"[{host}]" if self._listening.family == socket.AF_INET6 else host
        return f"http://{name}:{port}/"

    @property
    def is_open(self) -> bool:
        """Whether other machines reach it."""
        return not ipaddress.ip_address(self.server_address[0]).is_loopback

    def asked_for(self, host: str) -> bool:
        """Whether a request's Host may mean this server.

        What listens on this machine alone goes by its addresses and localhost: with another name a
        page from elsewhere would read the lists through the browser (DNS rebinding).
        """
        if self.is_open:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or "localhost"
        except ValueError:
            return False
        return name in ("localhost", self.name) or _is_address(name)

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: what uvicorn calls, by the protocol ASGI."""
        response = await run_in_threadpool(self._answer, Request(scope))
        await response(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        target = _target(request.scope)
        try:
            response = self._refusal(request) or self.site.answer(target)
        except Exception:
            self.log.warning(f"{target} failed\n{traceback.format_exc()}")
            reason = "The page could not be made; the terminal of `recsys-spark serve` says why."
            response = page("failure", HTTPStatus.INTERNAL_SERVER_ERROR, reason=reason)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        version = request.scope["http_version"]
        self.log.debug(f'"{request.method} {target} HTTP/{version}" {response.status_code} -')
        return response

    def _refusal(self, request: Request) -> Response | None:
        """The response to a request without a page; None: there may be one."""
        if request.method not in _READING:
            is_known = request.method in HTTPMethod.__members__
            status = HTTPStatus.METHOD_NOT_ALLOWED if is_known else HTTPStatus.NOT_IMPLEMENTED
            text = "Pages are read with GET or HEAD.\n"
            return PlainTextResponse(text, status, {"Allow": ", ".join(_READING)})
        if not self.asked_for(request.headers.get("Host", "")):
            reason = f"This server is {self.address}; requests by another name are refused."
            return page("failure", HTTPStatus.MISDIRECTED_REQUEST, reason=reason)
        return None


@contextmanager
def open_server(site: Site, host: str, port: int, log: Log) -> Iterator[Server]:
    """A server that listens; port 0 is any free one.

    Raises ConfigError, with the cure, if it cannot listen there.
    """
    with ExitStack() as stack:
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            listening = stack.enter_context(socket.socket(family))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen()
        except OSError as error:
            raise _cannot_listen(error, host, port) from None
        yield Server(site, listening, host, log)


def _cannot_listen(error: OSError, host: str, port: int) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"Port {port} of {host} is in use: end what listens there, or give another --port "
            "(0 takes a free one)."
        )
    return ConfigError(
        f"Cannot listen on port {port} of {host} ({error.strerror}): give another --host or --port."
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _target(scope: Scope) -> str:
    """Path and query of a request, as they were sent."""
    path, query = scope["raw_path"].decode("ascii"), scope["query_string"].decode("ascii")
    return f"{path}?{query}" if query else path
