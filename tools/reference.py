"""Reference pages from the code itself: the keys of specs, the commands, the public names.

python tools/reference.py DIR writes them as Markdown.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

import typer
from pydantic import BaseModel, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import analog_ep
from analog_ep.cli import app
from analog_ep.cli.functions import FUNCTIONS
from analog_ep.spec.keys import Forms, forms_in
from analog_ep.spec.study import StudySpec
from analog_ep.spec.tables import Spec
from analog_ep.spec.technology import Technology

ROOT = Path(__file__).resolve().parent.parent

ROOMS = (
    "networks",
    "learning",
    "equilibrium",
    "dynamics",
    "checking",
    "circuit",
    "devices",
    "stimulus",
    "designs",
    "export",
    "calibration",
    "reporting",
    "spec",
    "errors",
)
"""Rooms whose public names have a page each."""

MODULES = {
    "analyses": (
        "analyse",
        "writing",
        "voltage_map",
        "waveforms",
        "characteristics",
        "class_scores",
        "conditions",
        "operating_point",
        "power",
        "noise",
        "settling",
        "corners",
        "monte_carlo",
        "wires",
        "nudging",
        "response",
    ),
    "runs": ("folder", "choosing", "trained", "step_pulses", "building", "tensorboard"),
    "studies": ("grid", "results", "summary"),
    "datasets": ("dataset", "table", "idx"),
}
"""Modules of rooms that export nothing, whose functions and classes have a page together."""


@dataclass(frozen=True)
class Key:
    """One key of a spec.

    Attributes
    ----------
    name, meaning, unit, default, allowed, example : str
        As the page has them; no unit is "".
    """

    name: str
    meaning: str
    unit: str
    default: str
    allowed: str
    example: str


@dataclass(frozen=True)
class Form:
    """A table of a spec, or one of its forms.

    Attributes
    ----------
    name, tag : str
        Of the table; of the form, such as `model = "ideal"`, or "".
    about : str
        First paragraph of its docstring.
    keys : tuple of Key
        In its order.
    """

    name: str
    tag: str
    about: str
    keys: tuple[Key, ...]


def section(doc: str | None, *titles: str) -> dict[str, str]:
    """Entries of numpydoc sections by name, each in a line."""
    found: dict[str, str] = {}
    for title in titles:
        match = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", inspect.cleandoc(doc or ""), re.S | re.M)
        if match is None:
            continue
        entries = re.findall(r"^(\w[\w, ]*?) : [^\n]*\n((?:[ ]+[^\n]*\n?|\n)+)", match.group(1) + "\n", re.M)
        for names, body in entries:
            found.update(dict.fromkeys(names.split(", "), " ".join(body.split())))
    return found


def meanings(table: type) -> dict[str, str]:
    """What each key means: by the table's own docstring, or by that of the class that it says to see."""
    own: dict[str, str] = {}
    for each in reversed(table.__mro__):
        if not each.__module__.startswith("analog_ep"):
            continue
        doc = inspect.cleandoc(each.__doc__ or "")
        for path in re.findall(r"`(analog_ep(?:\.\w+)+)`", doc):
            seen = pkgutil.resolve_name(path)
            if inspect.isclass(seen):
                own.update(section(seen.__doc__, "Attributes", "Parameters"))
        own.update(section(doc, "Attributes"))
    return own


def forms(spec: type[BaseModel]) -> Iterator[Form]:
    """Every table of a spec, and each of its forms; keys of the spec that are no tables come first."""
    plain = {name for name in spec.model_fields if not isinstance(forms_in(spec, name), Forms | type)}
    if plain:
        yield _form("", "", spec, plain)
    for name in spec.model_fields:
        at = forms_in(spec, name)
        if isinstance(at, Forms):
            for tag, table in at.tables.items():
                yield _form(name, f'{at.key} = "{tag}"', table)
        elif isinstance(at, type):
            yield _form(name, "", at)


def _form(name: str, tag: str, table: type[BaseModel], only: set[str] | None = None) -> Form:
    about = inspect.cleandoc(table.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    known = meanings(table)
    keys = [
        _key(key, field, known.get(key, "")) for key, field in table.model_fields.items() if only is None or key in only
    ]
    return Form(name, tag, about, tuple(keys))


def _key(name: str, field: FieldInfo, meaning: str) -> Key:
    unit = re.findall(r"\[([^\[\],\\]{1,12})\]", meaning)
    default = "required" if field.is_required() else _written(field.get_default(call_default_factory=True))
    allowed = _allowed(field)
    shown = example(name, allowed, default, field)
    return Key(name, meaning, unit[-1] if unit else "", default, allowed, shown)


def _written(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return "left out"
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, list) and value and isinstance(value[0], BaseModel):
        return "its defaults"
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, float) else f"{value:g}"


def _allowed(field: FieldInfo) -> str:
    """Type and bounds as a reader of TOML sees them."""
    bounds = list(_bounds(field.metadata))
    return ", ".join([_type(field.annotation), *dict.fromkeys(bounds)])


def _bounds(metadata: Any) -> Iterator[str]:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    for each in metadata:
        yield from _bounds(getattr(each, "metadata", ()))
        for name, sign in signs.items():
            if (bound := getattr(each, name, None)) is not None:
                yield f"{sign} {bound:g}"
        low, high = getattr(each, "min_length", None), getattr(each, "max_length", None)
        if low and low == high:
            yield f"{low} of them"
        elif low:
            yield f"at least {low}"


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return ", ".join([_type(inner[0]), *_bounds(inner[1:])])
    if str(origin) == "typing.Literal":
        return " or ".join(json.dumps(value) for value in inner)
    if origin is list:
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return "table"
    if inner:
        return " or ".join(_type(each) for each in inner if each is not type(None))
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}
    return names.get(getattr(annotation, "__name__", ""), "table")


@cache
def _examples() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "specs").rglob("*.toml")))


def example(key: str, allowed: str, default: str, field: FieldInfo) -> str:
    """How a key is written: as a shipped spec has it, with its default, or with a value that it may have."""
    return next((text for text in _tries(key, allowed, default) if _taken(key, text, field)), f"{key} = …")


_OWN = {
    "bounds": "[1e-6, 1e-3]",
    "stage": '[{ kind = "convolution", channels = 16, kernel = 5 }, { kind = "dense", units = 10 }]',
    "device": '{ model = "ekv", width = 2e-6 }',
    "axes": '{ write = { ideal = {}, pulsed = { update = { device = "SoftBounds" } } } }',
}
"""Examples of keys that have a form of their own."""


def _tries(key: str, allowed: str, default: str) -> Iterator[str]:
    if key in _OWN:
        yield f"{key} = {_OWN[key]}"
    for match in re.finditer(rf"(?m)^{re.escape(key)}\s*=\s*(\[[^\]\n]*\]|\"[^\"\n]*\"|[^\s,}}#]+)", _examples()):
        yield f"{key} = {match.group(1)}"
    if default not in ("required", "left out", "its defaults"):
        yield f"{key} = {default}"
    for literal in re.findall(r'"[^"]+"|^\d+(?= or )', allowed):
        yield f"{key} = {literal}"
    yield f"{key} = {_sample(allowed)}"


def _taken(key: str, text: str, field: FieldInfo) -> bool:
    """Whether it is TOML with a value that the model takes."""
    try:
        value = tomllib.loads(text)[key]
        # A model that needs this key alone: bounds are checked as in the table.
        create_model("Alone", **{key: (field.annotation, field)}).model_validate({key: value})  # pyright: ignore
    except (tomllib.TOMLDecodeError, ValidationError):
        return False
    return True


def _sample(allowed: str) -> str:
    """A value of a type, within its bounds."""
    if allowed.startswith("list of "):
        count = re.search(r"(\d+) of them", allowed)
        return f"[{', '.join([_sample(allowed.removeprefix('list of '))] * int(count.group(1) if count else 1))}]"
    if allowed.startswith("table"):
        return "{}"
    if allowed.startswith("text"):
        return '"…"'
    if allowed.startswith("true"):
        return "true"
    low = max((float(x) for x in re.findall(r"[>≥] (\S+?)(?:,|$)", allowed)), default=0.0)
    high = min((float(x) for x in re.findall(r"[<≤] (\S+?)(?:,|$)", allowed)), default=2 * low + 2.0)
    middle = (low + high) / 2
    return (
        str(int(middle)) if allowed.startswith("whole number") else f"{middle:.3g}" if middle % 1 else f"{middle:.1f}"
    )


def spec_page() -> str:
    """The reference of all keys."""
    lines = ["# Spec reference", "", "Generated from the models that read the files.", ""]
    for title, spec in (
        ("Training specs", Spec),
        ("Studies", StudySpec),
        ("Technologies, for `analog-ep size`", Technology),
    ):
        lines += [f"## {title}", ""]
        for form in forms(spec):
            head = f"[{form.name}]" if form.name else "at the top"
            lines += [f"### `{head}`" + (f" `{form.tag}`" if form.tag else ""), "", _markdown(form.about), ""]
            lines += ["| key | meaning | unit | default | may be | example |", "|---|---|---|---|---|---|"]
            for key in form.keys:
                cells = [f"`{key.name}`", _markdown(key.meaning), key.unit, f"`{key.default}`", key.allowed]
                cells.append(f"`{key.example}`")
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
            lines.append("")
    return "\n".join(lines)


def _markdown(text: str) -> str:
    """Docstring text as Markdown: roles for mathematics become TeX between dollars."""
    return re.sub(r":math:`([^`]*)`", r"$\1$", text.replace("``", "`"))


def commands() -> Iterator[tuple[str, Any]]:
    """Every command and its object, those of groups by both names."""
    root: Any = typer.main.get_command(app)
    for name, command in sorted(root.commands.items()):
        if hasattr(command, "commands"):
            for inner, each in sorted(command.commands.items()):
                yield f"{name} {inner}", each
        else:
            yield name, command


def command_page() -> str:
    """The reference of all commands."""
    lines = ["# Commands", "", "Generated from the commands themselves; `analog-ep COMMAND --help` says the same.", ""]
    for name, command in commands():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
        usage = " ".join(["analog-ep", name, *((p.metavar or p.name.upper()) for p in arguments), "[OPTIONS]"])
        lines += [f"## {name}", "", f"    {usage}", "", inspect.cleandoc(command.help or ""), ""]
        lines += [f"In Python: `{FUNCTIONS[name]}`.", ""]
        lines += ["| | meaning | default |", "|---|---|---|"]
        for each in [*arguments, *options]:
            words = " ".join(each.opts) if each in options else (each.metavar or each.name.upper())
            if each in options and each.metavar:
                words += f" {each.metavar}"
            default = "" if each.default is None or callable(each.default) else str(each.default)
            help_ = (getattr(each, "help", "") or "").replace("|", "\\|")
            lines.append(f"| `{words}` | {help_} | {default} |")
        lines.append("")
    return "\n".join(lines)


def names() -> dict[str, list[str]]:
    """Public names by page: what the package and its rooms export, and what some modules define."""
    pages: dict[str, list[str]] = {}
    for room in ROOMS:
        module = importlib.import_module(f"analog_ep.{room}")
        others = [name for name in analog_ep.__all__ if hasattr(module, name)]
        exported = getattr(module, "__all__", None) or list(dict.fromkeys([*_defined(module), *others]))
        pages[room] = [f"analog_ep.{room}.{name}" for name in exported if _is_object(getattr(module, name))]
    for room, modules in MODULES.items():
        pages[room] = [
            f"{module.__name__}.{name}"
            for module in (importlib.import_module(f"analog_ep.{room}.{each}") for each in modules)
            for name in _defined(module)
        ]
    return pages


def _is_object(value: object) -> bool:
    return inspect.isclass(value) or inspect.isfunction(value)


def _defined(module: Any) -> Iterator[str]:
    for name, value in vars(module).items():
        if not name.startswith("_") and _is_object(value) and value.__module__ == module.__name__:
            yield name


def undocumented() -> list[str]:
    """Public names without a docstring, and names of the package that are on no page."""
    pages = names()
    on_pages = {path.rpartition(".")[2] for paths in pages.values() for path in paths}
    missing = [f"analog_ep.{name}" for name in analog_ep.__all__ if name not in on_pages]
    for paths in pages.values():
        for path in paths:
            module, _, name = path.rpartition(".")
            if not inspect.getdoc(getattr(importlib.import_module(module), name)):
                missing.append(path)
    return missing


def api_pages() -> dict[str, str]:
    """A page for each room, for mkdocstrings to fill."""
    pages = {}
    for room, paths in names().items():
        about = inspect.getdoc(importlib.import_module(f"analog_ep.{room}")) or ""
        lines = [f"# {room}", "", _markdown(about), ""]
        for path in paths:
            lines += [f"::: {path}", ""]
        pages[f"api/{room}.md"] = "\n".join(lines)
    return pages


def pages() -> dict[str, str]:
    """All generated pages by path."""
    return {"reference/spec.md": spec_page(), "reference/commands.md": command_page(), **api_pages()}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("one argument: the folder to write the pages into")
    for path, text in pages().items():
        target = Path(sys.argv[1]) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
