"""Pages over HTTP: what is shown, what is refused, and nothing that a reader could inject."""

import re
import socket
import struct
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import quote

import pytest

from tests.web.shop import LISTED, SCRIPT, publish, serving, write_shop


def asked(server, path, method="GET", **headers) -> tuple[HTTPResponse, str]:
    connection = HTTPConnection(*server.server_address[:2], timeout=20)  # type: ignore[misc]
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response, text


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(publish(write_shop(tmp_path_factory.mktemp("shop")))) as found:
        yield found


def test_the_first_page_names_the_run_its_sizes_and_users_of_every_source(server):
    response, page = asked(server, "/")
    assert response.status == 200
    assert re.search(r"Run night-1, published 20\d\d-\d\d-\d\d \d\d:\d\d UTC", page)
    for text in ("<b>6</b> lists", "<b>4</b> interactions", "model", "popular", "fold_in+popular"):
        assert text in page
    links = re.findall(r'href="(/user[^"]+)"', page)
    assert len(links) == 6
    assert {asked(server, link)[0].status for link in links} == {200}


def test_a_user_is_shown_by_title_with_reasons(server):
    _, page = asked(server, "/user?id=ann")
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    for expected in (
        "3 interactions",
        "gone 1 2026-01-03",
        "Tea hot leaves 4.5 2026-01-01",
        "Recommended model ranked by the model score",
        "1 Jam because of Tea , Cup &amp; &lt;b&gt;saucer&lt;/b&gt; last seen 2026-01-20 1.0000",
        "2 pot/1 hot 0.5000",
        "Model of run night-0",
    ):
        assert expected in text


def test_item_page_links_to_similar_items(server):
    _, page = asked(server, "/item?id=tea")
    assert "<h1>Tea</h1>" in page
    assert "2 users have" in page
    links = re.findall(r'href="(/item[^"]+)"', page)
    assert links == ["/item?id=pot/1", "/item?id=cup"]
    assert "pot/1" in asked(server, links[0])[1]


def test_items_are_found_by_a_part_of_the_title(server):
    response, page = asked(server, "/search?id=T%65")
    assert response.status == 200
    assert 'href="/item?id=tea"' in page
    assert 'value="Te"' in page
    response, page = asked(server, f"/search?id={quote('<B>sauc')}")
    assert 'href="/item?id=cup"' in page
    assert "<b>sauc" not in page


def test_a_search_by_id_leads_to_the_user_or_the_item(server):
    assert "<h1>User ann</h1>" in asked(server, "/search?id=%20ann%20")[1]
    assert 'href="/item?id=gone"' in asked(server, "/search?id=gone")[1]


@pytest.mark.parametrize("text", ["", "%20", "nothing like it", ".*", "(", SCRIPT + "x"])
def test_a_search_without_a_find_ends_with_404(server, text):
    response, page = asked(server, f"/search?id={quote(text, safe='%')}")
    assert response.status == 404
    assert "no item with this in the title" in page
    assert "<script" not in page


def test_the_report_of_the_run_is_linked_where_there_is_one(server, tmp_path):
    assert "/report" not in asked(server, "/")[1]
    assert asked(server, "/report")[0].status == 404
    publish(write_shop(tmp_path))
    report = tmp_path / "runs/night-1/report.html"
    report.parent.mkdir(parents=True)
    report.write_text("<style>p { color: red }</style><p>Metrics</p>")
    with serving(tmp_path) as other:
        assert 'href="/report"' in asked(other, "/user?id=ann")[1]
        response, page = asked(other, "/report")
        assert page == report.read_text()
        policy = response.getheader("Content-Security-Policy")
        assert "default-src 'none'" in policy
        assert "style-src 'unsafe-inline'" in policy
        assert "unsafe" not in asked(other, "/")[0].getheader("Content-Security-Policy")


@pytest.mark.parametrize("user", LISTED)
def test_ids_of_any_kind_can_be_asked_for(server, user):
    response, page = asked(server, f"/user?id={quote(user, safe='')}")
    assert response.status == 200
    assert "<script" not in page
    assert "<b>saucer" not in page


@pytest.mark.parametrize("path", ["/user", "/item"])
@pytest.mark.parametrize("asked_id", ["", "nobody", SCRIPT + "x", "../../etc/passwd", "%00%ff"])
def test_unknown_ids_end_with_404_and_the_cure(server, path, asked_id):
    response, page = asked(server, f"{path}?id={quote(asked_id, safe='%')}")
    assert response.status == 404
    assert "Ids are compared" in page
    assert 'href="/user?id=ann"' in page
    assert "<script" not in page


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/../pyproject.toml",
        "/..%2f..%2fetc%2fpasswd",
        "/tables/recommendations/CURRENT.json",
        "/style.css/../../../etc/passwd",
        "/templates/home.html.j2",
        "//etc/passwd",
        "/user/",
    ],
)
def test_other_paths_end_with_404(server, path):
    response, page = asked(server, path)
    assert response.status == 404
    assert "There is no such page" in page


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_server_refuses_methods_other_than_reading(server, method):
    response, _ = asked(server, "/", method)
    assert (response.status, response.getheader("Allow")) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost:8080", 200),
        ("LOCALHOST", 200),
        ("[::1]:8080", 200),
        ("", 200),
        ("elsewhere.example:8080", 421),
        ("localhost.elsewhere.example", 421),
        ("127.0.0.1.elsewhere.example", 421),
        ("[::1", 421),
    ],
)
@pytest.mark.parametrize("path", ["/user?id=ann", "/style.css"])
def test_a_page_of_another_name_cannot_read_the_lists(server, path, host, status):
    response, page = asked(server, path, Host=host)
    assert response.status == status
    if status != 200:
        assert "Tea" not in page


def test_server_for_other_machines_accepts_any_host_name(tmp_path):
    publish(write_shop(tmp_path))
    with serving(tmp_path, host="0.0.0.0") as server:
        assert asked(server, "/", Host="lists.example:8080")[0].status == 200


@pytest.mark.parametrize("path", ["/", "/user?id=ann", "/user?id=nobody", "/style.css"])
def test_head_is_get_without_the_page(server, path):
    got, page = asked(server, path)
    head, nothing = asked(server, path, "HEAD")
    assert (head.status, nothing) == (got.status, "")
    assert int(head.getheader("Content-Length")) == len(page.encode())


@pytest.mark.parametrize("path", ["/", "/style.css", "/icon.svg", "/nowhere"])
def test_responses_forbid_scripts_and_other_origins(server, path):
    response, text = asked(server, path)
    policy = response.getheader("Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert response.getheader("X-Content-Type-Options") == "nosniff"
    assert "Python" not in response.getheader("Server")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_publish_shows_at_the_next_request(tmp_path):
    write_shop(tmp_path, "night-1", best="jam")
    write_shop(tmp_path, "night-2", best="bun")
    publish(tmp_path, "night-1")
    with serving(tmp_path) as server, serving(tmp_path, "night-1") as of_one_run:
        assert "Jam" in asked(server, "/user?id=ann")[1]
        publish(tmp_path, "night-2")
        page = asked(server, "/user?id=ann")[1]
        assert "Bun" in page
        assert "Run night-2, published" in page
        page = asked(of_one_run, "/user?id=ann")[1]
        assert "Jam" in page
        assert "Run night-1, not the published one" in page


def test_tables_that_are_taken_away_end_with_503_and_the_cure(tmp_path):
    publish(write_shop(tmp_path))
    with serving(tmp_path) as server:
        (tmp_path / "tables/recommendations/CURRENT.json").unlink()
        response, page = asked(server, "/")
    assert response.status == 503
    assert "recsys-spark publish" in page


def test_a_broken_file_ends_with_500_and_a_line_in_the_terminal(tmp_path):
    publish(write_shop(tmp_path))
    events = []
    with serving(tmp_path, sinks=[events.append]) as server:
        assert asked(server, "/user?id=ann")[0].status == 200
        folder = tmp_path / "tables/items/versions/night-1"
        (folder / "part-00000.parquet").write_bytes(b"half a file")
        response, page = asked(server, "/item?id=tea")
        assert asked(server, "/")[0].status == 200
    assert response.status == 500
    assert "Traceback" not in page
    (warning,) = [event["msg"] for event in events if event["level"] == "warning"]
    assert warning.startswith("/item?id=tea failed")


def answered(server, request: bytes) -> bytes:
    """All that comes back until the server ends the connection."""
    with socket.create_connection(server.server_address[:2], timeout=20) as client:
        client.sendall(request)
        return client.makefile("rb").read()


def test_unknown_methods_are_refused_with_the_same_headers(server):
    answer = answered(server, b"BREW / HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 501 ")
    assert b"default-src 'none'" in answer


@pytest.mark.parametrize(
    "request_line",
    [b"nonsense\r\n\r\n", b"GET /\xff HTTP/1.0\r\n\r\n", b"GET /" + b"x" * 70_000],
    ids=["nonsense", "bytes", "endless"],
)
def test_invalid_requests_are_refused_as_plain_text(server, request_line):
    head, _, text = answered(server, request_line).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: text/plain" in head
    assert text == b"Invalid HTTP request received."


def test_long_addresses_are_read(server):
    assert asked(server, f"/search?id={'x' * 60_000}")[0].status == 404


def test_a_connection_serves_several_requests(server):
    connection = HTTPConnection(*server.server_address[:2], timeout=20)  # type: ignore[misc]
    connection.connect()
    first = connection.sock
    for method in ("HEAD", "GET", "POST", "GET"):
        connection.request(method, "/user?id=ann", body=b"x" if method == "POST" else None)
        assert connection.getresponse().read() or method == "HEAD"
        assert connection.sock is first
    connection.close()


def test_clients_that_leave_are_nothing_to_report(tmp_path):
    publish(write_shop(tmp_path))
    events = []
    with serving(tmp_path, sinks=[events.append]) as server:
        for _ in range(5):
            client = socket.create_connection(server.server_address[:2], timeout=20)
            at_once = struct.pack("ii", 1, 0)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            client.sendall(b"GET /user?id=ann HTTP/1.0\r\n\r\n")
            client.close()
        assert asked(server, "/")[0].status == 200
    assert {event["level"] for event in events} == {"debug"}


def test_a_client_that_reads_nothing_does_not_hold_the_server(tmp_path, caplog):
    publish(write_shop(tmp_path))
    report = tmp_path / "runs/night-1/report.html"
    report.parent.mkdir(parents=True)
    report.write_text("x" * 30_000_000)  # more than sockets buffer
    with ExitStack() as clients, serving(tmp_path) as server:
        address = server.server_address[:2]
        client = clients.enter_context(socket.create_connection(address, timeout=20))
        client.sendall(b"GET /report HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(1)
    assert caplog.messages == []


def test_the_smallest_tables_are_enough(tmp_path):
    publish(write_shop(tmp_path, plain=True))
    with serving(tmp_path) as server:
        user, item = (asked(server, path)[1] for path in ("/user?id=ann", "/item?id=tea"))
    assert "The list is empty" in user
    assert "no table of similar items" in item
