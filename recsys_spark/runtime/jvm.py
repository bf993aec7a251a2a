"""What the JVM of local mode is started with, so that commands begin soon.

Most of a command on small data is Spark's own start: some twenty thousand classes are read from
jars, checked and compiled. An archive of classes (class-data sharing, JEP 350) spares the first
two, a compiler that does less the third.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyspark

from recsys_spark.errors import TransientError

SMALL = 32 * 2**20  # bytes of events up to which compiling costs more than it brings
# The code cache would be 48 MB with the first option, too little for the plans of a whole run.
_LIGHT = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"
# An archive of other jars is refused, which is no concern of the user's.
_SILENT = "-Xlog:cds=off -Xlog:cds+dynamic=off -Xlog:class+path=off"
# A few ratings in the folder where the commands run.
_DEMO = {
    "generate.path": "made",
    "generate.users": 300,
    "generate.items": 200,
    "generate.interactions": 6000,
    "ingest.source.path": "made/ratings",
    "items.path": "made/items",
    "paths.root": "root",
    "tracking.backend": "none",
}


def java_options(java: str, event_bytes: int | None) -> str:
    """For the JVM's command line.

    java: what `java -version` says. event_bytes: size of the files of events; None: not known.
    """
    options = ["-XX:+IgnoreUnrecognizedVMOptions"]
    if event_bytes is not None and event_bytes <= SMALL:
        options.append(_LIGHT)
    archive = class_archive(java)
    if archive is not None and archive.exists():
        options.append(f"-XX:SharedArchiveFile={archive} {_SILENT}")
    return " ".join(options)


def class_archive(java: str) -> Path | None:
    """Where the archive for this Java and this Spark is or will be; None: there is no place."""
    home = os.environ.get("SPARK_HOME") or str(Path(pyspark.__file__).parent)
    key = hashlib.sha256(f"{java}|{home}|{pyspark.__version__}".encode()).hexdigest()[:16]
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = Path(cache) / "recsys_spark" / f"classes-{key}.jsa"
    return path if path.is_absolute() and " " not in str(path) else None


def make_class_archive(java: str) -> Path | None:
    """Run all stages on a few generated ratings, and keep the classes that they needed.

    Returns the archive, of about 200 MB; the one that is there, if there is one; None where there
    is no place for it. Raises TransientError if the run fails.
    """
    archive = class_archive(java)
    if archive is None or archive.exists():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        made = Path(scratch) / archive.name
        conf = f"spark.conf={{spark.driver.extraJavaOptions: '-XX:ArchiveClassesAtExit={made}'}}"
        _run("generate", scratch)
        output = _run("run", scratch, "--set", conf)
        if not made.exists():
            raise TransientError(f"Java left no archive of classes: {output[-500:]}")
        made.replace(archive)
    return archive


def _run(command: str, folder: str, *more: str) -> str:
    """A command in a process of its own; what it and its JVM print, once both have ended."""
    given = [word for key, value in _DEMO.items() for word in ("--set", f"{key}={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "recsys_spark", command, "--config", "demo", *given, *more],
        cwd=folder,
        capture_output=True,  # ends with the JVM, which holds its end of the pipe
        text=True,
        check=False,
    )
    if done.returncode:
        raise TransientError(f"`recsys-spark {command}` failed: {done.stderr[-500:]}")
    return done.stdout + done.stderr
