"""HSPICE (Synopsys)."""

from __future__ import annotations

from collections.abc import Sequence

from analog_ep.netlist.dialects.dialect import FORMS, Dialect, Settings


class HSpice(Dialect):
    """No B element: G and E sources carry quoted expressions. A diode's own temperature is a difference to `temper`."""

    name = "hspice"
    rounds_constants = False
    logarithm = "log"
    # Its PWL sources round their corners.
    forms = FORMS - {"tables"}
    cuts_headings = False
    how_to_run = "Run it with: hspice FILE. Written for HSPICE 2020, not run there."
    prints = "Its listing holds tables with a row a phase: v_phase 0 is free, 1 is nudged."
    analyses = None
    sweeps = None
    transients = None
    has_energy = False
    has_library = False

    def settings(self, settings: Settings) -> list[str]:
        s = settings
        return [
            f".temp {s.celsius}",
            f".option tnom={s.nominal} reltol={s.reltol} reli={s.reltol} vntol={s.vntol} abstol={s.abstol} "
            f"gmin={s.gmin} gmindc={s.gmin} itl1={s.itl1} itl2={s.itl2}",
        ]

    def print_settings(self) -> list[str]:
        return [".option ingold=2 numdgt=10 measdgt=10"]

    def model(self, name: str, parameters: dict[str, str]) -> str:
        renamed = {"TREF" if key == "TNOM" else key: value for key, value in parameters.items()}
        return super().model(name, {"LEVEL": "1", **renamed})

    def diode(self, name: str, nodes: Sequence[str], model: str, celsius: str | None) -> str:
        # There is only a difference, and the element is to stay where it is when the simulation's temperature changes.
        warmer = f" dtemp='{celsius}-temper'" if celsius else ""
        return super().diode(name, nodes, model, None) + warmer

    def device_temperature(self, celsius: str) -> dict[str, str]:
        return {"DTEMP": f"'{celsius}-temper'"}

    def behavioural(self, name: str, nodes: Sequence[str], quantity: str, expression: str) -> str:
        letter, keyword = ("g", "cur") if quantity == "i" else ("e", "vol")
        return f"{letter}{name[1:]} {' '.join(nodes)} {keyword}='{expression}'"
