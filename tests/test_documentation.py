"""What descriptions and documents name: settings, examples, reasons, codes, modules exist."""

import re
import tomllib
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import get_args

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from pydantic import TypeAdapter

import recsys_spark
from recsys_spark import yaml12
from recsys_spark.config import Config, Objective, Reason, Section, as_wanted
from recsys_spark.errors import ExitCode, RecsysError
from recsys_spark.kernels.als.keys import keys_of
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.als.spec import WalsSpec, resolve_spec
from recsys_spark.settings import known_keys, load_config

CONF = Path(__file__).parents[1] / "conf"
DOCS = CONF.parent / "docs"


def described(section=Config, prefix=""):
    """Every field with its dotted key."""
    for name, field in section.model_fields.items():
        key = f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from described(field.annotation, f"{key}.")
        else:
            yield pytest.param(field, id=key)


@pytest.mark.parametrize("field", list(described()))
def test_examples_and_reasons_of_descriptions_exist(field):
    for example in re.findall(r"such as ([\[{].*[\]}])", field.description):
        content = as_wanted(yaml12.load(example), field.annotation)
        TypeAdapter(field.annotation).validate_python(content)
    named = re.findall(r"\(((?:[a-z]+_[a-z]+(?:, )?)+)\)", field.description)
    reasons = {name for text in named for name in text.split(", ")}
    rejected = "rejected" in field.description
    assert not rejected or reasons <= set(get_args(Reason))


def codes_of(error):
    """The exit codes of an error and of those that are made from it."""
    inner = (code for one in error.__subclasses__() for code in codes_of(one))
    return {int(error.exit_code), *inner}


def test_documented_exit_codes_and_reasons_are_those_that_occur():
    tables = re.findall(r"((?:^\|.*\n)+)", (DOCS / "pipeline.md").read_text(), re.M)
    first = [re.findall(r"^\| ([^|]*) \|", table, re.M) for table in tables]
    codes = next(column for column in first if column[0] == "code")
    assert {int(code) for code in codes[1:]} == {*codes_of(RecsysError), 0, 130}
    assert set(ExitCode) <= {*codes_of(RecsysError), 0}
    reasons = next(column for column in first if column[0] == "reason")
    assert sorted(", ".join(reasons[1:]).split(", ")) == sorted(get_args(Reason))


TEXTS = [DOCS.parent / "README.md", *DOCS.glob("*.md"), *CONF.glob("*.yaml")]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_settings_named_in_the_documentation_exist(path, tmp_path):
    text = path.read_text(encoding="utf-8")
    sections = {key.rpartition(".")[0] for key in known_keys()}
    known = {*known_keys(), *sections, *(f"objective.{name}" for name in Objective.model_fields)}
    for key in re.findall(r"--set '?([\w.]+)=", text):
        assert key in known or key.startswith("spark.conf."), key
    for block in re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S):
        file = tmp_path / "block.yaml"
        file.write_text(block, encoding="utf-8")
        load_config([file])


def values_of(own):
    """What a key may be, in words."""
    if own.choices:
        return ", ".join(own.choices)
    words = {bool: "true, false", str: "time", int: "whole number", float: "number"}
    named = words.get(own.kind, "[low, high]")
    if own.kind in (int, float) and own.lower_limit != "finite":
        named += f", {own.lower_limit.replace('0.0', '0')}"
    return named if own.most == inf else f"{named}, {own.most} or less"


def table_of_keys(spec, section, defaults):
    """The table of docs/objectives.md for the keys of a spec."""
    keys = keys_of(spec)
    lines = ["| key | parameter | values | default | meaning |", "|---|---|---|---|---|"]
    for name, own in keys.items():
        default = yaml12.dump_inline(defaults[name]).removesuffix(".0")
        meaning = own.described({other: other for other in keys}, "null")
        named = f"`{section}.{name}` | `{own.parameter}` | {values_of(own)} | {default}"
        lines.append(f"| {named} | {meaning.replace(f' ({default})', '')} |")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("spec", "section", "defaults"),
    [
        (WalsSpec, "objective", asdict(resolve_spec("ials"))),
        (Solver, "solver", {"method": "auto", "cg_steps": 3, "subspace_block": 64}),
    ],
    ids=["objective", "solver"],
)
def test_keys_are_documented(spec, section, defaults):
    table = table_of_keys(spec, section, defaults)
    assert table in (DOCS / "objectives.md").read_text(encoding="utf-8"), f"write:\n{table}"


def test_modules_named_in_contributing_exist():
    text = (CONF.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+/[\w]+\.py)(?:: (\w+))?`", text)
    assert len(named) > 20
    for path, name in named:
        file = next(
            f for f in (CONF.parent / "recsys_spark" / path, CONF.parent / path) if f.exists()
        )
        assert name in file.read_text(encoding="utf-8"), (path, name)


def anchors(text):
    """Headings as links name them: lower case, without punctuation, dashes for spaces."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


PAGES = [*CONF.parent.glob("*.md"), *DOCS.glob("*.md"), CONF.parent / "benchmarks" / "README.md"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings_that_exist(path):
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_the_index_has_every_page():
    linked = set(re.findall(r"\]\(([^)#]+)\)", (DOCS / "index.md").read_text(encoding="utf-8")))
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= linked


def test_oldest_versions_are_the_lower_bounds():
    project = tomllib.loads((CONF.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = {
        needed.name: Version(part.version)
        for needed in map(Requirement, project["dependencies"])
        for part in needed.specifier
        if part.operator == ">="
    }
    lines = (Path(__file__).parent / "oldest.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    assert {name: Version(version) for name, version in pins} == bounds


def test_version_of_the_package_is_that_of_the_project_and_of_the_newest_release():
    project = tomllib.loads((CONF.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (CONF.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## ([\d.]+) \(\d{4}-\d{2}-\d{2}\)$", changelog, re.M)
    assert project["version"] == recsys_spark.__version__ == newest.group(1)
