"""Failures that nobody foresaw: one sentence for people, the trace for the log."""

import traceback
from pathlib import Path

from recsys_spark.config import mask
from recsys_spark.errors import ExitCode
from recsys_spark.runtime.store import is_local

_TRANSIENT = (
    "ExecutorLostFailure",
    "Connection refused",
    "Connection reset",
    "UnknownHostException",
    "SocketTimeoutException",
    "NoRouteToHost",
    "SparkContext was shut down",
    "All masters are unresponsive",
)


def describe(error: Exception) -> tuple[str, ExitCode]:
    """What happened, in a sentence, and whether trying again may help."""
    text = str(error)
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    message = f"{type(error).__name__}: {first[:400]}".rstrip(".") + "."
    if isinstance(error, ConnectionError) or any(sign in text for sign in _TRANSIENT):
        return f"The cluster or a service was away; try again. {message}", ExitCode.TRANSIENT
    return message, ExitCode.FAILED


def keep_trace(root: str) -> Path | None:
    """Append the current stack trace to the log under a local root; where it is."""
    if not root or not is_local(root):
        return None
    log = Path(root.removeprefix("file://")) / "logs" / "errors.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(mask(traceback.format_exc()))
    return log
