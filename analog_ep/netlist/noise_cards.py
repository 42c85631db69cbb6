"""White noise currents as SPICE elements of a transient analysis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from analog_ep.circuit import Circuit, NoiseCurrents
from analog_ep.constants import BOLTZMANN
from analog_ep.errors import StimulusError
from analog_ep.netlist.dialects import NGSPICE, Dialect, analyses_of
from analog_ep.netlist.texts import number


def noise_cards(
    circuits: Sequence[Circuit],
    currents: Sequence[NoiseCurrents],
    interval: float,
    seed: int,
    dialect: Dialect = NGSPICE,
) -> Iterator[str]:
    """Cards of Gaussian currents that are constant over each interval and independent between intervals.

    A random voltage of 1 V rms stands at a node of its own, and a controlled source for each circuit turns it into that
    circuit's current, so that all circuits see the same noise. Where there is one circuit, its currents are random
    themselves, without nodes of their own.

    Parameters
    ----------
    circuits : sequence of Circuit
        Circuits in one deck, which name the nodes.
    currents : sequence of NoiseCurrents
        Of each circuit; equally many.
    interval : float
        Over which a current is constant; short against the circuit's time constants. [s]
    seed : int
        Of the simulator's random numbers; positive.
    dialect : Dialect, optional
        The simulator's; by default ngspice's.

    Raises
    ------
    StimulusError
        If interval or seed are not positive, or the circuits have different numbers of currents.
    """
    if not 0 < interval < math.inf or seed < 1:
        raise StimulusError(f"transient noise needs a positive interval and seed, found {interval} s and {seed}")
    if len({len(noise) for noise in currents}) != 1:
        raise StimulusError("circuits that share noise need equally many currents, found different numbers")
    analyses = analyses_of(dialect)
    yield analyses.seed(seed)
    shared = len(circuits) > 1
    for k in range(len(currents[0]) if shared else 0):
        yield dialect.element(f"v_noise_{k}", (f"_noise_{k}", "0"), analyses.random(interval, 1.0))
    for i, (circuit, noise) in enumerate(zip(circuits, currents, strict=True)):
        names = circuit.node_names
        # Held for an interval h, a current of variance S/h has the two-sided density S at low frequencies.
        amperes = np.sqrt(noise.density / interval)
        for k, (p, n, rms) in enumerate(zip(noise.first, noise.second, amperes, strict=True)):
            if shared:
                nodes = (names[n], names[p], f"_noise_{k}", "0")
                yield dialect.element(f"g_noise_{i}_{k}", nodes, number(rms))
            else:
                yield dialect.element(f"i_noise_{k}", (names[n], names[p]), analyses.random(interval, rms))


def resistor_noise_cards(circuit: Circuit, currents: NoiseCurrents, dialect: Dialect = NGSPICE) -> Iterator[str]:
    """Cards of currents whose noise a ``.noise`` analysis has: of a resistor of 1 Ω each, beside the circuit.

    Parameters
    ----------
    circuit : Circuit
        Which names the nodes, and has the resistors' temperature.
    currents : NoiseCurrents
        Between its nodes.
    dialect : Dialect, optional
        The simulator's; by default ngspice's.
    """
    names = circuit.node_names
    # Of 1 Ω, 4 k_B T one-sided; the densities here are two-sided.
    transfer = np.sqrt(2 * currents.density / (4 * BOLTZMANN * circuit.temperature))
    for k, (p, n, siemens) in enumerate(zip(currents.first, currents.second, transfer, strict=True)):
        if siemens:
            yield dialect.element(f"r_noise_{k}", (f"_noise_{k}", "0"), number(1.0))
            yield dialect.element(f"g_noise_{k}", (names[p], names[n], f"_noise_{k}", "0"), number(float(siemens)))
