"""The few errors that a user can meet, each with the exit code that schedulers act on."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process answers; success of a night is a published manifest, not a code alone."""

    DONE = 0
    FAILED = 1
    CONFIGURATION = 2
    CONTRACT = 3
    TRANSIENT = 75


class RecsysError(Exception):
    """Anything the project refuses or fails at; the message names the cause and the cure."""

    exit_code = ExitCode.FAILED


class ConfigError(RecsysError):
    """Usage or configuration: an unknown key, a value out of range, a missing table or path."""

    exit_code = ExitCode.CONFIGURATION


class UnknownParameterError(ConfigError, AttributeError, TypeError):
    """A parameter or attribute that there is not: what Python raises for one, with the cure."""


class ContractError(RecsysError):
    """The input is not what the configuration says it is."""

    exit_code = ExitCode.CONTRACT


class TransientError(RecsysError):
    """The cluster or a service was away; the same command may succeed later."""

    exit_code = ExitCode.TRANSIENT


class AuditError(RecsysError):
    """A table on disk is not what it has to be. It was not sealed: no reader sees it."""


class SolveError(RecsysError):
    """Training cannot go on: a singular row, or a loss that is no longer finite."""


class DivergenceError(SolveError):
    """The factors or the loss overflowed; a sweep earlier they had not."""
