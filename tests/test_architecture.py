"""Architecture rules: which package may import which, and that imports do no work."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import recsys_spark

PACKAGE = Path(recsys_spark.__file__).parent
NAME = "recsys_spark"


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str) -> set[str]:
    """Every imported name in full, also from inside functions: `from a import b` gives a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
IMPORTS = {name: imports(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def is_in(name: str, *places: str) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def packages(*names: str) -> list[str]:
    return [f"{NAME}.{name}" for name in names]


def offenders(inside: list[str], forbidden: list[str]) -> dict[str, set[str]]:
    """Modules of some packages that import something forbidden there."""
    found = {
        module: {name for name in names if is_in(name, *forbidden)}
        for module, names in IMPORTS.items()
        if is_in(module, *inside)
    }
    assert found, f"no module in {inside}"
    return {module: names for module, names in found.items() if names}


def test_imports_are_found_wherever_they_stand() -> None:
    source = "import a.b as c\nfrom d import e\ndef f():\n    from g.h import i, j\n"
    assert imports(source) == {"a.b", "d.e", "g.h.i", "g.h.j"}


@pytest.mark.parametrize(
    ("inside", "forbidden"),
    [
        (packages("kernels"), ["pyspark", "pandas", "pyarrow", "mlflow"]),
        (
            packages("config", "errors"),
            ["pyspark", "pandas", "pyarrow", "numba", "mlflow", *packages("spark_internals")],
        ),
        (
            packages("ingest", "splitting", "baselines", "als", "topn", "ml"),
            packages("runtime", "storage", "export", "io", "pipeline", "cli", "report", "web"),
        ),
        (
            packages("als"),
            packages("topn", "ml", "ingest", "splitting", "baselines", "config", "evaluation"),
        ),
        (
            packages("topn"),
            packages("ml", "ingest", "splitting", "baselines", "config", "evaluation"),
        ),
        (
            packages("neighbours"),
            packages(
                "config",
                "pipeline",
                "runtime",
                "storage",
                "export",
                "io",
                "ingest",
                "splitting",
                "baselines",
                "evaluation",
                "topn",
                "ml",
            )
            + packages("cli", "report", "web"),
        ),
        (packages("als"), packages("neighbours")),
        (packages("ml"), packages("ingest", "splitting", "baselines", "config")),
        (packages("ingest", "splitting", "baselines"), packages("evaluation")),
        (
            packages("evaluation"),
            packages(
                "runtime",
                "storage",
                "export",
                "io",
                "pipeline",
                "cli",
                "report",
                "ingest",
                "splitting",
                "baselines",
            ),
        ),
        (packages("evaluation"), packages("config", "ml")),
        (
            packages("runtime", "storage", "export"),
            packages(
                "io", "ingest", "splitting", "baselines", "als", "pipeline", "cli", "report", "web"
            ),
        ),
        (
            packages("io"),
            packages(
                "runtime",
                "storage",
                "export",
                "ingest",
                "splitting",
                "baselines",
                "als",
                "pipeline",
                "cli",
                "report",
                "web",
            ),
        ),
        (packages("pipeline"), packages("cli", "web")),
        (
            packages("web"),
            packages(
                "ingest",
                "splitting",
                "baselines",
                "als",
                "kernels",
                "evaluation",
                "pipeline",
                "cli",
            ),
        ),
        ([NAME], ["jobs", "tests", "benchmarks"]),
    ],
    ids=lambda names: "+".join(names).replace(f"{NAME}.", ""),
)
def test_a_package_never_imports(inside: list[str], forbidden: list[str]) -> None:
    assert offenders(inside, forbidden) == {}


def test_kernels_import_only_errors_and_one_another() -> None:
    elsewhere = {
        module: {
            n for n in names if is_in(n, NAME) and not is_in(n, *packages("kernels", "errors"))
        }
        for module, names in IMPORTS.items()
        if is_in(module, *packages("kernels"))
    }
    assert {module: names for module, names in elsewhere.items() if names} == {}


def test_kernels_take_at_most_six_arguments() -> None:
    """What belongs together is a NamedTuple."""
    longer = {
        f"{module}.{node.name}": len(node.args.args)
        for module, path in MODULES.items()
        if is_in(module, *packages("kernels"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and len(node.args.args) > 6
    }
    assert longer == {}


def test_tasks_of_python_go_through_one_module() -> None:
    """Where it is seen to that Spark's workers can run them."""
    methods = ("mapInArrow", "applyInArrow", "mapInPandas", "applyInPandas", "mapPartitions", "udf")
    users = {
        name
        for name, path in MODULES.items()
        if any(f".{method}(" in path.read_text(encoding="utf-8") for method in methods)
    }
    assert users == set(packages("workers", "runtime.doctor"))  # doctor looks at any Python


# The two modules that may use what their libraries do not document, and what that is.
INTERNALS = packages("spark_internals", "kernels.numba_internals")
UNDOCUMENTED = (
    "llvmlite",
    "numba.config",
    "numba.core",
    "py4j",
    "pyspark.core",
    "pyspark.daemon",
    "pyspark.java_gateway",
    "pyspark.serializers",
    "pyspark.sql.classic",
    "pyspark.sql.pandas",
    "pyspark.worker",
)
OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_attributes(source: str) -> dict[str, set[str]]:
    """Names with one underscore, and what they are read of in the source: but `self` and `cls`.

    What an object uses of itself may be inherited: Spark ML documents such methods for subclasses.
    """
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = ast.unparse(node.value)
            if owner not in ("self", "cls"):
                found.setdefault(node.attr, set()).add(owner)
    return found


def private_methods(source: str) -> set[str]:
    """Those that the source defines."""
    nodes = ast.walk(ast.parse(source))
    return {n.name for n in nodes if isinstance(n, ast.FunctionDef) and is_private(n.name)}


def undocumented_imports(source: str) -> set[str]:
    return {
        name
        for name in imports(source)
        if is_in(name, *UNDOCUMENTED)
        or (is_in(name, "numba", "pyspark") and any(map(is_private, name.split("."))))
    }


def uses_of_internals(source: str, own: set[str]) -> set[str]:
    """Undocumented modules and private attributes; own: methods of the package, which are none."""
    attributes = set(private_attributes(source)) - own - OF_NAMED_TUPLES
    return undocumented_imports(source) | attributes


def test_private_parts_of_libraries_are_used_in_two_modules_alone() -> None:
    sources = {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}
    foreign = {name for module in INTERNALS for name in private_attributes(sources[module])}
    assert {"_jvm", "_jsc", "_cache"} <= foreign
    own = set[str]().union(*map(private_methods, sources.values())) - foreign
    users = {
        module: uses_of_internals(source, own)
        for module, source in sources.items()
        if module not in INTERNALS
    }
    assert {module: names for module, names in users.items() if names} == {}


def test_private_parts_of_libraries_are_recognised() -> None:
    source = """
import llvmlite.binding
from numba.core import cgutils
from numba.extending import intrinsic
from pyspark.daemon import manager
from pyspark.sql import DataFrame
from pyspark.sql._typing import ColumnOrName
from recsys_spark.runtime.log import _text

class Own:
    def _method(self) -> None:
        self._kept = self.__class__

def use(spark, own, rows):
    own._method()
    rows._replace(a=1)
    own._kept.context._jvm.java
    return spark.sparkContext._jsc.sc()
"""
    assert uses_of_internals(source, private_methods(source)) == {
        "llvmlite.binding",
        "numba.core.cgutils",
        "pyspark.daemon.manager",
        "pyspark.sql._typing.ColumnOrName",
        "_jvm",
        "_jsc",
        "_kept",
    }


@pytest.mark.parametrize("module", INTERNALS)
def test_every_function_of_the_internals_has_a_test(module: str) -> None:
    path = MODULES[module].relative_to(PACKAGE)
    tests = Path(__file__).parent / path.with_name(f"test_{path.name}")
    defined = ast.parse(MODULES[module].read_text(encoding="utf-8")).body
    names = {n.name for n in defined if isinstance(n, ast.FunctionDef) and not is_private(n.name)}
    tree = ast.parse(tests.read_text(encoding="utf-8"))
    assert names
    assert names - {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} == set()


def test_stages_never_import_one_another() -> None:
    assert (
        offenders(
            packages("ingest", "splitting", "baselines"),
            packages("ingest", "splitting", "baselines"),
        )
        == {}
    )


COMMANDS = ("ingest", "split", "train", "evaluate", "refit", "fold_in", "recommend", "tune")


def takes_run(source: str) -> int:
    """How many functions and classes have a parameter or a field of type Run."""
    nodes = ast.walk(ast.parse(source))
    typed = (node.annotation for node in nodes if isinstance(node, ast.arg | ast.AnnAssign))
    return sum(isinstance(kind, ast.Name) and kind.id == "Run" for kind in typed)


def test_tables_are_read_by_commands_alone() -> None:
    """Other parts of the pipeline take frames, settings and a workspace."""
    files = {path.stem: path.read_text() for path in (PACKAGE / "pipeline").glob("*.py")}
    assert {name for name, text in files.items() if "run.read(" in text} <= {*COMMANDS}
    found = {name: takes_run(text) for name, text in files.items() if takes_run(text)}
    shared = {"context", "runner", "fitted_tables", "checkpoints", "publish"}
    assert found.keys() <= {*COMMANDS, *shared}
    assert sum(found.values()) <= 20


def test_parameters_of_type_run_are_counted() -> None:
    assert takes_run("def f(run: Run, x: Runs) -> Run: ...\nclass A:\n    made: Run") == 2


@pytest.mark.parametrize("package", ["mlflow", "psycopg", "redis", "sqlite3"])
def test_services_are_reached_from_runtime_alone(package: str) -> None:
    importers = {
        module for module, names in IMPORTS.items() if any(is_in(n, package) for n in names)
    }
    assert importers
    assert all(is_in(module, *packages("runtime", "storage", "export")) for module in importers)


def test_the_web_server_is_imported_by_its_package_alone() -> None:
    importers = {
        module
        for module, names in IMPORTS.items()
        if any(is_in(name, "starlette", "uvicorn") for name in names)
    }
    assert importers == set(packages("web.server", "web.site"))


def run_fresh(code: str, folder: Path) -> str:
    """What a new process prints that starts in the folder."""
    command = [sys.executable, "-W", "error::ImportWarning", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", [NAME, f"{NAME}.config"])
def test_light_modules_stay_light(tmp_path: Path, module: str) -> None:
    heavy = ("pyspark", "numba", "mlflow", "pandas", "pyarrow", "scipy", "matplotlib")
    code = f"import sys, {module}\nprint(*(n for n in {heavy!r} if n in sys.modules))"
    assert run_fresh(code, tmp_path).split() == []


def test_commands_start_without_the_web_server(tmp_path: Path) -> None:
    code = f"""
import contextlib, io, sys
from {NAME}.cli import main

with contextlib.redirect_stdout(io.StringIO()):
    assert main(["--help"]) == 0
print(*{{"starlette", "uvicorn"}}.intersection(sys.modules))
"""
    assert run_fresh(code, tmp_path).split() == []


def test_importing_everything_does_no_work(tmp_path: Path) -> None:
    """No JVM, no process, no thread, no file, no output."""
    code = f"""
import importlib, subprocess, sys, threading

def refuse(*args, **kwargs):
    raise AssertionError(f"a process was started: {{args}}")

subprocess.Popen.__init__ = refuse
for name in {[name for name in MODULES if not name.endswith("__main__")]!r}:
    importlib.import_module(name)
from pyspark import SparkContext
assert SparkContext._gateway is None and SparkContext._active_spark_context is None
assert threading.active_count() == 1, threading.enumerate()
assert not {{"mlflow", "psycopg", "redis"}}.intersection(sys.modules)
"""
    assert run_fresh(code, tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
