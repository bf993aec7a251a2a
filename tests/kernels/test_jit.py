import importlib.util
import sys

import pytest

from recsys_spark.kernels import jit


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """A kernel in a file of its own, imported anew at every call."""
    source = tmp_path / "one_kernel.py"
    source.write_text(
        "from recsys_spark.kernels.jit import kernel\n"
        "@kernel\ndef doubled(value):\n    return 2 * value\n"
    )
    monkeypatch.setitem(sys.modules, "one_kernel", None)

    def load():
        found = importlib.util.spec_from_file_location("one_kernel", source)
        module = sys.modules["one_kernel"] = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        assert module.doubled(3) == 6
        return sum(module.doubled.stats.cache_hits.values())

    return load


def test_machine_code_is_kept_until_a_file_of_the_kernels_changes(loaded, monkeypatch):
    assert [loaded(), loaded()] == [0, 1]
    monkeypatch.setattr(jit, "kernels_digest", lambda: "of changed files")
    assert [loaded(), loaded()] == [0, 1]


def test_the_digest_takes_in_every_kernel(tmp_path, monkeypatch):
    nested = tmp_path / "solve"
    nested.mkdir()
    digests = []
    for path in (tmp_path / "topn.py", nested / "exact.py", nested / "note.txt"):
        path.write_text("1")
        monkeypatch.setattr(jit, "files", lambda _: tmp_path)
        jit.kernels_digest.cache_clear()
        digests.append(jit.kernels_digest())
    jit.kernels_digest.cache_clear()
    assert len(set(digests)) == 2
    assert digests[1] == digests[2]
