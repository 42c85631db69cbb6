"""Spectre (Cadence), in its own language."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from analog_ep.netlist.dialects.dialect import FORMS, Settings
from analog_ep.netlist.dialects.masters import MasterLanguage

_MODELS = {
    **{type: ("mos{level}", side) for type, side in (("nmos", "n"), ("pmos", "p"))},
    **{type: ("bjt", type) for type in ("npn", "pnp")},
    **{type: ("jfet", side) for type, side in (("njf", "n"), ("pjf", "p"))},
}
"""Master, and its parameter `type`, by SPICE's type of a model."""


class Spectre(MasterLanguage):
    """Instances name their master; case counts, and M is mega. The first line, a title in SPICE, is a comment."""

    name = "spectre"
    logarithm = "log"
    forms = FORMS - {"tables"}
    masters: ClassVar[dict[str, str]] = {
        "r": "resistor r={}", "c": "capacitor c={}", "l": "inductor l={}",
        "v": "vsource dc={}", "i": "isource dc={}", "e": "vcvs gain={}",
        "g": "vccs gm={}", "f": "cccs probe={} gain={}", "h": "ccvs probe={} rm={}",
    }  # fmt: skip
    how_to_run = "Run it with: spectre FILE. Written for Spectre 23, not run there."
    prints = "The analysis `phases` holds a point a phase: dc 0 is free, 1 is nudged."
    has_energy = False

    def settings(self, settings: Settings) -> list[str]:
        s = settings
        return [
            "simulator lang=spectre",
            "global 0",
            f"tolerances options temp={s.celsius} tnom={s.nominal} reltol={s.reltol} vabstol={s.vntol} "
            f"iabstol={s.abstol} gmin={s.gmin} save=selected rawfmt=nutascii digits=12",
        ]

    def model(self, name: str, parameters: dict[str, str]) -> str:
        return f"model {name} diode {' '.join(f'{key.lower()}={value}' for key, value in parameters.items())}"

    def model_card(self, name: str, type: str, parameters: dict[str, str]) -> str:
        texts = {key.lower(): value for key, value in parameters.items()}
        master, side = _MODELS[type.lower()]
        named = master.format(level=int(float(texts.pop("level", "1"))))
        return f"model {name} {named} type={side} {' '.join(f'{key}={value}' for key, value in texts.items())}"

    def has_model(self, type: str, parameters: Mapping[str, float]) -> bool:
        levels = {key.lower(): value for key, value in parameters.items()}
        return not type or (type.lower() in _MODELS and levels.get("level", 1.0) in (1.0, 2.0, 3.0))

    def diode(self, name: str, nodes: Sequence[str], model: str, celsius: str | None) -> str:
        # Only a rise above `temp` can be given, and the element is to stay where it is when that changes.
        warmer = f" trise={celsius}-temp" if celsius else ""
        return self.placed(name, nodes, model + warmer)

    def device_temperature(self, celsius: str) -> dict[str, str]:
        return {"trise": f"{celsius}-temp"}

    def behavioural(self, name: str, nodes: Sequence[str], quantity: str, expression: str) -> str:
        return self.placed(name, nodes, f"bsource {quantity}={expression}")

    def nodeset(self, voltages: Sequence[tuple[str, str]]) -> Iterator[str]:
        pairs = textwrap.wrap(" ".join(f"{node}={volts}" for node, volts in voltages), 110)
        yield from (f"nodeset {line}" for line in pairs)

    def sweep(self, source: str, values: str, tables: Iterable[Sequence[tuple[str, ...]]]) -> Iterator[str]:
        start, stop, step = values.split()
        nodes = dict.fromkeys(node for table in tables for pair in table for node in pair)
        saved = textwrap.wrap(" ".join(nodes), 110, initial_indent="save ", subsequent_indent="    ")
        yield from (f"{line} \\" for line in saved[:-1])
        yield saved[-1]
        yield f"phases dc dev={source} param=dc start={start} stop={stop} step={step}"
