"""Messages of failures that have no error of their own."""

import pytest

from recsys_spark.errors import ExitCode
from recsys_spark.runtime.failures import describe, keep_trace

JAVA = "An error occurred while calling o83.text.\n: java.io.IOException: disk {}\n\tat a.b.c(D:1)"
IN_TASK = (
    "An exception was thrown from the Python worker. Please see the stack trace below.\n"
    'Traceback (most recent call last):\n  File "worker.py", line 5, in main\n    rank(x)\n'
    "ValueError: no such item\n"
)
UNREAD = "[FAILED_READ_FILE.{}] Encountered error while reading file file:/a%20b.gz.  SQLSTATE: KD"


@pytest.mark.parametrize(
    ("text", "shown", "code"),
    [
        ("", "RuntimeError: .", ExitCode.FAILED),
        ("\n  what happened.\nwhere", "RuntimeError: what happened.", ExitCode.FAILED),
        (IN_TASK, "ValueError: no such item.", ExitCode.FAILED),
        (f"Job aborted\n{IN_TASK}\n\tat org.apache.X(Y:1)", "no such item.", ExitCode.FAILED),
        (JAVA.format("full"), "java.io.IOException: disk full.", ExitCode.FAILED),
        (JAVA.format("away: Connection refused"), "try again", ExitCode.TRANSIENT),
        (UNREAD.format("NO_HINT"), "file:/a b.gz cannot be read to its end", ExitCode.CONTRACT),
        (UNREAD.format("FILE_NOT_EXIST"), "removed while it was read", ExitCode.TRANSIENT),
        ("x recsys_spark cannot read on in /a/b.zip: bad CRC", "/a/b.zip", ExitCode.CONTRACT),
        (JAVA.format('No FileSystem for scheme "x"'), "--packages", ExitCode.CONFIGURATION),
    ],
)
def test_failure_shows_the_first_informative_line(text, shown, code):
    message, found = describe(RuntimeError(text))
    assert shown in message
    assert found == code


def test_a_root_that_cannot_be_written_is_named_without_a_trace(tmp_path):
    file = tmp_path / "ratings.csv"
    file.write_text("")
    with pytest.raises(NotADirectoryError) as raised:
        (file / "runs").mkdir(parents=True)
    message, code = describe(raised.value)
    assert str(file) in message
    assert "--root" in message
    assert code == ExitCode.CONFIGURATION
    assert keep_trace(str(file)) is None
