"""Exported netlists as the engine in use runs them, each in the language that the engine reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from analog_ep.circuit import Circuit
from analog_ep.netlist.dialects import DialectName
from analog_ep.ngspice.engines import find_engine
from analog_ep.ngspice.printed import printed_measurements, printed_tables
from analog_ep.ngspice.process import run_exported, run_printed

Tables = Mapping[str, np.ndarray]
"""Columns of what a netlist of phases gives, a row each, by heading: ``v(node)`` and ``v(node)-v(node)``."""


@dataclass(frozen=True, eq=False)
class Exports(ABC):
    """Runs the netlists of a circuit.

    Attributes
    ----------
    circuit : Circuit
        What they hold.
    """

    circuit: Circuit

    dialect: ClassVar[DialectName]

    @abstractmethod
    def tables(self, path: Path) -> Tables:
        """Of a netlist of phases."""

    @abstractmethod
    def measurements(self, path: Path) -> dict[str, float]:
        """What a transient netlist measures, by name."""


class NgspiceExports(Exports):
    """By what ngspice prints."""

    dialect = "ngspice"

    def tables(self, path: Path) -> Tables:
        return printed_tables(run_printed(path))

    def measurements(self, path: Path) -> dict[str, float]:
        return printed_measurements(run_printed(path))


class VacaskExports(Exports):
    """By the raw file that VACASK writes, and what the Python in a transient netlist prints."""

    dialect = "vacask"

    def tables(self, path: Path) -> Tables:
        plot = run_exported(path, "phases")[1]
        found = {f"v({name})": column for name, column in zip(plot.names, plot.values.T, strict=True)}
        names, outputs = self.circuit.node_names, self.circuit.outputs or ([], [])
        for p, n in zip(*outputs, strict=True):
            first, second = f"v({names[p]})", f"v({names[n]})"
            if first in found and second in found:
                found[f"{first}-{second}"] = found[first] - found[second]
        return found

    def measurements(self, path: Path) -> dict[str, float]:
        return printed_measurements(run_exported(path, "transient")[0])


_KINDS: Sequence[type[Exports]] = (NgspiceExports, VacaskExports)


def exports_of(circuit: Circuit) -> Exports:
    """For the engine in use.

    Raises
    ------
    NgspiceNotFoundError
        If it is missing.
    """
    language = find_engine().language.dialect
    return next(kind(circuit) for kind in _KINDS if kind.dialect == language)
