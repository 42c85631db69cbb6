"""Dialects of the one netlist writer, by name."""

from typing import Literal

from analog_ep.netlist.dialects.dialect import Dialect, Settings
from analog_ep.netlist.dialects.gnucap import Gnucap
from analog_ep.netlist.dialects.hspice import HSpice
from analog_ep.netlist.dialects.ltspice import LTspice
from analog_ep.netlist.dialects.spectre import Spectre
from analog_ep.netlist.dialects.xyce import Xyce

DialectName = Literal["ngspice", "xyce", "ltspice", "hspice", "spectre", "gnucap"]

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (Dialect(), Xyce(), LTspice(), HSpice(), Spectre(), Gnucap())
}

__all__ = ["DIALECTS", "Dialect", "DialectName", "Settings"]
