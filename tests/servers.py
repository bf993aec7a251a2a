"""Servers of stores, on a free port of loopback, in a folder of their own."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

PASSWORD = "p/a:s@s w%rd"
QUOTED = "p%2Fa%3As%40s%20w%25rd"
_INITDB = ["-U", "shop", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]


def free_port():
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def program(name, package):
    """The path of a program; skips the test where its package is not installed."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = os.pathsep.join([*map(str, places), os.environ.get("PATH", "")])
    found = shutil.which(name, path=path)
    if not found:
        pytest.skip(f"{name} is not installed: apt-get install {package}")
    return found


@contextmanager
def running(command, answers, **options):
    """A server from when it answers until the end of the block."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    ) as server:
        try:
            for _ in range(600):
                if answers():
                    break
                assert server.poll() is None, f"{command[0]} ended with {server.returncode}"
                time.sleep(0.1)
            else:
                pytest.fail(f"{command[0]} does not answer")
            yield
        finally:
            server.terminate()


def accepts(call, error):
    """Whether the call returns instead of raising the error."""
    try:
        call()
    except error:
        return False
    return True


@contextmanager
def postgres_server():
    """The URL of a PostgreSQL with an empty database; it refuses to run as root."""
    import psycopg

    initdb, server = program("initdb", "postgresql"), program("postgres", "postgresql")
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="recsys-postgres-") as name:
        folder, port = Path(name), free_port()
        (folder / "password").write_text(PASSWORD)
        if user:
            owner = pwd.getpwnam("postgres")
            for path in (folder, folder / "password"):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        data = str(folder / "data")
        subprocess.run(
            [initdb, "-D", data, *_INITDB, f"--pwfile={folder / 'password'}"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **user,
        )
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
        command = [server, "-D", data, "-p", str(port)]
        command += [word for setting in settings for word in ("-c", setting)]
        url = f"postgresql://shop:{QUOTED}@127.0.0.1:{port}/postgres"

        def connect():
            psycopg.connect(url).close()

        def answers():
            return accepts(connect, psycopg.OperationalError)

        with running(command, answers, cwd=folder, **user):
            yield url


@contextmanager
def redis_server():
    """The URL of an empty Redis."""
    import redis

    server, port = program("redis-server", "redis-server"), free_port()
    with tempfile.TemporaryDirectory(prefix="recsys-redis-") as folder:
        command = [server, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        command += ["--save", "", "--requirepass", PASSWORD]
        url = f"redis://:{QUOTED}@127.0.0.1:{port}/0"

        def answers():
            return accepts(redis.Redis.from_url(url).ping, redis.ConnectionError)

        with running(command, answers):
            yield url
