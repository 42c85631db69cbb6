"""What the site adds to its pages: generated references, mathematics as MathML, no link out of the folder."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# Here and not where they are used: the path above holds only while this file is loaded.
from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.utils import get_relative_url

from tools.pulse_reference import pulse_page
from tools.reference import pages
from tools.tutorial_pages import pages as tutorial_pages

_INLINE = re.compile(r'<(span|div) class="arithmatex">(?:\\\((.*?)\\\)|\\\[(.*?)\\\])</\1>', re.DOTALL)
_ROLE = re.compile(r":math:<code>(.*?)</code>", re.DOTALL)
_BLOCK = re.compile(r"<p>\.\. math::\s*(.*?)</p>", re.DOTALL)
_ELSEWHERE = re.compile(r'<(?:script|link rel="stylesheet"|img)[^>]* (?:src|href)="(?:https?:)?//[^"]*"')
_THEMES_WORKER = "https://unpkg.com/iframe-worker/shim"
_LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#\s]*)(?:#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """Pages that the navigation does not name stand at its end."""
    named = str(config["nav"])
    docs = Path(config["docs_dir"])
    others = [page.relative_to(docs).as_posix() for page in sorted(docs.rglob("*.md"))]
    others = [page for page in others if repr(page) not in named]
    if others:
        config["nav"].append({"More": others})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    for path, text in {**pages(), "reference/pulses.md": pulse_page(), **tutorial_pages()}.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links to files of the repository that are no pages are its paths; roles of docstrings are TeX."""
    folder = Path(config["docs_dir"], page.file.src_uri).parent

    def shown(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(folder / match.group(2)))
        if target.is_relative_to(config["docs_dir"]):
            return match.group(0)
        return f"{match.group(1)} (`{target.relative_to(Path(config['docs_dir']).parent)}`)"

    return _LINK.sub(shown, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Mathematics as MathML, which browsers draw without a script."""
    html = _INLINE.sub(lambda m: _mathml(m.group(2) or m.group(3), m.group(3) is not None), html)
    html = _BLOCK.sub(lambda m: f"<p>{_mathml(m.group(1), True)}</p>", html)
    html = re.sub(r"\.\. \[(\d+)\]", r"[\1]", html)
    return _ROLE.sub(lambda m: _mathml(m.group(1), False), html)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """The search needs no network: the theme's script for pages opened as files is one of our own."""
    output = output.replace(_THEMES_WORKER, get_relative_url("search-from-files.js", page.url))
    elsewhere = _ELSEWHERE.search(output)
    if elsewhere:
        raise PluginError(f"{page.file.src_uri}: the site must work without a network, found {elsewhere.group(0)}")
    return output


def _mathml(tex: str, block: bool) -> str:
    plain = tex.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return convert(plain, display="block" if block else "inline")
