"""YAML by the core schema of version 1.2: text stays as it is written.

A scalar without quotes comes as `Plain`, which knows both its text and what the schema makes of it,
because only the key that it stands under knows which of the two is meant: `007` is a name or 7.
"""

import re
from typing import Any

import yaml

_STANDARD = "tag:yaml.org,2002:"
_PLAIN = "plain"
_UNQUOTED = {_PLAIN, *(_STANDARD + name for name in ("null", "bool", "int", "float"))}
_NULL = ("", "~", "null", "Null", "NULL")
_BOOL = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class Plain(str):
    """A scalar without quotes, as written."""

    def value(self) -> bool | int | float | str | None:
        """Null, a truth value, a number, or else the text."""
        text = str(self)
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _INT.fullmatch(text) and len(text) < 1000:
            return int(text, 0 if text[:2] in ("0x", "0o") else 10)
        if _FLOAT.fullmatch(text):
            return float(text)
        return float(text.replace(".", "")) if _SPECIAL.fullmatch(text) else text


class _Loader(yaml.SafeLoader):
    """Resolves nothing: every scalar without quotes is plain."""

    yaml_implicit_resolvers = {None: [(_PLAIN, re.compile(""))]}  # noqa: RUF012


class _Dumper(yaml.SafeDumper):
    """Quotes text that either version of YAML would read as something else."""


for _name, _form in (("int", _INT), ("float", _FLOAT)):
    _whole = re.compile(f"(?:{_form.pattern})$")
    _Dumper.add_implicit_resolver(_STANDARD + _name, _whole, list("-+.0123456789"))


def load(text: str) -> Any:
    """Mappings, lists, text, Plain, and None for nothing at all. Raises ValueError, in one line."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        return None if node is None else _content(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"not valid YAML: {error.problem}{where}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise ValueError("not usable YAML: nested too deeply, or within itself") from None


def dump(value: Any) -> str:
    """The value in blocks, keys in their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def dump_inline(value: Any) -> str:
    """The value in one line."""
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=10**6,
        allow_unicode=True,
    )  # fmt: skip
    return text.removesuffix("...\n").strip()


def _content(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode) and node.tag == f"{_STANDARD}map":
        return _mapping(node)
    if isinstance(node, yaml.SequenceNode) and node.tag == f"{_STANDARD}seq":
        return [_content(entry) for entry in node.value]
    if isinstance(node, yaml.ScalarNode) and node.tag in _UNQUOTED:
        return Plain(node.value)
    if isinstance(node, yaml.ScalarNode) and node.tag == f"{_STANDARD}str":
        return str(node.value)
    name = node.tag.replace(_STANDARD, "!!")
    raise yaml.MarkedYAMLError(problem=f"no tag {name} is known", problem_mark=node.start_mark)


def _mapping(node: yaml.MappingNode) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in node.value:
        if not isinstance(name, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(
                problem="a key is text, not a list or mapping", problem_mark=name.start_mark
            )
        if name.value in found:
            raise yaml.MarkedYAMLError(
                problem=f"the key {name.value} is there twice", problem_mark=name.start_mark
            )
        found[name.value] = _content(value)
    return found
