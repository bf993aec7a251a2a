"""`recsys-spark serve` as people start and end it."""

import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from recsys_spark.cli import main
from recsys_spark.web.server import Server
from tests.web.shop import publish, write_shop


def serve(root, *words):
    return main(["serve", "--set", f"paths.root={root}", *words])


def words_of(capsys):
    return " ".join(capsys.readouterr().err.split())


def test_a_port_in_use_ends_with_code_2_and_the_cure(tmp_path, capsys):
    publish(write_shop(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert serve(tmp_path, "--port", str(port)) == 2
    assert f"Port {port} of 127.0.0.1 is in use" in (said := words_of(capsys))
    assert "--port" in said


def test_an_address_of_elsewhere_ends_with_code_2(tmp_path, capsys):
    publish(write_shop(tmp_path))
    assert serve(tmp_path, "--host", "203.0.113.1", "--port", "0") == 2
    assert "Cannot listen on port 0 of 203.0.113.1" in words_of(capsys)


def test_a_root_without_tables_ends_with_code_2(tmp_path, capsys):
    assert serve(tmp_path / "nowhere") == 2
    assert "There are no tables" in words_of(capsys)


def test_unpublished_lists_end_with_code_2(tmp_path, capsys):
    write_shop(tmp_path)
    assert serve(tmp_path) == 2
    assert "recsys-spark publish" in words_of(capsys)


@pytest.mark.parametrize("run_id", ["night-9", "../night-1"])
def test_runs_that_do_not_exist_end_with_code_2(tmp_path, capsys, run_id):
    publish(write_shop(tmp_path))
    assert serve(tmp_path, "--run-id", run_id) == 2
    assert run_id in words_of(capsys)


def test_a_root_of_another_machine_is_to_be_copied_first(capsys):
    assert serve("s3a://bucket/shop") == 2
    assert "copy its folder" in words_of(capsys)


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_serving_the_network_warns_that_anyone_can_read(
    tmp_path, capsys, monkeypatch, host, warned
):
    publish(write_shop(tmp_path))
    monkeypatch.setattr(Server, "serve_forever", lambda _: None)
    assert serve(tmp_path, "--host", host, "--port", "0") == 0
    assert ("Anyone on the network can read" in words_of(capsys)) == warned


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_schedulers_end_it_cleanly(tmp_path, process_environment, ending):
    write_shop(tmp_path)
    command = [sys.executable, "-m", "recsys_spark", "serve", "--port", "0", "--run-id", "night-1"]
    with subprocess.Popen(
        [*command, "--set", f"paths.root={tmp_path}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=process_environment,
        # What shells start in the background ignores Ctrl-C, and so would what the tests start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        said = process.stdout.readline()
        address = next(word for word in said.split() if word.startswith("http"))
        with urlopen(address, timeout=20) as response:
            assert response.status == 200
        with socket.create_connection(urlsplit(address).netloc.split(":"), timeout=20):
            process.send_signal(ending)  # which waits for no client that is silent
            rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest, errors) == (0, "Ended.\n", "")
