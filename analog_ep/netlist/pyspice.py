"""A circuit as live PySpice elements.

The only module that imports PySpice, which is under the GPL-3.0: programs that distribute this module together with it
follow that licence. Nothing else imports this module, so that `import analog_ep` stays quick and free of PySpice's
warnings.
"""

from __future__ import annotations

import ctypes.util
import os
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import torch
from PySpice.Spice.Netlist import Circuit as PySpiceCircuit
from PySpice.Spice.NgSpice.Shared import NgSpiceShared
from torch import Tensor

from analog_ep.circuit import Circuit, check_circuit
from analog_ep.constants import DEFAULT_TEMPERATURE
from analog_ep.errors import CircuitError, StimulusError
from analog_ep.netlist.netlist import NetlistWriter, SpiceOptions, constant_drive

# PySpice loads the name that only development packages give the library.
if "NGSPICE_LIBRARY_PATH" not in os.environ and (_library := ctypes.util.find_library("ngspice")):
    NgSpiceShared.LIBRARY_PATH = _library

_Add = Callable[..., object]
"""Adds the element of one card; takes the circuit, the name without its letter, and the card's fields."""


def to_pyspice(circuit: Circuit, inputs: Tensor | np.ndarray, options: SpiceOptions | None = None) -> PySpiceCircuit:
    """Build the circuit of real PySpice elements, with the names and values of the netlist.

    Resistors, capacitors, independent and controlled sources become PySpice's own elements; junction diodes refer to a
    model each; a piecewise-linear diode is a behavioural source; an amplifier is a VCVS, a 0 V ammeter and a CCCS per
    output.

    Parameters
    ----------
    circuit : Circuit
        Any circuit.
    inputs : Tensor or ndarray (n_inputs,)
        Inputs of one sample. [V]
    options : SpiceOptions, optional
        Tolerances, which the circuit carries as a card of its own; the defaults resolve responses to a nudge.

    Returns
    -------
    PySpice.Spice.Netlist.Circuit
        A live circuit: ``circuit.R_stage1_0.resistance = 1e3`` changes it. Simulate it at 27 °C, PySpice's default:
        the circuit does not carry its temperature, so that diodes at another one, all of a warm chip, have `temp`.

    Raises
    ------
    CircuitError
        If the circuit has no equilibrium, see `check_circuit`, or elements that are not handed to PySpice.
    StimulusError
        If `inputs` has another width than the circuit.
    """
    check_circuit(circuit)
    sample = torch.as_tensor(inputs).detach().to("cpu", torch.float64).numpy()
    if sample.shape != (circuit.n_inputs,):
        raise StimulusError(f"inputs must have shape ({circuit.n_inputs},), found {sample.shape}")
    writer = NetlistWriter(replace(circuit, temperature=DEFAULT_TEMPERATURE), constant_drive(sample), options)
    result = PySpiceCircuit(circuit.title)
    result.raw_spice = writer.options_card()
    _add_models(result, writer.model_cards())
    for card in writer.element_cards():
        name, *fields = card.split()
        add = _ELEMENTS.get(name[0])
        if add is None:
            raise CircuitError(
                f"a live PySpice circuit has elements of the letters {''.join(_ELEMENTS)} here, found {name}; "
                "write a deck instead"
            )
        # PySpice puts the letter before the name itself.
        add(result, name[1:], *fields)
    return result


def _add_models(circuit: PySpiceCircuit, cards: Iterable[str]) -> None:
    for card in cards:
        _, name, definition = card.split(maxsplit=2)
        kind, _, parameters = definition.removesuffix(")").partition("(")
        circuit.model(name, kind, **_assignments(parameters.split()))


def _assignments(words: Iterable[str]) -> dict[str, float]:
    return {key: float(value) for key, value in (word.split("=") for word in words)}


def _two_terminal(kind: str) -> _Add:
    return lambda circuit, name, p, n, value: getattr(circuit, kind)(name, p, n, float(value))


def _controlled(kind: str, gain: str) -> _Add:
    """E or G: four nodes and a gain."""
    return lambda circuit, name, p, n, cp, cn, value: getattr(circuit, kind)(name, p, n, cp, cn, **{gain: float(value)})


def _current_controlled(kind: str, gain: str) -> _Add:
    """F or H: two nodes, the source that senses the current, and a gain."""
    return lambda circuit, name, p, n, source, value: getattr(circuit, kind)(
        name, p, n, source=source, **{gain: float(value)}
    )


def _diode(circuit: PySpiceCircuit, name: str, anode: str, cathode: str, model: str, *settings: str) -> None:
    circuit.D(name, anode, cathode, model=model, **_assignments(settings))


def _behavioural(circuit: PySpiceCircuit, name: str, p: str, n: str, law: str) -> None:
    quantity, _, expression = law.partition("=")
    circuit.B(name, p, n, **{{"i": "current_expression", "v": "voltage_expression"}[quantity]: expression})


_ELEMENTS: dict[str, _Add] = {
    "r": _two_terminal("R"),
    "c": _two_terminal("C"),
    "l": _two_terminal("L"),
    "v": _two_terminal("V"),
    "i": _two_terminal("I"),
    "d": _diode,
    "e": _controlled("VCVS", "voltage_gain"),
    "g": _controlled("VCCS", "transconductance"),
    "f": _current_controlled("CCCS", "current_gain"),
    "h": _current_controlled("CCVS", "transresistance"),
    "b": _behavioural,
}
