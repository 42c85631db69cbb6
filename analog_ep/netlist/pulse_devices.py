"""Devices that pulses move, as subcircuits for ngspice: steps that depend on the state, rates that do on the voltage.

The state w is the charge of a capacitor. Its rate is the model's step at the state *before* the pulse, which a second
capacitor holds while there is a voltage across the device, times sinh(v/v_0)/sinh(V/v_0), over the time for which a
pulse of the card acts: its width, and of its two edges what that rate leaves of them. So a pulse of the card's
amplitude and width moves the state by the card's step, whole, and others by what `PulseModel.disturbance` says.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from analog_ep.devices.pulses import MODELS, ConductanceMap, PulsedArray, PulseModel
from analog_ep.devices.selection import EDGE
from analog_ep.netlist.dialects.analyses import folded

WIDTH = 110
"""Most characters of a card's line, where it can be broken."""

_QUIET = 0.03
"""Share of the smaller amplitude below which there is no pulse: the state before the next one is taken then."""

_SETTLE = 0.02
"""Share of the width in which that is taken, and in which a state beyond its bounds is back at them."""

_HEAD = """* Devices that programming pulses move, between plus and minus; the third pin is the state w, as a voltage.
*
* A pulse of v_up volts from plus to minus, width seconds long between edges of a tenth of that, raises the state by
* a step; one of -v_down lowers it. Pulses of other voltages, such as those that half-selected devices see, move it by
* sinh(v/v_0)/sinh(V/v_0) of a step. Let 0.1 widths go by without a voltage before the next pulse: the state that its
* step belongs to is taken then. low and high bound the state; w_min and w_max stand for g_min and g_max; offset is
* subtracted from w where it is read; the factors of pulse_piecewise are those of its model. Begin with
* .tran ... uic: the state is the charge of a capacitor, set by w0.
*
* Written by analog_ep from its pulse models: python tools/pulse_library.py
"""


def pulse_subcircuit(model: PulseModel) -> list[str]:
    """Cards of the subcircuit with pins plus, minus, and the state, as a voltage, to be read.

    Parameters
    ----------
    model : PulseModel
        Whose steps; every number is a parameter, for which the model's own stand, but for the factors of
        `PiecewiseStep`.

    Raises
    ------
    DeviceParameterError
        If the model's steps have no closed form.
    """
    up, down = model.step_expressions()
    window = ConductanceMap(model.w_min, model.w_max, 1e-6, 1e-4)
    drawn = model.draw(1, torch.Generator().manual_seed(0))
    defaults = pulse_parameters(model, {name: value.flatten()[:1] for name, value in drawn.items()}, window, 0)
    given = " ".join(f"{name}={_number(value.item())}" for name, value in defaults.items())
    return [
        *folded(f".subckt {model.subcircuit} plus minus state params: {given} w0=0", WIDTH),
        f"+ quiet={{{_QUIET}*min(v_up,v_down)}} settle={{{_SETTLE}*width}}",
        f"+ acts_up={{width+2*{EDGE}*width*tanh(v_up/(2*v_0))*v_0/v_up}}",
        f"+ acts_down={{width+2*{EDGE}*width*tanh(v_down/(2*v_0))*v_0/v_down}}",
        "b_w w 0 v=min(max(v(state),{low}),{high})",
        "b_device plus minus i=v(plus,minus)*({g_min}+{(g_max-g_min)/(w_max-w_min)}"
        "*(min(max(v(w)-{offset},{w_min}),{w_max})-{w_min}))",
        "b_held 0 held i=1e-9*(v(w)-v(held))*u({quiet}-abs(v(plus,minus)))*{1/settle}",
        "c_held held 0 1e-9 ic={w0}",
        f"b_up step_up 0 v={up}",
        f"b_down step_down 0 v={down}",
        f"b_rise 0 state i=1e-9*{_rate('up', '')}",
        f"b_fall state 0 i=1e-9*{_rate('down', '-')}",
        "b_bound 0 state i=1e-9*(v(w)-v(state))*{1/settle}",
        "c_state state 0 1e-9 ic={w0}",
        f".ends {model.subcircuit}",
    ]


def _rate(name: str, sign: str) -> str:
    """Rate of the state by voltages of one sign; the exponential is taken of what is below the amplitude."""
    volts, scale = f"max({sign}v(plus,minus),0)", "{1/v_0}"
    return (
        f"{{1/(acts_{name}*(1-exp(-2*v_{name}/v_0)))}}*v(step_{name})*exp(({volts}-{{v_{name}}})*{scale})"
        f"*(1-exp(-2*{volts}*{scale}))"
    )


def pulse_library() -> str:
    """Text of `netlists/pulse_devices.lib`: the subcircuits of all models, with their own parameters."""
    found: dict[str, list[str]] = {}
    for name, kind in MODELS.items():
        model = kind()
        found.setdefault(model.subcircuit, [f"* {model.subcircuit}: steps of {name}", *pulse_subcircuit(model)])
    return _HEAD + "\n".join(f"\n{line}" for cards in found.values() for line in ["\n".join(cards)]) + "\n"


def pulse_parameters(
    model: PulseModel, drawn: Mapping[str, Tensor], window: ConductanceMap, offset: Tensor | float
) -> dict[str, Tensor]:
    """Parameters of the subcircuit by name, `()` or `(n_devices,)`.

    Parameters
    ----------
    model : PulseModel
        Whose steps.
    drawn : mapping of str to Tensor
        What `PulseModel.draw` gave.
    window : ConductanceMap
        From what is read of a state to siemens.
    offset : Tensor or float
        What is subtracted from a state when it is read.
    """
    up, down = model.voltages
    shared = {
        "w_min": window.w_min, "w_max": window.w_max, "g_min": window.g_min, "g_max": window.g_max,
        "v_up": abs(up), "v_down": abs(down), "v_0": model.disturb_voltage, "width": model.pulse_width,
    }  # fmt: skip
    own = {
        **model.step_parameters(drawn),
        "low": drawn["low"],
        "high": drawn["high"],
        "offset": torch.as_tensor(offset),
    }
    return own | {name: torch.tensor(value, dtype=torch.float64) for name, value in shared.items()}


def array_parameters(array: PulsedArray) -> dict[str, np.ndarray]:
    """Parameters of the subcircuits of an array by name, each in the array's shape; noise is none of them."""
    found = pulse_parameters(array.model, array.drawn, array.map, array.read_offset)
    return {
        name: value.double().cpu().expand(array.shape.numel()).reshape(array.shape).numpy()
        for name, value in found.items()
    }


def _number(value: float) -> str:
    return f"{value + 0.0:.12g}"
