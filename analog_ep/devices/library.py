"""What an element says of the subcircuits in ``netlists/`` that stand for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from analog_ep.devices.forms import Part


@dataclass(frozen=True, eq=False)
class ClampParameters:
    """What the subcircuits of ``netlists/diode_clamp.lib`` ask of a diode.

    Attributes
    ----------
    kind : str
        Ends the subcircuit's name: nothing for junctions, ``_linear``.
    names : tuple of str
        Parameters.
    values : ndarray (n_elements, n_parameters)
        Their values.
    """

    kind: str
    names: tuple[str, ...]
    values: np.ndarray


@dataclass(frozen=True)
class LibraryInstance:
    """One element as an instance of a subcircuit in ``netlists/``.

    Attributes
    ----------
    subcircuit : str
        Its name.
    nodes : tuple of int or str
        As of a `Part`.
    parameters : dict of str to float
        Values.
    before : sequence of Part
        Parts outside of the subcircuit.
    """

    subcircuit: str
    nodes: tuple[int | str, ...]
    parameters: dict[str, float]
    before: Sequence[Part] = ()


@dataclass(frozen=True, eq=False)
class LibraryForm:
    """A group as instances of subcircuits, for simulators that read the library.

    Attributes
    ----------
    file : str
        In ``netlists/``.
    instances : sequence of LibraryInstance
        For each element.
    senses : sequence of (int, str)
        For each row of `VoltageLaw.rows` the element and the source inside it that carries the row's current.
    """

    file: str
    instances: Sequence[LibraryInstance]
    senses: Sequence[tuple[int, str]]
