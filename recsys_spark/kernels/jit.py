"""The two decorators for compiled code, and where its machine code is kept."""

import hashlib
import os
import pickle
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba

from recsys_spark.kernels.numba_internals import (
    cache_files,
    cache_folder,
    cache_name,
    load_data,
    make_cache_folder,
    number_functions_from,
    save_data,
    set_cache_files,
)

# Sums may be vectorised; NaN and infinity keep their meaning, so bad input still shows.
_FASTMATH = {"reassoc", "contract", "arcp", "nsz"}

P = ParamSpec("P")
R = TypeVar("R")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile as a part of the kernels that call it."""
    return cast(Callable[P, R], _compiled(function))


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile at the first call, and keep the machine code on disk for later processes.

    It is kept beside the package, else in the user's cache, else in a temporary folder: executors
    in containers often run as a user without a home, from an installation that is not theirs.
    """
    try:
        compiled = _compiled(function, cache=True)
        # Numba has tried this already, but for the place of an archive.
        make_cache_folder(compiled)
    except (RuntimeError, OSError):
        with _cache_home(_own_temporary_folder()):
            compiled = _compiled(function, cache=True)
    code = MachineCode(cache_files(compiled), cache_name(compiled), _digest_at_import())
    set_cache_files(compiled, code)
    return cast(Callable[P, R], compiled)


@dataclass(frozen=True)
class MachineCode:
    """A file for each signature of a kernel and each state of the sources, in numba's folder.

    Numba itself numbers the files and names them in an index by signature. Two processes that
    compile at once may leave an index of the one beside machine code of the other: code of
    other signatures, or of sources before an edit. Here no file is ever written with anything
    else than what its name says. Sources of all kernels count, because a kernel calls functions
    of other files.
    """

    files: Any
    kernel: str
    digest: str

    def load(self, key: object) -> Any:
        """What was compiled for this key, if any; a file that was cut short counts as none."""
        try:
            return load_data(self.files, self._name(key))
        except (OSError, EOFError, pickle.UnpicklingError):
            return None

    def save(self, key: object, data: object) -> None:
        """Keep it, unless sources have changed since this process read the first of them."""
        if kernels_digest() == self.digest:
            save_data(self.files, self._name(key), data)

    def is_there(self) -> bool:
        """Whether anything is kept of these sources."""
        folder = Path(cache_folder(self.files))
        return any(file.name.startswith(self._begin()) for file in folder.glob("*.nbc"))

    def _name(self, key: object) -> str:
        return f"{self._begin()}{_hexadecimal(key)[:16]}.nbc"

    def _begin(self) -> str:
        return f"{self.kernel}.{_hexadecimal((numba.__version__, self.digest))[:16]}."


def _hexadecimal(content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()


def is_compiled(function: Any) -> bool:
    """Whether a kernel was compiled on this machine, for any types, since its sources changed."""
    code = cache_files(function)
    return isinstance(code, MachineCode) and code.is_there()


def _compiled(function: Callable[P, R], **options: bool) -> Any:
    _digest_at_import()
    _number_apart()
    return numba.njit(nogil=True, error_model="numpy", fastmath=_FASTMATH, **options)(function)


@contextmanager
def _cache_home(folder: str) -> Iterator[None]:
    """Where numba looks for the user's cache, of files as of archives."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = folder
    try:
        yield
    finally:
        del os.environ["XDG_CACHE_HOME"]
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before


@cache
def _own_temporary_folder() -> str:
    """Of this user alone, because what lies there is run; a new one if something else has its name.

    A new one is the process's own: later ones do not find it.
    """
    folder = Path(tempfile.gettempdir()) / f"recsys_spark-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
    if private and found.st_uid == os.getuid():
        return str(folder)
    return tempfile.mkdtemp(prefix="recsys_spark-")


@cache
def _number_apart() -> None:
    """Let functions that this process compiles have other numbers than those of any other process.

    Numba distinguishes compiled functions of one name and signature by a number in their symbols,
    which every process counts from 1. Machine code of two processes, loaded from disk into a
    third, then has one symbol for two functions, such as the partition of a sort and that of an
    argsort, and the linker binds both to the one that came first (numba's issue 10486).
    """
    _count_from_anywhere()
    os.register_at_fork(after_in_child=_count_from_anywhere)


def _count_from_anywhere() -> None:
    number_functions_from(secrets.randbits(60))


@cache
def _digest_at_import() -> str:
    return kernels_digest()


def kernels_digest() -> str:
    """Digest of the sources of all kernels, wherever they are installed, also in an archive."""
    digest = hashlib.sha256()
    for source in _sources(files("recsys_spark.kernels")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _sources(folder: Traversable) -> list[Traversable]:
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    nested = [_sources(entry) if entry.is_dir() else [entry] for entry in entries]
    return [entry for part in nested for entry in part if entry.name.endswith(".py")]
