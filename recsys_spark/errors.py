"""The errors of the package, each with the exit code that schedulers act on.

Messages name settings by `setting`: a field of a spec or an argument, unless `settings_named` says
what its reader knows it as, which is a key of the configuration or a parameter of the estimator.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from enum import IntEnum
from types import MappingProxyType

_AS_IN_CODE: Mapping[str, str] = MappingProxyType({})
_NAMES = ContextVar("names of settings in messages", default=_AS_IN_CODE)


def setting(field: str, **of: str) -> str:
    """The name of a setting in a message; empty where the reader cannot set it.

    Parameters
    ----------
    field
        Its name in the code: of a field of a spec, or of an argument.
    of
        What stands for parts of the name in braces, such as a model's own name.
    """
    return _NAMES.get().get(field, field).format(**of)


@contextmanager
def settings_named(names: Mapping[str, str]) -> Iterator[None]:
    """Messages that are made inside name settings so; also a decorator of functions.

    Parameters
    ----------
    names
        What the reader knows a setting as, by its name in the code. One that is not there has its
        name in the code.
    """
    token = _NAMES.set(names)
    try:
        yield
    finally:
        _NAMES.reset(token)


def similar_name(name: str, known: Iterable[str]) -> str:
    """The known name that is probably meant, in brackets; empty where none is similar.

    Parameters
    ----------
    name
        What was given.
    known
        The names that exist.
    """
    near = get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


class ExitCode(IntEnum):
    """Exit codes of the commands; success of a run is a published manifest, not a code alone."""

    DONE = 0
    FAILED = 1
    CONFIGURATION = 2
    CONTRACT = 3
    TRANSIENT = 75


class RecsysError(Exception):
    """Base of all errors of the package; the message names the cause and the cure."""

    exit_code = ExitCode.FAILED


class ConfigError(RecsysError):
    """Usage or configuration: an unknown key, a value out of range, a missing table or path."""

    exit_code = ExitCode.CONFIGURATION


class UnknownParameterError(ConfigError, AttributeError, TypeError):
    """A parameter or attribute that does not exist; the message names the nearest one."""


class ContractError(RecsysError):
    """The input is not what the configuration says it is."""

    exit_code = ExitCode.CONTRACT


class TransientError(RecsysError):
    """The cluster or a service was away; the same command may succeed later."""

    exit_code = ExitCode.TRANSIENT


class AuditError(RecsysError):
    """A table on disk fails its checks. It was not committed: no reader sees it."""


class SolveError(RecsysError):
    """Training cannot go on: a singular row, or a loss that is no longer finite."""


class DivergenceError(SolveError):
    """The factors or the loss overflowed after a sweep in which they were finite."""
