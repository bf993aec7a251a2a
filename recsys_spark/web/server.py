"""HTTP: read-only, one thread a request, nothing loaded from elsewhere."""

import errno
import ipaddress
import socket
import sys
import traceback
from http import HTTPMethod, HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from recsys_spark.errors import ConfigError
from recsys_spark.runtime.log import Log
from recsys_spark.web.pages import render
from recsys_spark.web.site import Answer, Site

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # a publish may change every page
}
_SILENCE = 30  # seconds after which a client that says nothing is left


class Server(ThreadingHTTPServer):
    """Answers requests for a site's pages; `serve_forever` blocks, `shutdown` ends it."""

    def __init__(self, site: Site, host: str, port: int, log: Log) -> None:
        self.site, self.log, self.name = site, log, host.lower()
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        super().__init__((host, port), _Handler)

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        host, port = self.server_address[:2]
        name = f"[{host!s}]" if self.address_family == socket.AF_INET6 else str(host)
        return f"http://{name}:{port}/"

    @property
    def is_open(self) -> bool:
        """Whether other machines reach it."""
        return not ipaddress.ip_address(str(self.server_address[0])).is_loopback

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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave before they are answered are nothing to report."""
        gone = isinstance(sys.exception(), ConnectionError)
        (self.log.debug if gone else self.log.warning)(traceback.format_exc())


def open_server(site: Site, host: str, port: int, log: Log) -> Server:
    """A server that listens; port 0 is any free one.

    Raises ConfigError, with the cure, if it cannot listen there.
    """
    try:
        return Server(site, host, port, log)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"Port {port} of {host} is in use: end what listens there, or give another --port "
                "(0 takes a free one)."
            ) from None
        raise ConfigError(
            f"Cannot listen on port {port} of {host} ({error.strerror}): give another --host or "
            "--port."
        ) from None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = _SILENCE
    _styled = False

    def do_GET(self) -> None:
        self._send(self._answer())

    do_HEAD = do_GET

    def _refuse(self) -> None:
        status = HTTPStatus.METHOD_NOT_ALLOWED
        self._send(Answer("Pages are read with GET or HEAD.\n", status, "text/plain"))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _answer(self) -> Answer:
        try:
            if not self.server.asked_for(self.headers.get("Host", "")):
                reason = f"This server is {self.server.address} and answers to no other name."
                return Answer(render("failure", reason=reason), HTTPStatus.MISDIRECTED_REQUEST)
            return self.server.site.answer(self.path)
        except Exception:
            self.server.log.warning(f"{self.path} failed\n{traceback.format_exc()}")
            reason = "The page could not be made; the terminal of `recsys-spark serve` says why."
            return Answer(render("failure", reason=reason), HTTPStatus.INTERNAL_SERVER_ERROR)

    def _send(self, answer: Answer) -> None:
        body = answer.text.encode("utf-8")
        self._styled = answer.styled
        self.send_response(answer.status)
        self.send_header("Content-Type", f"{answer.media}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != HTTPMethod.HEAD:
            self.wfile.write(body)

    def end_headers(self) -> None:
        """On every answer, also on those to what is not HTTP."""
        for name, value in _HEADERS.items():
            allowed = value.replace("style-src 'self'", "style-src 'unsafe-inline'")
            self.send_header(name, allowed if self._styled else value)
        super().end_headers()

    def version_string(self) -> str:
        """Without Python's version, which no reader needs."""
        return "recsys-spark"

    def log_message(self, format: str, *args: Any) -> None:
        self.server.log.debug(format % args)
