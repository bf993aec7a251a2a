"""Pages as HTML: what is looked up, laid out by Jinja2."""

from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(page: str, **content: Any) -> str:
    """A page by the name of its template; all content is escaped."""
    return _environment().get_template(f"{page}.html.j2").render(content)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("recsys_spark.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "day": day, "moment": moment}
    return environment


@cache
def asset(name: str) -> str:
    """A file that pages refer to; the style is the report's and what is added to it."""
    packages = ("report", "web") if name == "style.css" else ("web",)
    parts = (files(f"recsys_spark.{package}").joinpath(name) for package in packages)
    return "".join(part.read_text(encoding="utf-8") for part in parts)


def number(value: float) -> str:
    """As short as it can be: 4, 4.5, 12,000, 0.0025."""
    if 0 < abs(value) < 1:
        return f"{value:.2g}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def day(when: datetime) -> str:
    """Such as 2026-01-31."""
    return f"{when:%Y-%m-%d}"


def moment(iso: str) -> str:
    """A time of the tables' records, for people."""
    return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M} UTC"
