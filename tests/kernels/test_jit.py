import importlib.util
import os
import stat
import subprocess
import sys
import tempfile
import zipfile
import zipimport
from pathlib import Path

import pytest
from numba.core import caching

from recsys_spark.kernels import jit


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "one_kernel.py"
    path.write_text(
        "from recsys_spark.kernels.jit import kernel\n"
        "@kernel\ndef doubled(value):\n    return 2 * value\n"
    )
    return path


@pytest.fixture
def load(source, monkeypatch):
    """A kernel in a file of its own, loaded as a new process would that found these sources."""
    monkeypatch.setitem(sys.modules, "one_kernel", None)

    def load(digest="as it is"):
        monkeypatch.setattr(jit, "kernels_digest", lambda: digest)
        jit._digest_at_import.cache_clear()
        found = importlib.util.spec_from_file_location("one_kernel", source)
        module = sys.modules["one_kernel"] = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        return module.doubled

    yield load
    jit._digest_at_import.cache_clear()


@pytest.fixture
def hits(load):
    """How much of the machine code for one call was found on disk: 0 or 1."""

    def hits(digest="as it is"):
        doubled = load(digest)
        assert doubled(3) == 6
        return sum(doubled.stats.cache_hits.values())

    return hits


@pytest.fixture
def kept(source):
    """Name and content of every file of machine code."""
    folder = source.parent / "__pycache__"
    return lambda: {path.name: path.read_bytes() for path in folder.glob("one_kernel*.nb*")}


def test_machine_code_is_kept_until_a_file_of_the_kernels_changes(hits):
    assert [hits(), hits()] == [0, 1]
    assert [hits("of changed files"), hits("of changed files")] == [0, 1]


def test_a_process_of_the_sources_before_leaves_newer_machine_code_alone(hits, load, kept):
    old = load("before")
    assert hits("after") == 0
    newer = kept()
    assert old(3) == 6
    assert newer.items() <= kept().items()
    assert hits("after") == 1


def test_a_process_that_may_have_read_both_sources_keeps_nothing(load, kept, monkeypatch):
    mixed = load("before")
    monkeypatch.setattr(jit, "kernels_digest", lambda: "after")
    assert mixed(3) == 6
    assert not kept()


def test_a_further_signature_changes_no_file_that_is_there(load, kept):
    load()(3)
    first = kept()
    assert load()(1.5) == 3.0
    assert len(kept()) == len(first) + 1
    assert first.items() <= kept().items()


def test_a_kernel_is_compiled_once_it_was_called_and_until_its_sources_change(load):
    doubled = load()
    assert not jit.is_compiled(doubled)
    doubled(3)
    assert jit.is_compiled(doubled)
    assert jit.is_compiled(load())
    assert not jit.is_compiled(load("edited"))


def test_machine_code_that_was_cut_short_is_compiled_anew(hits, source):
    hits()
    (file,) = (source.parent / "__pycache__").glob("one_kernel*.nbc")
    for cut in (0, 100):
        file.write_bytes(file.read_bytes()[:cut])
        assert [hits(), hits()] == [0, 1]


@pytest.fixture
def nowhere_to_write(monkeypatch, tmp_path):
    """As in a container: neither the package's folder nor a home can be written to."""

    def refuse(_):
        raise PermissionError

    monkeypatch.setattr(caching.InTreeCacheLocator, "ensure_cache_path", refuse)
    monkeypatch.setenv("HOME", "/dev/null/nobody")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    jit._own_temporary_folder.cache_clear()
    yield tmp_path / "temporary" / f"recsys_spark-{os.getuid()}"
    jit._own_temporary_folder.cache_clear()


def test_without_a_place_of_its_own_machine_code_is_kept_in_a_temporary_folder(
    nowhere_to_write, hits
):
    assert [hits(), hits()] == [0, 1]
    assert stat.S_IMODE(nowhere_to_write.stat().st_mode) == 0o700
    assert len(list(nowhere_to_write.glob("**/one_kernel*.nbc"))) == 1
    assert "XDG_CACHE_HOME" not in os.environ


def test_an_archive_of_the_package_needs_no_home_either(nowhere_to_write, tmp_path, source):
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        archive.write(source, source.name)
    loader = zipimport.zipimporter(str(tmp_path / "package.zip"))
    module = importlib.util.module_from_spec(loader.find_spec("one_kernel"))
    loader.exec_module(module)
    assert module.doubled(3) == 6
    assert len(list(nowhere_to_write.glob("**/one_kernel*.nbc"))) == 1


@pytest.mark.parametrize(
    "others", ["may write", "own it", "chose where it leads", "let it lead nowhere", "put a file"]
)
def test_a_temporary_folder_that_others_can_fill_is_not_used(
    nowhere_to_write, hits, tmp_path, monkeypatch, others
):
    if others == "chose where it leads":
        (tmp_path / "theirs").mkdir(mode=0o700)
        nowhere_to_write.symlink_to(tmp_path / "theirs")
    elif others == "let it lead nowhere":
        nowhere_to_write.symlink_to(tmp_path / "nothing")
    elif others == "put a file":
        nowhere_to_write.touch(mode=0o600)
    else:
        nowhere_to_write.mkdir(mode=0o700)
    if others == "may write":
        nowhere_to_write.chmod(0o777)
    if others == "own it":
        other = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: other)
        nowhere_to_write.rename(nowhere_to_write.with_name(f"recsys_spark-{other}"))
    assert [hits(), hits()] == [0, 1], "both in one folder"
    (kept,) = (tmp_path / "temporary").glob("**/one_kernel*.nbc")
    own = kept.relative_to(tmp_path / "temporary").parts[0]
    assert own != f"recsys_spark-{os.getuid()}"
    assert stat.S_IMODE((tmp_path / "temporary" / own).stat().st_mode) == 0o700


# Whose inner functions have the same names and arguments, and do other things.
ORDERS = {"sorted": "values.sort()\n    return values", "order": "return np.argsort(values)"}


@pytest.fixture
def in_process(process_environment, tmp_path):
    """What a process prints that orders numbers by these kernels, one after the other."""
    for name, body in ORDERS.items():
        (tmp_path / f"{name}.py").write_text(
            "import numpy as np\n"
            "from recsys_spark.kernels.jit import kernel\n"
            f"@kernel\ndef kernel(values):\n    {body}\n"
        )

    def run(*names):
        code = "import numpy as np; values = 7 * np.arange(100)[::-1]; "
        for name in names:
            code += f"from {name} import kernel; found = kernel(values.copy()); "
        code += "print(*found); print(*kernel.stats.cache_hits.values())"
        path = os.pathsep.join([str(tmp_path), str(Path(jit.__file__).parents[2])])
        words = [sys.executable, "-c", code]
        ended = subprocess.run(
            words,
            env={**process_environment, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        return ended.stdout.splitlines()

    return run


def test_machine_code_of_several_processes_does_not_mix(in_process):
    expected = {"sorted": range(0, 700, 7), "order": range(99, -1, -1)}
    for name in ORDERS:
        in_process(name)
    for one, other in (("sorted", "order"), ("order", "sorted")):
        assert in_process(one, other) == [" ".join(map(str, expected[other])), "1"]


FORK = """
import os
import recsys_spark.kernels.topn.inner_product
from numba.core.bytecode import FunctionIdentity
if os.fork():
    os.wait()
print(next(FunctionIdentity._unique_ids), flush=True)
"""


def test_a_fork_numbers_its_functions_from_elsewhere(process_environment):
    words = [sys.executable, "-c", FORK]
    done = subprocess.run(
        words, env=process_environment, capture_output=True, text=True, check=True
    )
    one, other = map(int, done.stdout.split())
    assert abs(one - other) > 1000


def test_the_digest_takes_in_every_kernel(tmp_path, monkeypatch):
    nested = tmp_path / "solve"
    nested.mkdir()
    monkeypatch.setattr(jit, "files", lambda _: tmp_path)
    digests = []
    for path in (tmp_path / "topn.py", nested / "exact.py", nested / "note.txt"):
        path.write_text("1")
        digests.append(jit.kernels_digest())
    assert len(set(digests)) == 2
    assert digests[1] == digests[2]
