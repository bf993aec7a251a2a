"""What is said of failures that nobody foresaw."""

import pytest

from recsys_spark.errors import ExitCode
from recsys_spark.runtime.failures import describe

JAVA = "An error occurred while calling o83.text.\n: java.io.IOException: disk {}\n\tat a.b.c(D:1)"
UNREAD = "[FAILED_READ_FILE.{}] Encountered error while reading file file:/a%20b.gz.  SQLSTATE: KD"


@pytest.mark.parametrize(
    ("text", "told", "code"),
    [
        ("", "RuntimeError: .", ExitCode.FAILED),
        ("\n  what happened.\nwhere", "RuntimeError: what happened.", ExitCode.FAILED),
        (JAVA.format("full"), "java.io.IOException: disk full.", ExitCode.FAILED),
        (JAVA.format("away: Connection refused"), "try again", ExitCode.TRANSIENT),
        (UNREAD.format("NO_HINT"), "file:/a b.gz cannot be read to its end", ExitCode.CONTRACT),
        (UNREAD.format("FILE_NOT_EXIST"), "removed while it was read", ExitCode.TRANSIENT),
        ("x recsys_spark cannot read on in /a/b.zip: bad CRC", "/a/b.zip", ExitCode.CONTRACT),
        (JAVA.format('No FileSystem for scheme "x"'), "--packages", ExitCode.CONFIGURATION),
    ],
)
def test_the_first_line_that_says_something_is_told(text, told, code):
    message, found = describe(RuntimeError(text))
    assert told in message
    assert found == code
