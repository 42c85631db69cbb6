"""The drain's current of a transistor in ngspice, on a grid of voltages."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analog_ep.constants import DEFAULT_TEMPERATURE, SIMULATION_GMIN
from analog_ep.devices.foundry_card import FoundryCard
from analog_ep.errors import CardError, CircuitError, NgspiceError, NgspiceNotFoundError
from analog_ep.netlist.dialects import NGSPICE, Settings, analyses_of
from analog_ep.netlist.dialects.sweeps import INDEX
from analog_ep.netlist.texts import in_celsius, number
from analog_ep.ngspice.process import run_ngspice

_SECONDS = 300.0
_BYTES = 4 << 30
_MOST_POINTS = 150_000
"""Of a run: ngspice 39 crashes at 200,000."""


def drain_currents(
    card: FoundryCard,
    kelvin: float,
    gates: np.ndarray,
    drains: np.ndarray,
    bulk: float,
    extra: Mapping[str, float] | None = None,
) -> np.ndarray:
    """Currents into the drain, `(n_gates, n_drains)`, of PMOS with all signs turned. [A]

    Parameters
    ----------
    card : FoundryCard
        The transistor.
    kelvin : float
        [K]
    gates, drains : ndarray (n_gates,), (n_drains,)
        Voltages against the source, rising; those of the gate by equal steps. [V]
    bulk : float
        Of the bulk. [V]
    extra : dict of str to float, optional
        Further parameters of the instance.

    Raises
    ------
    CardError
        If ngspice fails on the card, or does not converge; naming it.
    NgspiceNotFoundError
        If there is no ngspice.
    """
    rows = max(1, _MOST_POINTS // len(drains))
    parts = [gates[begin : begin + rows] for begin in range(0, len(gates), rows)]
    return np.concatenate([_run(card, kelvin, part, drains, bulk, extra or {}) for part in parts])


def _run(
    card: FoundryCard, kelvin: float, gates: np.ndarray, drains: np.ndarray, bulk: float, extra: Mapping[str, float]
) -> np.ndarray:
    sign = 1.0 if card.polarity == "nmos" else -1.0
    element, parameters = NGSPICE.element, {key: number(value) for key, value in {**card.instance, **extra}.items()}
    settings = Settings(
        in_celsius(kelvin),
        in_celsius(DEFAULT_TEMPERATURE),
        "1e-09",
        "1e-12",
        "1e-17",
        number(SIMULATION_GMIN),
        1000,
        200,
    )
    deck = "\n".join(
        [
            NGSPICE.comment("one transistor"),
            *NGSPICE.settings(settings),
            card.text,
            element("vgate", ("swept_g", "0"), "0.0"),
            element("vindex", (INDEX, "0"), "0.0"),
            NGSPICE.behavioural("bdrain", ("swept_h", "0"), "v", _points(sign * drains)),
            element("vdrain", ("swept_h", "swept_d"), "0.0"),
            element("vbulk", ("swept_b", "0"), number(sign * bulk)),
            NGSPICE.instance(f"{card.letter}swept", ("swept_d", "swept_g", "0", "swept_b"), card.name, parameters),
            *NGSPICE.sweep("vindex", f"0 {len(drains) - 0.5} 1 vgate {_ends(sign * gates)}", []),
            analyses_of(NGSPICE).save([NGSPICE.current("vdrain")]),
            NGSPICE.end(),
            "",
        ]
    )
    count = len(gates) * len(drains)
    try:
        raw = run_ngspice(deck, count, timeout=_SECONDS, memory_limit=_BYTES)
    except NgspiceNotFoundError:
        raise
    except (NgspiceError, CircuitError) as error:
        raise CardError(f"the card {card.title}: ngspice must be able to run it, found: {error}") from None
    found = sign * raw.columns([NGSPICE.current("vdrain")])[:, 0].reshape(len(gates), len(drains))
    if not np.isfinite(found).all():
        raise CardError(f"the card {card.title} must give finite currents, found others; check its parameters")
    return found


def _points(volts: np.ndarray) -> str:
    """A voltage that goes from one point to the next with the index."""
    if len(volts) == 1:
        return number(float(volts[0]))
    sweeps = analyses_of(NGSPICE)
    return sweeps.over_samples((f"{i}," for i in range(len(volts))), map(number, volts.tolist()))


def _ends(volts: np.ndarray) -> str:
    """Start, stop and increment of a ``.dc``; the stop is half a step beyond, so that rounding loses no point."""
    if len(volts) == 1:
        return f"{number(float(volts[0]))} {number(float(volts[0]))} 1.0"
    step = float(volts[-1] - volts[0]) / (len(volts) - 1)
    return " ".join(number(value) for value in (float(volts[0]), float(volts[-1]) + step / 2, step))
