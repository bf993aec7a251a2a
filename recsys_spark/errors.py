"""The errors of the package, each with the exit code that schedulers act on."""

from enum import IntEnum


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
