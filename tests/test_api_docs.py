"""The page of the API has every public name, and the docstring of each has its sections."""

import ast
import builtins
import doctest
import importlib
import inspect
import re
import textwrap
from dataclasses import is_dataclass
from pathlib import Path

import pytest
import yaml

import recsys_spark
from recsys_spark import errors, evaluation

DOCS = Path(__file__).parents[1] / "docs"
ENTRIES = re.findall(r"^::: ([\w.]+)\n((?:    .*\n)*)", (DOCS / "api.md").read_text(), re.M)


def load(name):
    """The object of a dotted name."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def is_routine(thing):
    return inspect.isfunction(thing) or isinstance(thing, property | classmethod)


def members(cls, options):
    """The methods and properties that the page shows, and their names."""
    chosen = (yaml.safe_load(options) or {}).get("options", {}).get("members", vars(cls))
    return {
        name: getattr(thing, "fget", None) or getattr(cls, name)
        for name, thing in vars(cls).items()
        if name in chosen and not name.startswith("_") and is_routine(thing)
    }


def public():
    """Every function, class and method of the page, by name."""
    for name, options in ENTRIES:
        thing = load(name)
        if not callable(thing):
            continue
        yield pytest.param(thing, id=name)
        if inspect.isclass(thing):
            for method, own in members(thing, options).items():
                yield pytest.param(own, id=f"{name}.{method}")


PUBLIC = list(public())


def sections(thing):
    """The lines of each section of a docstring by its title; the summary has none."""
    found, title = {"": []}, ""
    lines = inspect.cleandoc(thing.__doc__ or "").splitlines()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if re.fullmatch("-{3,}", below):
            title = line
            found[title] = []
        elif not re.fullmatch("-{3,}", line):
            found[title].append(line)
    return found


def entries(lines):
    """Name, or names, of each entry of a section: its type and its description."""
    found, names = {}, []
    for line in lines:
        if line and not line.startswith(" "):
            heads, _, kind = line.partition(" : ")
            names = heads.split(", ")
            found |= {name: [kind, ""] for name in names}
        for name in names if line.startswith(" ") else ():
            found[name][1] += line.strip()
    return found


def parameters(thing):
    """The names of what a function or constructor takes, as docstrings write them."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    given = inspect.signature(thing).parameters.values()
    return {stars.get(p.kind, "") + p.name for p in given if p.name != "self"}


def test_api_page_has_every_public_name():
    on_page = {name for name, _ in ENTRIES}
    for module in (recsys_spark, evaluation):
        names = {f"{module.__name__}.{name}" for name in module.__all__ if name[0] != "_"}
        assert names <= on_page
    own = [thing for thing in vars(errors).values() if inspect.isclass(thing)]
    own = [thing for thing in own if thing.__module__ == errors.__name__]
    assert {f"{errors.__name__}.{thing.__name__}" for thing in own} <= on_page
    texts = [DOCS.parent / "README.md", *DOCS.glob("*.md")]
    imported = "".join(re.sub("^ +", "", text.read_text(), flags=re.M) for text in texts)
    for module, names in re.findall(r"^from (recsys_spark[\w.]*) import (.+)$", imported, re.M):
        assert {f"{module}.{name}" for name in names.split(", ")} <= on_page


@pytest.mark.parametrize("thing", PUBLIC)
def test_docstring_begins_with_a_summary_line(thing):
    summary, *rest = sections(thing)[""]
    assert summary.endswith(".")
    assert not rest or rest[0] == ""


def plain(thing):
    """An enumeration or an exception: a class that users do not construct."""
    return inspect.isclass(thing) and issubclass(thing, Exception | int | str)


@pytest.mark.parametrize("thing", [p for p in PUBLIC if not plain(p.values[0])])
def test_docstring_describes_every_parameter(thing):
    title = "Attributes" if is_dataclass(thing) else "Parameters"
    described = entries(sections(thing).get(title, []))
    assert described.keys() == parameters(thing)
    for name, (kind, description) in described.items():
        assert kind or name.startswith("*"), name
        assert description.endswith("."), name


@pytest.mark.parametrize("thing", [p for p in PUBLIC if not inspect.isclass(p.values[0])])
def test_docstring_has_results_and_errors(thing):
    found = sections(thing)
    assert inspect.signature(thing).return_annotation in (None, "None") or any(
        description for _, description in entries(found["Returns"]).values()
    )
    source = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    raises = any(isinstance(node, ast.Raise) for node in ast.walk(source))
    named = entries(found.get("Raises", []))
    assert named or not raises
    for name, (_, description) in named.items():
        assert hasattr(errors, name) or hasattr(builtins, name), name
        assert description, name


def test_docstring_sections_and_entries_are_recognised():
    def example(a, b, *, c=1, **others):
        """Summary.

        Parameters
        ----------
        a, b : int
            Two
            numbers.
        **others
            More.

        Returns
        -------
        int
            A number.
        """

    found = sections(example)
    assert list(found) == ["", "Parameters", "Returns"]
    assert entries(found["Parameters"]) == {
        "a": ["int", "Twonumbers."],
        "b": ["int", "Twonumbers."],
        "**others": ["", "More."],
    }
    assert parameters(example) - entries(found["Parameters"]).keys() == {"c"}


@pytest.mark.parametrize("thing", [p for p in PUBLIC if ">>>" in (p.values[0].__doc__ or "")])
def test_docstring_examples_give_the_shown_output(spark, thing):
    finder = doctest.DocTestFinder(recurse=False)
    (found,) = finder.find(thing, "example", globs={"spark": spark})
    assert doctest.DocTestRunner().run(found).failed == 0
