"""A circuit with reactances about one of its states: how it follows small sinusoids, and how its noise drives it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from analog_ep.circuit import Circuit
from analog_ep.circuit.noise import NoiseCurrents, johnson_currents, shot_currents
from analog_ep.equilibrium.nodal.assembly import incidence
from analog_ep.equilibrium.nodal.equations import Equations
from analog_ep.equilibrium.nodal.jacobian import jacobian_of
from analog_ep.equilibrium.nodal.reduction import reduced_system
from analog_ep.errors import ConvergenceError, StimulusError

_COLUMNS = 256


class Linearised:
    r"""The circuit's equations for small phasors about a state, :math:`(J + jωK)\, x = L\, i`.

    J is the Jacobian of the reduced equations, K their `inertia`, and L i what currents i into the nodes add to
    them (`ReducedSystem`).

    Parameters
    ----------
    circuit : Circuit
        With capacitors, see `with_node_capacitance`.
    inputs : ndarray (n_inputs,)
        Inputs of the sample. [V]
    voltages : ndarray (n_nodes,)
        The state. [V]

    Raises
    ------
    CircuitError
        See `check_circuit`.
    """

    def __init__(self, circuit: Circuit, inputs: np.ndarray, voltages: np.ndarray):
        self.circuit, self.voltages = circuit, voltages
        self._system = system = reduced_system(circuit)
        state = Equations.of(system, inputs[None], None, None).at(system.unknowns(voltages[None]))
        jacobian = jacobian_of(system)
        self._jacobian = jacobian.sparse(jacobian.values(state.slopes)[0])
        self._inertia = system.inertia

    def response(self, currents: np.ndarray, frequency: float) -> np.ndarray:
        """Phasors of the nodes `(n_nodes, n)` [V] under phasors of currents into them `(n_nodes, n)` [A].

        Raises
        ------
        ConvergenceError
            If the matrix is singular at this frequency. [Hz]
        """
        matrix = csc_array(self._jacobian + 2j * math.pi * frequency * self._inertia)
        try:
            found = splu(matrix).solve(np.asarray(self._system.law @ currents, dtype=np.complex128))
        except RuntimeError:
            title = self.circuit.title
            raise ConvergenceError(f"{title!r} has no response to small currents: its Jacobian is singular") from None
        return np.asarray(self._system.expansion @ found)

    def into_outputs(self, currents: np.ndarray) -> np.ndarray:
        """Currents into the nodes `(n_nodes,)` [A] of those into v₊ and out of v₋ of each output `(n_outputs,)`."""
        return self._system.outputs.incidence @ currents

    def noise(self) -> NoiseCurrents:
        """Johnson noise of its conductances and shot noise of its diodes at the state, see `circuit.noise`."""
        return johnson_currents(self.circuit) + shot_currents(self.circuit, self.voltages)

    def noise_columns(self, frequency: float) -> Iterator[np.ndarray]:
        """What each noise current of √S makes of the nodes, `(n_nodes, ≤ 256)` at a time. [V/√Hz]"""
        noise = self.noise()
        for begin in range(0, len(noise), _COLUMNS):
            part = slice(begin, begin + _COLUMNS)
            into = incidence([(noise.first[part], noise.second[part])], self.circuit.n_nodes).toarray()
            yield self.response(into * np.sqrt(noise.density[part]), frequency)

    def read_noise(self, frequency: float, time: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Noise of each node's mean and of its amplitude in phase, read for a time [s], `(n_nodes,)` each. [V]

        Read over whole periods, white noise of two-sided density S gives means a variance S/T, and amplitudes of both
        phases 2S/T, all of them independent.
        """
        noise = self.noise()
        into = incidence([(noise.first, noise.second)], self.circuit.n_nodes)
        steady, leading, lagging = random.standard_normal((3, len(noise))) * np.sqrt(noise.density / time)
        mean = np.real(self.response((into @ steady)[:, None], 0.0)[:, 0])
        phasor = self.response((into @ (leading - 1j * lagging) * math.sqrt(2))[:, None], frequency)[:, 0]
        return mean, np.real(phasor)

    def require_slow(self, currents: np.ndarray, frequency: float, most: float) -> None:
        """Refuse a frequency at which the response in phase differs from that at rest.

        Parameters
        ----------
        currents : ndarray (n_nodes,)
            Into the nodes. [A]
        frequency : float
            [Hz]
        most : float
            Of the difference, over all nodes, relative to the response at rest.

        Raises
        ------
        StimulusError
            With the lag, and a frequency that is slow.
        """
        at_rest = self.response(currents[:, None], 0.0)
        scale = float(np.linalg.norm(at_rest))

        def off(there: float) -> float:
            return float(np.linalg.norm(np.real(self.response(currents[:, None], there) - at_rest)))

        if off(frequency) <= most * scale:
            return
        phasor = self.response(currents[:, None], frequency)
        lag = math.degrees(math.atan2(float(np.linalg.norm(np.imag(phasor))), float(np.linalg.norm(np.real(phasor)))))
        slow = frequency
        while off(slow) > most * scale:
            slow /= 2
        raise StimulusError(
            f"a sinusoidal nudge must be slow against the circuit's time constants, found a lag of {lag:.0f}° at "
            f"{frequency:.3g} Hz, and a response in phase that is {off(frequency) / scale:.1%} off the slow one; use a "
            f"frequency of at most {slow:.1e} Hz, or less capacitance"
        )
