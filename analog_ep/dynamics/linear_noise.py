"""White noise in a linear circuit with capacitors: an Ornstein–Uhlenbeck process, without a step-size error."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve, expm, solve_continuous_lyapunov
from torch import Tensor

from analog_ep.circuit import ChargeLaw, Circuit, CurrentLaw
from analog_ep.circuit.noise import NoiseCurrents
from analog_ep.constants import BOLTZMANN
from analog_ep.equilibrium.nodal.assembly import incidence
from analog_ep.equilibrium.nodal.reduction import reduced_system
from analog_ep.errors import CircuitError


class LinearNoise:
    r"""Node voltages of a linear circuit under white noise currents, about their mean.

    .. math:: C \dot v = -G v + i(t), \qquad \langle i(t)\, i(t')^T \rangle = N\, δ(t - t')

    in the voltages of the nodes that no source and no amplifier holds. The stationary distribution is Gaussian with the
    covariance Σ of :math:`G Σ C + C Σ G^T = N`. Of Johnson noise in a passive circuit, N = 2 k_B T G, so that
    Σ = k_B T C⁻¹. Amplifiers, which are noiseless here, are no part of that theorem.

    Parameters
    ----------
    circuit : Circuit
        Without diodes, with a capacitor at every free node.
    currents : NoiseCurrents
        What drives it: `johnson_currents` or `injected_currents`.

    Attributes
    ----------
    nodes : tuple of str
        Names of the free nodes.
    capacitance, conductance, density : ndarray (n_free, n_free)
        C [F], G [S], N [A²/Hz].

    Raises
    ------
    CircuitError
        If the circuit has diodes, or a free node has no capacitance.
    """

    def __init__(self, circuit: Circuit, currents: NoiseCurrents):
        nonlinear = [group.label for group in circuit.of_kind(CurrentLaw) if not group.linear]
        if nonlinear:
            raise CircuitError(
                f"LinearNoise needs a linear circuit, found {nonlinear[0]} in {circuit.title!r}; "
                "follow it with transient_noise, or linearise it with output_noise"
            )
        system = reduced_system(circuit)
        if system.n_unknowns > system.n_voltages:
            raise CircuitError("LinearNoise takes grounded sources and amplifiers alone, found other sources")
        self._temperature = circuit.temperature
        law, expansion = system.law.toarray(), system.expansion.toarray()
        free = system.unknowns(np.arange(circuit.n_nodes)[None])[0].astype(np.int64)
        self.nodes = tuple(circuit.node_names[node] for node in free)
        self.conductance = system.matrix.toarray()
        groups = circuit.of_kind(ChargeLaw)
        branches = incidence([group.ends() for group in groups], circuit.n_nodes).toarray()
        farads = np.concatenate([np.zeros(0), *(group.capacitances() for group in groups)])
        self.capacitance = law @ (branches * farads) @ branches.T @ expansion
        carried = law @ incidence([(currents.first, currents.second)], circuit.n_nodes).toarray()
        self.density = (carried * currents.density) @ carried.T
        bare = np.flatnonzero(np.diag(self.capacitance) <= 0)
        if len(bare):
            raise CircuitError(
                f"LinearNoise needs a capacitor at every free node, found none at {self.nodes[bare[0]]}; "
                "see with_node_capacitance"
            )

    @property
    def _rates(self) -> np.ndarray:
        """C⁻¹ G. [1/s]"""
        return np.linalg.solve(self.capacitance, self.conductance)

    @property
    def _diffusion(self) -> np.ndarray:
        """C⁻¹ N C⁻ᵀ. [V²/s]"""
        half = np.linalg.solve(self.capacitance, self.density)
        return np.linalg.solve(self.capacitance, half.T)

    def covariance(self) -> np.ndarray:
        """Σ of the stationary distribution, from the noise of the branches by Lyapunov's equation. [V²]"""
        return solve_continuous_lyapunov(self._rates, self._diffusion)

    def equipartition(self, temperature: float | None = None) -> np.ndarray:
        """k_B T C⁻¹, for which no conductance is needed; T is by default the circuit's. [V²]"""
        kelvin = self._temperature if temperature is None else temperature
        return BOLTZMANN * kelvin * cho_solve(cho_factor(self.capacitance), np.eye(len(self.capacitance)))

    def time_constants(self) -> np.ndarray:
        """Times after which the circuit's modes decay to 1/e, in falling order. [s]"""
        return np.sort(1 / np.linalg.eigvals(self._rates).real)[::-1]

    def states(self, step: float, steps: int, chains: int = 1024, seed: int = 0) -> Iterator[Tensor]:
        """Voltages at times step, 2 step, …, each `(chains, n_free)`, of many circuits that begin at their mean. [V]

        Steps of any length are exact: with A = C⁻¹G a step multiplies by exp(−A step) and adds Gaussian noise with the
        covariance of what the currents do during it (C. F. Van Loan, IEEE Trans. Autom. Control 23:395–404, 1978).

        Parameters
        ----------
        step : float
            Time between states. [s]
        steps : int
            Number of states.
        chains : int
            Circuits, each with noise of its own.
        seed : int
            Of the noise.
        """
        decay, noise = (torch.from_numpy(matrix) for matrix in self._discretised(step))
        generator = torch.Generator().manual_seed(seed)
        state = torch.zeros(chains, len(self.nodes), dtype=torch.float64)
        for _ in range(steps):
            random = torch.randn(state.shape, generator=generator, dtype=state.dtype)
            state = state @ decay.mT + random @ noise.mT
            yield state

    def _discretised(self, step: float) -> tuple[np.ndarray, np.ndarray]:
        """exp(−A step), and a factor of the covariance of a step's noise."""
        n = len(self.nodes)
        block = np.zeros((2 * n, 2 * n))
        block[:n, :n], block[:n, n:], block[n:, n:] = self._rates, self._diffusion, -self._rates.T
        exponential = expm(block * step)
        decay = exponential[n:, n:].T
        covariance = decay @ exponential[:n, n:]
        values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
        return decay, vectors * np.sqrt(np.maximum(values, 0.0))
