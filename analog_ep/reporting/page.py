"""One self-contained page: sections of tables and pictures, no script, nothing from elsewhere."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from analog_ep.support.files import write_atomically
from analog_ep.support.png import png_of
from analog_ep.support.shown import rich_table, rows_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;margin:0 auto;max-width:1100px;padding:0 16px 48px}
h1{font-size:1.7em;margin:.8em 0 .2em}h2{font-size:1.25em;margin:2em 0 .4em;border-bottom:1px solid #ddd}
nav{font-size:.92em}nav a{display:inline-block;margin-right:1em}a{color:#26538d}
.wide{overflow-x:auto}table{border-collapse:collapse;margin:.6em 0;font-size:.92em}
caption{text-align:left;font-weight:600;padding:.2em 0}
th,td{padding:.22em .8em .22em 0;text-align:left;vertical-align:top;border-bottom:1px solid #eee}
figure{margin:.8em 0}img{max-width:100%;height:auto}figcaption,.note{color:#555;font-size:.92em}
.left-out{color:#7a4a00;background:#fff7e8;border-left:4px solid #e0a030;padding:.4em .8em}
pre{background:#f6f7f9;padding:.8em;overflow-x:auto;font-size:.86em}summary{cursor:pointer}
@media print{nav{display:none}}
"""

_DPI = 90


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes
    ----------
    title : str
        Its heading.
    body : str
        HTML.
    figures : dict
        What it says as JSON holds it.
    left_out : str
        Why there is nothing to show; "" where there is.
    """

    title: str
    body: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    left_out: str = ""

    @property
    def anchor(self) -> str:
        """Its name in links."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    def to_html(self) -> str:
        """The section with its heading."""
        why = f'<p class="left-out">Not shown: {escape(self.left_out)}</p>' if self.left_out else ""
        return f'<section id="{self.anchor}"><h2>{escape(self.title)}</h2>{why}{self.body}</section>'


__all__ = [
    "Report",
    "Section",
    "drawing",
    "facts_table",
    "paragraph",
    "picture",
    "rich_table",
    "rows_table",
    "unfolded",
]


@dataclass(frozen=True)
class Report:
    """A page on a run or a study.

    Attributes
    ----------
    title : str
        Its heading.
    lead : str
        What it is about, in a sentence.
    sections : tuple of Section
        In the order of the page.
    """

    title: str
    lead: str
    sections: tuple[Section, ...]

    @property
    def left_out(self) -> dict[str, str]:
        """Sections with nothing to show, and why."""
        return {each.title: each.left_out for each in self.sections if each.left_out}

    def to_html(self) -> str:
        """The whole page; it asks no other file or server for anything."""
        links = "".join(f'<a href="#{each.anchor}">{escape(each.title)}</a>' for each in self.sections)
        body = "\n".join(each.to_html() for each in self.sections)
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<link rel="icon" href="data:,">'
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style></head>\n"
            f"<body><h1>{escape(self.title)}</h1><p>{escape(self.lead)}</p><nav>{links}</nav>\n{body}\n</body></html>\n"
        )

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_json(self) -> str:
        """The figures of every section as a JSON object; what is left out with the reason."""
        found = {each.title: {"left_out": each.left_out} if each.left_out else each.figures for each in self.sections}
        return json.dumps({"title": self.title, "sections": found})

    def table(self) -> Table:
        """A row a section, and why one is left out."""
        table = Table("section", "left out, and why", title=self.title)
        for each in self.sections:
            table.add_row(each.title, each.left_out)
        return table

    def save(self, path: Path) -> None:
        """Write the page, whole or not at all."""
        write_atomically(path, self.to_html())


def paragraph(text: str) -> str:
    """A note in plain words."""
    return f'<p class="note">{escape(text)}</p>'


def facts_table(rows: Iterable[tuple[str, object]]) -> str:
    """Two columns: what, and its value."""
    lines = "".join(f"<tr><th>{escape(what)}</th><td>{escape(str(value))}</td></tr>" for what, value in rows)
    return f'<div class="wide"><table>{lines}</table></div>'


def picture(drawing: Figure | bytes, alt: str) -> str:
    """A figure, or a PNG, inside the page."""
    content = drawing if isinstance(drawing, bytes) else png_of(drawing, _DPI)
    data = base64.b64encode(content).decode("ascii")
    return f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{data}"></figure>'


def drawing(svg: str) -> str:
    """An SVG inside the page, scrolled where the window is narrow."""
    return f'<figure class="wide">{svg}</figure>'


def unfolded(summary: str, text: str) -> str:
    """Text that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"
