"""Which table of a spec a key stands in, as the spec's own models say it, and what it could have been."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Location = Sequence[str | int]
"""Where pydantic found an error: keys, indices of lists, and tags of tables that have several forms."""

Table = type[BaseModel]


@dataclass(frozen=True)
class Forms:
    """A table of several forms.

    Attributes
    ----------
    key : str
        The key that tells them apart, such as "model".
    tables : dict of str to type
        Each one's model by the value of that key.
    """

    key: str
    tables: dict[str, Table]


@dataclass(frozen=True)
class Place:
    """Where a location leads to.

    Attributes
    ----------
    table : type or None
        Model of the table that the last part stands in; None where that is no table with known keys.
    forms, tag
        The table's other forms, and which one it is; None where it has one form.
    tags : set of int
        Indices of the parts that are tags, which no user wrote.
    """

    table: Table | None
    forms: Forms | None
    tag: str | None
    tags: frozenset[int]


def place_of(spec: Table, location: Location) -> Place:
    """Follow a location through the models of a spec."""
    at: Any = spec
    forms, tag, tags = None, None, set()
    place = Place(None, None, None, frozenset())
    for depth, part in enumerate(location):
        if isinstance(at, Forms):
            if part in at.tables:
                forms, tag, at = at, str(part), at.tables[str(part)]
                tags.add(depth)
            continue
        place = Place(at, forms, tag, frozenset(tags)) if _is_table(at) else Place(None, None, None, frozenset(tags))
        at, forms, tag = _inside(at, part), None, None
    return replace(place, tags=frozenset(tags))


def known_keys(place: Place) -> list[str]:
    """Keys that a table may have."""
    return [] if place.table is None else list(place.table.model_fields)


def nearest(spec: Table, place: Place, key: str) -> str:
    """What a key that is not known is likely to stand for, as the end of a sentence; "" where nothing is near.

    A key of the same table that is spelt alike, or else the same key in other tables of the spec.
    """
    if near := difflib.get_close_matches(key, known_keys(place), 1):
        return f"; try {near[0]!r}"
    elsewhere = sorted(
        {name for name, table in _tables(spec) if table is not place.table and key in table.model_fields}
    )
    return f"; try {' or '.join(f'{name}.{key}' for name in elsewhere)}" if elsewhere else ""


def owners(place: Place, key: str) -> list[str]:
    """Forms of a table, by their tags, that have a key which the form in hand has not."""
    forms = {} if place.forms is None else place.forms.tables
    return [tag for tag, table in forms.items() if key in table.model_fields]


def forms_in(spec: Table, name: str) -> Table | Forms | None:
    """The model of a table at the top of a spec, or of a list of them, or its `Forms`; None of a key that is none."""
    at = _inside(spec, name)
    at = _inside(at, 0) if get_origin(at) is list else at
    return at if isinstance(at, Forms) or _is_table(at) else None


def _tables(spec: Table) -> Iterator[tuple[str, Table]]:
    """Every table at the top of a spec, and each of its forms."""
    for name in spec.model_fields:
        at = forms_in(spec, name)
        if at is not None:
            yield from ((name, table) for table in (at.tables.values() if isinstance(at, Forms) else [at]))


def _is_table(at: Any) -> bool:
    return isinstance(at, type) and issubclass(at, BaseModel)


def _inside(at: Any, part: str | int) -> Any:
    """What a key or an index leads to: a model, `Forms`, a list; None where that has no keys that are known."""
    if _is_table(at):
        field = at.model_fields.get(part)
        return None if field is None else _plain(field.annotation, field.discriminator)
    inner = get_args(at)
    if get_origin(at) is list and inner:
        return _plain(inner[0])
    return None


def _plain(annotation: Any, discriminator: Any = None) -> Any:
    """An annotation without validators, and without the None that stands for a table that is left out."""
    if get_origin(annotation) is Annotated:
        inner, *others = get_args(annotation)
        named = [each.discriminator for each in others if isinstance(each, FieldInfo) and each.discriminator]
        return _plain(inner, named[0] if named else discriminator)
    if get_origin(annotation) in (Union, types.UnionType):
        members = [each for each in get_args(annotation) if each is not type(None)]
        if len(members) == 1:
            return _plain(members[0], discriminator)
        return _forms(members, discriminator) if isinstance(discriminator, str) else None
    return annotation


def _forms(members: Sequence[Table], key: str) -> Forms:
    return Forms(key, {tag: table for table in members for tag in _tags(table.model_fields[key].annotation)})


def _tags(annotation: Any) -> tuple[str, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()
