"""How notebooks show results: tables and drawings as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.table import Table

from analog_ep.support.files import write_atomically


def rows_table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table with a heading as HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{named}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def rich_table(table: Table) -> str:
    """A table that a command prints, as HTML."""
    columns = [list(map(str, column.cells)) for column in table.columns]
    return rows_table([str(each.header) for each in table.columns], zip(*columns, strict=True), str(table.title or ""))


class _HasTable(Protocol):
    def table(self) -> Table: ...


def plain_table(table: Table, width: int = 120) -> str:
    """A table that a command prints, as text of at most `width` characters a line."""
    text = StringIO()
    Console(file=text, width=width).print(table)
    return text.getvalue()


class Tabled:
    """A result that `print` and notebooks show as the table that its command prints."""

    def __str__(self: _HasTable) -> str:
        return plain_table(self.table()).rstrip("\n")

    def _repr_html_(self: _HasTable) -> str:
        return rich_table(self.table())


@dataclass(frozen=True, repr=False)
class Drawing:
    """A picture as SVG; notebooks show it.

    Attributes
    ----------
    svg : str
        One whole SVG element.
    """

    svg: str

    def __repr__(self) -> str:
        return f"Drawing of {len(self.svg):,} characters of SVG; save(path) writes it"

    def _repr_html_(self) -> str:
        return self.svg

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: Path | str) -> None:
        """Write the SVG, whole or not at all."""
        write_atomically(Path(path), self.svg + "\n")
