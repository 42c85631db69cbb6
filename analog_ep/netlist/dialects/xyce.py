"""Xyce (Sandia National Laboratories)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from analog_ep.netlist.dialects.dialect import FORMS, Dialect, Settings


class Xyce(Dialect):
    """Options by package, expressions in braces, one table an analysis."""

    name = "xyce"
    forms = FORMS
    rounds_constants = False
    cuts_headings = False
    how_to_run = "Run it with: Xyce FILE. Written for Xyce 7, not run there."
    prints = "FILE.prn holds a row a phase: the sweep of v_phase, 0 free and 1 nudged."
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
            f".options device temp={s.celsius} tnom={s.nominal} gmin={s.gmin}",
            f".options nonlin reltol={s.reltol} abstol={s.vntol} maxstep={s.itl1}",
        ]

    def print_settings(self) -> list[str]:
        return []

    def behavioural(self, name: str, nodes: Sequence[str], quantity: str, expression: str) -> str:
        return super().behavioural(name, nodes, quantity, f"{{{expression}}}")

    def sweep(self, source: str, values: str, tables: Iterable[Sequence[tuple[str, ...]]]) -> Iterator[str]:
        yield f".dc {source} {values}"
        vectors = " ".join(self.voltage(*nodes) for table in tables for nodes in table)
        yield from textwrap.wrap(vectors, 110, initial_indent=".print dc precision=12 ", subsequent_indent="+ ")
