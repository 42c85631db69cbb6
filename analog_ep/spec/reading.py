"""Reading a spec, and saying in one line what is wrong with it."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from analog_ep.errors import SpecError
from analog_ep.spec.earlier import without_idle_defaults
from analog_ep.spec.keys import Location, Place, known_keys, nearest, owners, place_of
from analog_ep.spec.merging import merged
from analog_ep.spec.table import quoted
from analog_ep.spec.tables import Spec
from analog_ep.spec.toml_files import read_tables, require_bounds
from analog_ep.support.resources import specs_folder


def load_spec(path: Path) -> Spec:
    """Read a spec.

    Raises
    ------
    SpecError
        If the file is missing, is not TOML, has an unknown key, lacks one, or holds a value that is not allowed.
    """
    return _placed(parse_spec(read_tables(path), str(path)), path)


def load_stored_spec(path: Path) -> Spec:
    """Read a spec as a run folder holds it, this version's or an earlier one's.

    Raises
    ------
    SpecError
        As `load_spec`.
    """
    return _placed(parse_spec(without_idle_defaults(read_tables(path)), str(path)), path)


def _placed(spec: Spec, path: Path) -> Spec:
    """With the files that it names where they are, from the spec's own folder."""
    return spec.with_files(lambda name: str(path.parent.absolute() / name))


def default_spec(name: str) -> Spec:
    """The spec shipped for a data set: "digits", "iris", "xor" or "mnist"."""
    return load_spec(specs_folder() / f"{name}.toml")


def with_values(spec: Spec, **tables: dict[str, Any]) -> Spec:
    """The spec with other values, such as ``training={"epochs": 3}``, checked anew.

    Raises
    ------
    SpecError
        If a key is unknown or a value is not allowed.
    """
    return parse_spec(merged(spec.to_dict(), tables), "the command")


def parse_spec(tables: dict[str, Any], origin: str) -> Spec:
    """Check the tables of a spec; `origin` begins the message of an error.

    Raises
    ------
    SpecError
        Naming the first key at fault, what it must be and what was found.
    """
    require_bounds(tables, origin)
    try:
        return Spec.model_validate(copy.deepcopy(tables))
    except ValidationError as error:
        raise SpecError(f"{origin}: {_sentence(error.errors()[0], tables)}") from None


_QUOTE = "'"

_EXPECTED = {
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "list_type": "must be a list",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
}
"""What pydantic says less plainly."""


def _sentence(error: Any, tables: dict[str, Any]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    place = place_of(Spec, error["loc"])
    key = _key(error["loc"], place, tables, drop_last=kind == "value_error")
    match kind:
        case "extra_forbidden":
            name = str(error["loc"][-1])
            if others := owners(place, name):
                return f"{key} has a meaning only with {_beside(place, others, error['input'])}; leave it out"
            return f"{key} is not a known key; known are {', '.join(known_keys(place))}{nearest(Spec, place, name)}"
        case "missing":
            return f"{key} is required, found nothing"
        case "union_tag_not_found":
            return f"{key}.{context['discriminator'].strip(_QUOTE)} is required, found nothing"
        case "union_tag_invalid":
            name, tags = context["discriminator"].strip(_QUOTE), context["expected_tags"]
            near = difflib.get_close_matches(context["tag"], tags.replace(_QUOTE, "").split(", "), 1)
            return f"{key}.{name} must be one of {tags}, found {context['tag']!r}{_try(near)}"
        case "value_error":
            return f"{key}.{context['error']}" if key else str(context["error"])
        case "too_short" | "too_long":
            bound = context.get("min_length", context.get("max_length"))
            side = "at least" if kind == "too_short" else "at most"
            return f"{key} must have {side} {bound} entries, found {_short(error['input'])}"
    expected = _EXPECTED.get(kind, error["msg"].replace("Input should", "must"))
    return f"{key} {expected}, found {_short(error['input'])}"


def _try(near: list[str]) -> str:
    return f"; try {near[0]!r}" if near else ""


def _short(value: Any, write: Callable[[Any], str] = repr) -> str:
    text = write(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _beside(place: Place, others: list[str], value: Any) -> str:
    """Which forms of a table have a key, and what was found beside which form."""
    name = "" if place.forms is None else place.forms.key
    found = f"{_short(value, quoted)} beside {name} = {quoted(place.tag)}"
    return f"{name} = {' or '.join(map(quoted, others))}, found {found}"


def _key(location: Location, place: Place, tables: dict[str, Any], drop_last: bool) -> str:
    """The key as the user wrote it: without pydantic's tags, and without the index of a list of one."""
    key = ""
    at: Any = tables
    for depth, part in enumerate(location):
        if depth in place.tags:
            continue
        last = depth == len(location) - 1
        if isinstance(part, int):
            if isinstance(at, list):
                key, at = f"{key}[{part}]", at[part]
        elif isinstance(at, dict) and (part in at or (last and not drop_last)):
            key, at = f"{key}.{part}" if key else part, at.get(part)
    return key
