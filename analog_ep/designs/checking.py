"""Whether PyTorch and ngspice agree on a design: on the designer's own cards, and on those written of the circuit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from analog_ep.constants import ZERO_CELSIUS
from analog_ep.designs.definitions import WITHOUT_EFFECT
from analog_ep.designs.design import Design
from analog_ep.equilibrium import Newton, Ngspice, solve
from analog_ep.errors import AnalogEPError, CircuitError, NetlistError, NgspiceError, NgspiceNotFoundError
from analog_ep.ngspice.process import run_ngspice

TOLERANCE = 1e-8
"""Largest difference that counts as agreement. [V]"""

_SECONDS = 120.0
_LEFT_OUT = {*WITHOUT_EFFECT, "options", "option", "opt", "temp"}
_SETTINGS = "reltol=1e-9 vntol=1e-12 abstol=1e-15 itl1=1000"


@dataclass(frozen=True)
class Comparison:
    """Node voltages by PyTorch and ngspice.

    Attributes
    ----------
    what : str
        What ngspice was given.
    largest : float
        Largest difference; NaN where there is none to compare. [V]
    node : str
        Where, by the designer's name.
    n_nodes : int
        Nodes compared.
    problem : str
        Why nothing could be compared; empty where it was.
    """

    what: str
    largest: float
    node: str
    n_nodes: int
    problem: str = ""

    @property
    def agrees(self) -> bool:
        """Whether all nodes agree to `TOLERANCE`."""
        return not self.problem and self.largest <= TOLERANCE

    def __str__(self) -> str:
        if self.problem:
            return f"{self.what}: not compared, {self.problem}"
        verdict = "agrees" if self.agrees else "DIFFERS"
        where = f" at node {self.node}" if self.node else ""
        return f"{self.what}: {verdict}, {self.n_nodes} nodes, largest difference {self.largest:.1e} V{where}"


def check_design(design: Design) -> list[Comparison]:
    """Compare PyTorch's Newton with ngspice at the operating point of a design, node by node.

    ngspice is given the designer's own cards, without analyses and control blocks and with tight tolerances, and then
    the netlist that is written of the circuit.

    Raises
    ------
    NetlistError
        If PyTorch finds no operating point.
    NgspiceNotFoundError
        If there is no ngspice.
    """
    inputs = design.default_inputs[None]
    state = solve(design.circuit, inputs, solver=Newton(), throw=False)
    if not bool(state.converged.all()):
        raise NetlistError(f"{design.path}: an operating point must be found, found none: {state.message}")
    ours = {name: float(value[0]) for name, value in design.voltages(state.node_voltages()).items() if name != "0"}
    return [
        _compared("your netlist", ours, lambda: own_voltages(design)),
        _compared("the netlist written of the circuit", ours, lambda: _rewritten(design, inputs)),
    ]


def _compared(what: str, ours: dict[str, float], run) -> Comparison:
    try:
        theirs = run()
    except NgspiceNotFoundError:
        raise
    except (NgspiceError, CircuitError, NetlistError) as error:
        return Comparison(what, float("nan"), "", 0, str(error))
    missing = next((name for name in ours if name not in theirs), None)
    if missing is not None:
        return Comparison(what, float("nan"), "", 0, f"ngspice knows no node {missing!r}")
    differences = {name: abs(value - theirs[name]) for name, value in ours.items()}
    worst = max(differences, key=differences.__getitem__, default="")
    return Comparison(what, differences.get(worst, 0.0), worst, len(ours))


def own_voltages(design: Design) -> dict[str, float]:
    """Voltages that ngspice finds for the designer's own cards, by name. [V]

    Raises
    ------
    NgspiceError
        If it finds none.
    CircuitError
        If a card must not be passed on to it.
    """
    found = run_ngspice(own_deck(design), 1, timeout=_SECONDS)
    return {_node(name): float(value) for name, value in zip(found.names, found.values[0], strict=True) if _node(name)}


def own_deck(design: Design) -> str:
    """The designer's cards as they were written, without what runs or asks for anything, and one ``.op``."""
    return "\n".join(_cards(design)) + "\n"


def _cards(design: Design) -> Iterator[str]:
    conditions = design.conditions
    yield "* the designer's own cards"
    for card in design.cards:
        if card.kind not in _LEFT_OUT:
            yield card.text
    celsius, nominal = (round(t - ZERO_CELSIUS, 10) for t in (conditions.kelvin, conditions.nominal))
    yield f".options TEMP={celsius!r} TNOM={nominal!r} gmin={conditions.gmin!r} {_SETTINGS}"
    yield ".op"
    yield ".end"


def _node(name: str) -> str:
    """The node of a vector; empty for a current."""
    if name.startswith("v(") and name.endswith(")"):
        return name[2:-1]
    return "" if name.startswith("i(") or "#" in name else name


def _rewritten(design: Design, inputs: torch.Tensor) -> dict[str, float]:
    try:
        state = solve(design.circuit, inputs, solver=Ngspice())
    except NgspiceError:
        raise
    except AnalogEPError as error:
        raise CircuitError(str(error)) from None
    volts = state.node_voltages()[0].double().numpy()
    return {name: float(volts[design.circuit.node(safe)]) for name, safe in design.nodes.items()}
