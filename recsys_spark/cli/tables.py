"""Tables as wide as the terminal: what a line has no room for goes below, under the same rows."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

_UNLIMITED = 10_000  # characters


class Column(NamedTuple):
    """head: may have line breaks. cells: of each row."""

    head: str
    cells: Sequence[str]


def fits(console: Console, table: Table) -> bool:
    """Whether a line has room for the table with nothing wrapped or cut off."""
    unlimited = console.options.update_width(_UNLIMITED)
    return console.measure(table, options=unlimited).maximum <= console.width


def print_columns(
    console: Console, first: Column, others: Sequence[Column], title: str = "", further: str = ""
) -> None:
    """Print columns, as many side by side as fit, below each other the rest.

    first: begins every table. further: what the title of those below says more.
    """
    while others:
        sizes = range(len(others), 0, -1)
        tables = {size: _table(first, others[:size]) for size in sizes}
        size = next((size for size in sizes if fits(console, tables[size])), 1)
        if title:
            console.print(title, style="bold", soft_wrap=True)
        console.print(tables[size])
        title, others = f"{title}{further}", others[size:]
        further = ""


def _table(first: Column, others: Sequence[Column]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(first.head)
    for column in others:
        table.add_column(column.head, justify="right")
    for cells in zip(first.cells, *(column.cells for column in others), strict=True):
        table.add_row(*cells)
    return table
