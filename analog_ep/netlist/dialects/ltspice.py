"""LTspice (Analog Devices)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from analog_ep.netlist.dialects.dialect import FORMS, Dialect, Settings


class LTspice(Dialect):
    """A junction's model must not say Ron, Roff or Vfwd, which would make it LTspice's own piecewise-linear diode."""

    name = "ltspice"
    forms = FORMS
    rounds_constants = False
    cuts_headings = False
    how_to_run = "Run it with: ltspice -b FILE. Written for LTspice 24, not run there."
    prints = "The raw file beside it holds a point a phase: v_phase 0 is free, 1 is nudged."
    analyses = None
    sweeps = None
    transients = None
    has_energy = False
    has_library = False
    table_function = "table"
    tables_go_on = False

    def settings(self, settings: Settings) -> list[str]:
        s = settings
        return [
            f".temp {s.celsius}",
            f".options tnom={s.nominal} reltol={s.reltol} vntol={s.vntol} abstol={s.abstol} gmin={s.gmin} "
            f"itl1={s.itl1} itl2={s.itl2}",
        ]

    def print_settings(self) -> list[str]:
        # Beyond 6 digits LTspice writes raw files in double precision.
        return [".options numdgt=15 plotwinsize=0"]

    def sweep(self, source: str, values: str, tables: Iterable[Sequence[tuple[str, ...]]]) -> Iterator[str]:
        yield f".dc {source} {values}"
        nodes = dict.fromkeys(node for table in tables for pair in table for node in pair)
        yield from (f".save {self.voltage(node)}" for node in nodes)
