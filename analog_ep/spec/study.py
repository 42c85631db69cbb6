"""A study in TOML: a training spec, axes of named variants, seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from analog_ep.errors import SpecError
from analog_ep.spec.keys import known_keys, nearest, place_of
from analog_ep.spec.merging import merged
from analog_ep.spec.reading import default_spec, load_spec, parse_spec
from analog_ep.spec.tables import Spec
from analog_ep.spec.toml_files import read_tables

Variants = Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

SHIPPED = ("digits", "iris", "xor", "mnist")
"""Specs that `base` may call by name."""

_RESERVED = {"seed", "train_accuracy", "test_accuracy", "test_cost", "cost", "pulses", "write_energy", "error"}
_RESERVED |= {"seconds"}
"""Columns of the results, which no axis may be called."""


_MOST_TRAININGS = 10_000


@dataclass(frozen=True)
class Cell:
    """One training of a study.

    Attributes
    ----------
    labels : dict of str to str
        Variant by axis.
    seed : int
        Of the training.
    spec : Spec
        What is trained, seed included.
    """

    labels: dict[str, str]
    seed: int
    spec: Spec


class StudySpec(BaseModel):
    """A grid of trainings that differ in a few keys of one spec.

    Attributes
    ----------
    base : str
        A shipped spec by name, or a file, relative to the study's own.
    epochs : int, optional
        In place of the base's.
    seeds : list of int
        Each variant is trained once with each.
    design : "factorial" or "one_at_a_time"
        Every combination of the axes' variants; or the first variants of all axes together, and each of the others
        with the first ones of the other axes.
    scheduler : str, optional
        Address of a Dask scheduler whose workers train, such as "tcp://10.0.0.1:8786"; else the local cores do.
    axes : dict of str to dict of str to dict
        Variants by axis: what each sets in the base. A later axis has the last word. Tables are merged key by key, a
        list of tables each; one that names another `model` or `function` replaces the base's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    base: str
    epochs: Annotated[int, Field(gt=0)] | None = None
    seeds: Annotated[list[Seed], Field(min_length=1)] = [0]
    design: Literal["factorial", "one_at_a_time"] = "factorial"
    scheduler: str | None = None
    axes: Annotated[dict[str, Variants], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> StudySpec:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must differ, found {self.seeds}")
        for axis in self.axes:
            if axis in _RESERVED:
                raise ValueError(f"axes.{axis} must have another name, that of a column of the results is {axis!r}")
        return self

    @model_validator(mode="after")
    def _countable(self) -> StudySpec:
        if self.n_trainings > _MOST_TRAININGS:
            raise ValueError(
                f"a study must have at most {_MOST_TRAININGS:,} trainings, found {_power(self.n_trainings)}; vary "
                'fewer axes, or one at a time by design = "one_at_a_time"'
            )
        return self

    @property
    def n_trainings(self) -> int:
        """Number of trainings, without forming them."""
        variants = [len(each) for each in self.axes.values()]
        each_seed = math.prod(variants) if self.design == "factorial" else 1 + sum(n - 1 for n in variants)
        return each_seed * len(self.seeds)

    def combinations(self) -> list[dict[str, str]]:
        """Variant by axis of every training, without the seeds, in the order of the file."""
        if self.design == "factorial":
            return [dict(zip(self.axes, names, strict=True)) for names in itertools.product(*self.axes.values())]
        first = {axis: next(iter(variants)) for axis, variants in self.axes.items()}
        others = [first | {axis: name} for axis, variants in self.axes.items() for name in list(variants)[1:]]
        return [first, *others]


@dataclass(frozen=True)
class Study:
    """A study whose every training has been checked.

    Attributes
    ----------
    name : str
        Name of its file.
    spec : StudySpec
        What the file says.
    cells : list of Cell
        Trainings, combinations in the order of the file, seeds within each.
    """

    name: str
    spec: StudySpec
    cells: list[Cell]


def load_study(path: Path) -> Study:
    """Read a study and the spec that it is based on.

    Raises
    ------
    SpecError
        If a file is missing or not TOML, the grid is empty, a key is unknown, or a variant sets what is not allowed.
    """
    tables = read_tables(path)
    try:
        spec = StudySpec.model_validate(tables)
    except ValidationError as error:
        raise SpecError(f"{path}: {_sentence(error.errors()[0])}") from None
    base = _base(spec.base, path)
    return Study(path.stem, spec, list(_cells(spec, base, path)))


def _power(count: int) -> str:
    """A number that may have more digits than anyone reads."""
    return f"{count:,}" if count < 10**12 else f"about 10^{math.log10(count):.0f}"


def _base(name: str, path: Path) -> Spec:
    if name in SHIPPED:
        return default_spec(name)
    return load_spec(path.parent / name)


def _cells(study: StudySpec, base: Spec, path: Path) -> Iterator[Cell]:
    for labels in study.combinations():
        tables = base.to_dict()
        for axis, name in labels.items():
            tables = merged(tables, study.axes[axis][name])
        if study.epochs is not None:
            tables = merged(tables, {"training": {"epochs": study.epochs}})
        origin = f"{path}, {', '.join(f'{axis} = {name}' for axis, name in labels.items())}"
        for seed in study.seeds:
            spec = parse_spec(merged(tables, {"training": {"seed": seed}}), origin)
            # A variant's files begin in the folder of the study, those of the base in its own.
            yield Cell(labels, seed, spec.with_files(lambda name: str(path.parent.absolute() / name)))


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    match error["type"]:
        case "extra_forbidden":
            place = place_of(StudySpec, error["loc"])
            near = nearest(StudySpec, place, str(error["loc"][-1]))
            return f"{key} is not a known key; known are {', '.join(known_keys(place))}{near}"
        case "missing":
            return f"{key} is required, found nothing"
        case "too_short":
            return f"{key} must have at least one entry, found none: the grid is empty"
        case "value_error":
            return str(error["ctx"]["error"])
    return f"{key} {error['msg'].replace('Input should', 'must')}, found {error['input']!r:.60}"
