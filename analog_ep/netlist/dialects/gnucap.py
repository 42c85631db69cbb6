"""gnucap (GNU Circuit Analysis Package)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from analog_ep.errors import CircuitError
from analog_ep.netlist.dialects.dialect import FORMS, Dialect, Settings
from analog_ep.netlist.texts import number

_FAR = 1e3
"""Where the outer segments of a piecewise-linear characteristic end; gnucap goes on along them. [V]"""


class Gnucap(Dialect):
    """No expressions: a piecewise-linear diode is a table, and only frozen nudges can be written. No nodeset."""

    name = "gnucap"
    forms = FORMS - {"expressions"}
    cuts_headings = False
    how_to_run = "Run it with: gnucap -b FILE (checked with gnucap 0.36)."
    prints = "It prints a table with a row a phase: the first column, v_phase, is 0 for free and 1 for nudged."
    analyses = None
    sweeps = None
    transients = None
    has_energy = False
    has_library = False
    has_device_temperature = False

    def settings(self, settings: Settings) -> list[str]:
        s = settings
        return [
            f".options temp={s.celsius} tnom={s.nominal} reltol={s.reltol} vntol={s.vntol} abstol={s.abstol} "
            f"gmin={s.gmin} itl1={s.itl1} itl2={s.itl2}"
        ]

    def print_settings(self) -> list[str]:
        return [".options numdgt=12"]

    def model(self, name: str, parameters: dict[str, str]) -> str:
        # Its saturation current rises as T^XTI, where the others' rises as T^(XTI/N).
        exponent = float(parameters["XTI"]) / float(parameters["N"])
        return super().model(name, parameters | {"XTI": repr(exponent)})

    def behavioural(self, name: str, nodes: Sequence[str], quantity: str, expression: str) -> str:
        raise CircuitError(f"a gnucap netlist has no expressions, found one needed for {name}; use another dialect")

    def piecewise_linear(
        self, name: str, nodes: Sequence[str], leakage: float, bends: Sequence[tuple[float, float]]
    ) -> str:
        places = sorted({-_FAR, _FAR, *(at for at, _ in bends)})
        return self.table(name, nodes, nodes, [(v, _current(v, leakage, bends)) for v in places])

    def table(
        self, name: str, nodes: Sequence[str], control: Sequence[str], points: Sequence[tuple[float, float]]
    ) -> str:
        texts = " ".join(f"{number(volts)},{number(amperes)}" for volts, amperes in points)
        return f"g{name[1:]} {' '.join(nodes)} {' '.join(control)} pwl({texts})"

    def nodeset(self, voltages: Sequence[tuple[str, str]]) -> Iterator[str]:
        yield self.comment("gnucap has no nodeset, and begins with every node at 0 V")

    def sweep(self, source: str, values: str, tables: Iterable[Sequence[tuple[str, ...]]]) -> Iterator[str]:
        # It prints one table an analysis, and single nodes alone.
        nodes = dict.fromkeys(node for table in tables for pair in table for node in pair)
        vectors = " ".join(self.voltage(node) for node in nodes)
        yield from textwrap.wrap(vectors, 110, initial_indent=".print dc ", subsequent_indent="+ ")
        start, stop, step = values.split()
        yield f".dc {source} {start} {stop} {step}"


def _current(volts: float, leakage: float, bends: Sequence[tuple[float, float]]) -> float:
    return leakage * volts + sum(change * (max(volts - at, 0.0) - max(-at, 0.0)) for at, change in bends)
