"""Children that are measured from outside, the machine's description, and tables of results."""

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

HERE = Path(__file__).parent
_PACKAGES = ("recsys-spark", "pyspark", "implicit", "numpy", "scipy", "numba", "pyarrow")
_DISK_EVERY = 5  # seconds


def say(*words: object) -> None:
    """A line of progress."""
    print(time.strftime("%H:%M:%S"), *words, file=sys.stderr, flush=True)


def run_child(
    script: Path, arguments: Sequence[object], environment: dict[str, str], limit_minutes: float
) -> dict[str, Any]:
    """What `script` prints as its last line, a JSON object, and the peaks of its process tree.

    The child has a temporary folder of its own for everything that Spark spills, which is
    deleted afterwards. A child that fails or exceeds its time gives {"error": ...}.
    """
    command = [sys.executable, str(script), *map(str, arguments)]
    cache = HERE / ".cache"
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as scratch:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
            "SPARK_LOCAL_DIRS": scratch,
            **environment,
        }
        with (Path(scratch) / "stdout").open("w+") as output:
            child = subprocess.Popen(
                command, stdout=output, env=environment, start_new_session=True
            )
            peaks = _watch(child, Path(scratch), limit_minutes * 60)
            output.seek(0)
            lines = output.read().splitlines()
    if child.returncode or not lines:
        return {"error": f"ended with status {child.returncode}", **peaks}
    return {**json.loads(lines[-1]), **peaks}


def answer(work: Callable[[], dict[str, Any]]) -> None:
    """The child's side of `run_child`: print what `work` returns, or why it failed."""
    try:
        answered = work()
    except Exception as error:
        traceback.print_exc()
        first = next(iter(str(error).splitlines()), "")
        answered = {"error": f"{type(error).__name__}: {first}"}
    if spark := SparkSession.getActiveSession():
        spark.stop()  # so that its files are gone before the parent deletes their folder
    print(json.dumps(answered))


def warm_kernels() -> None:
    """Compile what the package compiles at installation, so that no child pays for that."""
    say("compiling the kernels, unless they are")
    subprocess.run([sys.executable, "-m", "recsys_spark.kernels.precompile"], check=True)


def _watch(child: "subprocess.Popen[bytes]", scratch: Path, limit: float) -> dict[str, Any]:
    """Wait, and take samples once a second; peaks in MiB."""
    peaks: dict[str, float] = {}
    started = time.monotonic()
    try:
        for turn in range(10**9):
            if child.poll() is not None:
                break
            if time.monotonic() - started > limit:
                os.killpg(child.pid, signal.SIGKILL)
            sample = resident(child.pid)
            if turn % _DISK_EVERY == 0:
                sample["scratch_disk"] = folder_bytes(scratch) / 2**20
            for name, size in sample.items():
                peaks[name] = max(size, peaks.get(name, 0.0))
            time.sleep(1)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    return {"peak_mib": {name: round(size) for name, size in sorted(peaks.items())}}


def resident(root: int) -> dict[str, float]:
    """Resident MiB of a process (driver), of its JVM, and of all others below (workers).

    Summed over processes, so that a page shared by two workers counts twice. Empty without /proc.
    """
    parents, sizes, names = _processes()
    sums: dict[str, float] = {}
    for pid in sizes:
        if _descends(pid, root, parents):
            kind = "jvm" if names[pid] == "java" else "driver" if pid == root else "workers"
            sums[kind] = sums.get(kind, 0.0) + sizes[pid] / 1024
    return sums


def _processes() -> tuple[dict[int, int], dict[int, int], dict[int, str]]:
    parents, sizes, names = {}, {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            lines = (folder / "status").read_text().splitlines()
        except OSError:  # it has ended meanwhile
            continue
        fields = dict(line.split(":", 1) for line in lines)
        pid = int(folder.name)
        parents[pid] = int(fields["PPid"])
        sizes[pid] = int(fields.get("VmRSS", "0 kB").split()[0])
        names[pid] = fields["Name"].strip()
    return parents, sizes, names


def cpu_seconds(root: int) -> float:
    """Processor seconds that a process and all below it have had, those that ended included.

    Time that the host of a virtual machine gave to others is not in it. 0 without /proc.
    """
    parents, _, _ = _processes()
    ticks = sum(_ticks(pid) for pid in parents if _descends(pid, root, parents))
    return ticks / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    """Of a process, and of its children that have ended; in user and in kernel mode."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))


def stolen_seconds() -> float:
    """Seconds since the start in which a core would have run, but the host ran others."""
    line = _first(Path("/proc/stat"), "cpu ", " ")
    return int(line.split()[7]) / os.sysconf("SC_CLK_TCK") if line else 0.0


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid != root and pid in parents:
        pid = parents[pid]
    return pid == root


def folder_bytes(folder: Path) -> int:
    """Bytes of the files below a folder, which may change meanwhile."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return total


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code; the load shows whether others were at work."""
    return {
        "cpu": _first(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory": _first(Path("/proc/meminfo"), "MemTotal"),
        "load_at_start": os.getloadavg(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _first(path: Path, field: str, separator: str = ":") -> str:
    if not path.exists():
        return ""
    found = (line for line in path.read_text().splitlines() if line.startswith(field))
    return next(found, separator).split(separator, 1)[1].strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    """The commit that is measured, marked if files differ from it; empty outside git."""
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def save(path: Path, content: dict[str, Any]) -> None:
    """Write the results so far; called after every child, so that a break loses one only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, default=str) + "\n")


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
