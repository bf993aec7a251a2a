"""Failures, foreseen or not: a sentence for people, a code for schedulers, a trace for the log."""

import re
import traceback
from pathlib import Path
from urllib.parse import unquote

from recsys_spark.config import mask
from recsys_spark.errors import ExitCode, RecsysError
from recsys_spark.storage.store import local_folder
from recsys_spark.workers import raised_in_task

_TRANSIENT = (
    "ExecutorLostFailure",
    "Connection refused",
    "Connection reset",
    "UnknownHostException",
    "SocketTimeoutException",
    "NoRouteToHost",
    "SparkContext was shut down",
    "on a stopped SparkContext",
    "All masters are unresponsive",
)
_NO_FILE_SYSTEM = re.compile(r'No FileSystem for scheme "\w+"|Class \S*FileSystem\S* not found')
_BAD_MASTER = re.compile(r"Could not parse Master URL: '[^']*'")
_NOT_WRITABLE = (PermissionError, NotADirectoryError, FileExistsError)
_OF_PY4J = "An error occurred while calling"
# What Spark says of a file that it cannot read, and what `io.lines` does.
_UNREAD = re.compile(
    r"\[FAILED_READ_FILE[.\w]*\] Encountered error while reading file (.+?)\.\s+SQLSTATE"
    r"|recsys_spark cannot read on in (.+?): "
)


def describe(error: Exception) -> tuple[str, ExitCode]:
    """What happened, in a sentence, and the code to end with, which says whether to try again."""
    text = str(error)
    if isinstance(error, RecsysError):
        return text, error.exit_code
    raised = raised_in_task(text)
    lines = (line.strip(": ") for line in text.splitlines() if not line.startswith(_OF_PY4J))
    first = next((line for line in lines if line), "")
    kind, reason = raised or (type(error).__name__, first)
    message = f"{kind}: {reason[:400]}".rstrip(".") + "."
    if isinstance(error, ConnectionError) or any(sign in text for sign in _TRANSIENT):
        return f"The cluster or a service was away; try again. {message}", ExitCode.TRANSIENT
    if isinstance(error, _NOT_WRITABLE) and error.filename:
        return (
            f"{error.filename} cannot be used ({(error.strerror or '').lower()}): give this user "
            "the rights, or name another folder with --root.",
            ExitCode.CONFIGURATION,
        )
    if unread := _UNREAD.search(text):
        return _unread(unquote(unread[1] or unread[2]), text)
    if missing := _NO_FILE_SYSTEM.search(text):
        return (
            f"Spark cannot reach this file system ({missing[0]}): give it the classes, with "
            "spark-submit's --packages or with spark.conf (spark.jars.packages), or correct the "
            "address.",
            ExitCode.CONFIGURATION,
        )
    if bad_master := _BAD_MASTER.search(text):
        return f"{bad_master[0]}: correct spark.master.", ExitCode.CONFIGURATION
    return message, ExitCode.FAILED


def _unread(file: str, text: str) -> tuple[str, ExitCode]:
    if "FILE_NOT_EXIST" in text:
        return f"{file} was removed while it was read; try again.", ExitCode.TRANSIENT
    if "COLUMN_DATA_TYPE_MISMATCH" in text:
        return f"{file} has a column of another type than the other files.", ExitCode.CONTRACT
    return (
        f"{file} cannot be read to its end: it is cut off or damaged. Copy it again, or remove it.",
        ExitCode.CONTRACT,
    )


def keep_trace(root: str) -> Path | None:
    """Append the current stack trace to the log under a local root; where it is, if it is."""
    folder = local_folder(root) if root else None
    if folder is None:
        return None
    log = folder / "logs" / "errors.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(mask(traceback.format_exc()))
    except OSError:  # of a root that cannot be written, which the message is about
        return None
    return log
