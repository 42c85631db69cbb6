"""Dialects of the one netlist writer, by name."""

from typing import Literal

from analog_ep.devices.forms import Model
from analog_ep.errors import CircuitError
from analog_ep.netlist.dialects.analyses import Analyses
from analog_ep.netlist.dialects.dialect import Dialect, Settings
from analog_ep.netlist.dialects.gnucap import Gnucap
from analog_ep.netlist.dialects.hspice import HSpice
from analog_ep.netlist.dialects.ltspice import LTspice
from analog_ep.netlist.dialects.spectre import Spectre
from analog_ep.netlist.dialects.sweeps import Sweeps
from analog_ep.netlist.dialects.transients import Transients
from analog_ep.netlist.dialects.vacask import Vacask
from analog_ep.netlist.dialects.xyce import Xyce

DialectName = Literal["ngspice", "xyce", "ltspice", "hspice", "spectre", "gnucap", "vacask"]

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (Dialect(), Xyce(), LTspice(), HSpice(), Spectre(), Gnucap(), Vacask())
}

NGSPICE = DIALECTS["ngspice"]
"""The dialect of the simulator that the package runs itself."""


def analyses_of(dialect: Dialect) -> Analyses:
    """The analyses of a dialect, or `CircuitError` where it has none."""
    if dialect.analyses is None:
        able = ", ".join(name for name, other in DIALECTS.items() if other.analyses is not None)
        raise CircuitError(
            f"this analysis needs an engine that reads {able}'s netlists, found {dialect.name}, which is given "
            "sweeps of operating points alone; choose another engine"
        )
    return dialect.analyses


def sweeps_of(dialect: Dialect) -> Sweeps:
    """The sweeps of a dialect, or `CircuitError` where it has none."""
    if dialect.sweeps is None:
        able = " and ".join(name for name, other in DIALECTS.items() if other.sweeps is not None)
        raise CircuitError(f"batches are solved by {able} alone, found {dialect.name}; choose one of them")
    return dialect.sweeps


def transients_of(dialect: Dialect) -> Transients:
    """The transients of a dialect, or `CircuitError` where it has none."""
    if dialect.transients is None:
        raise CircuitError(
            f"a transient netlist is written for {' and '.join(with_transients())} alone, found {dialect.name}; choose "
            "one of them"
        )
    return dialect.transients


def with_transients() -> list[str]:
    """Names of the dialects that have transients."""
    return [name for name, dialect in DIALECTS.items() if dialect.transients is not None]


def require_form(dialect: Dialect, form: str, element: str, otherwise: str) -> None:
    """Raise `CircuitError` where a dialect lacks the form that an element needs; `otherwise` says what else helps."""
    if form not in dialect.forms:
        raise CircuitError(
            f"a {dialect.name} netlist has no {form}, found one needed for {element}; {otherwise}, or another dialect: "
            f"{', '.join(name for name, other in DIALECTS.items() if form in other.forms)}"
        )


def require_model(dialect: Dialect, model: Model, element: str) -> None:
    """Raise `CircuitError` where a dialect has no model of the type and level that an element needs."""
    type, parameters = model
    if not dialect.has_model(type, dict(parameters)):
        level = "".join(f" of level {value:g}" for key, value in parameters if key.lower() == "level")
        able = [name for name, other in DIALECTS.items() if other.has_model(type, dict(parameters))]
        raise CircuitError(
            f"a {dialect.name} netlist has no model {type}{level}, found one needed for {element}; write it for "
            f"{', '.join(able)}"
        )


__all__ = [
    "DIALECTS",
    "NGSPICE",
    "Analyses",
    "Dialect",
    "DialectName",
    "Settings",
    "Sweeps",
    "Transients",
    "analyses_of",
    "require_form",
    "require_model",
    "sweeps_of",
    "transients_of",
    "with_transients",
]
