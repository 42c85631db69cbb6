"""Equilibrium propagation with free and nudged state in one: a small sinusoidal nudge, and lock-in amplifiers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.circuit.reading import driven
from analog_ep.equilibrium.equilibrium import Equilibrium, Solver, solve
from analog_ep.equilibrium.oscillation import Oscillation, Swing
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import StimulusError
from analog_ep.learning.checkpoint import restore_generator
from analog_ep.learning.gradients.method import PhaseMethod, mean_gradients, positive_nudging
from analog_ep.learning.gradients.reading_noise import ReadingNoise, linearised_states, reading_noise
from analog_ep.networks import HardwareNetwork, Network, Question
from analog_ep.stimulus import Cost, Nudge


class LockInEquilibriumPropagation(PhaseMethod):
    r"""Equilibrium propagation while the network computes: nudges −β ∂C/∂o cos 2πft, all in phase, and lock-ins [1]_.

    Every branch shows two things at once: the mean of its voltage v̄, which is the free state, and the amplitude d of
    what goes as cos 2πft, the response to a nudge of full strength. With the energy's weights w as in
    `EquilibriumPropagation`,

    .. math:: \frac{dC}{dg} = \frac{w}{w_L} \frac{\bar v\, d}{β} .

    There is no free phase to wait for and nothing to store. The bias is O(β²), and O((2πfτ)²) of time constants τ: a
    frequency at which the response in phase is more than 1 % off that of a slow nudge is refused when the method first
    sees a network. Solvers of equilibria take the nudge to be slow, `Ngspice` runs a ``.tran`` over two periods of each
    sample.

    Parameters
    ----------
    network : Network
        What to train. One that is no circuit has no time constants, and no noise.
    nudging : float
        Amplitude β of the nudge; positive.
    oscillation : Oscillation, optional
        Frequency, node capacitance, and phases that are solved.
    cost : Cost, optional
        C; by default `SquaredError`.
    solver : Solver, optional
        By default that of the kind of network, `solver_of`.
    chip : Chip, optional
        Mismatch of the hardware that is trained.
    periods : int
        For how many periods every sample is read: T = periods/f.
    noise : bool
        Whether the readings have the Johnson and shot noise of the circuit, read for T; else none.
    snr : float, optional
        Least SNR, norm of the batch's gradient over that of its noise, see `reading_noise`; a shorter T is refused when
        the method first sees a network.
    seed : int
        Of the noise.

    Raises
    ------
    StimulusError
        If nudging or periods are not positive; on `gradients` if the frequency is too high, T too short, or a noise is
        asked for of a network that is no circuit.
    ConvergenceError
        On `gradients`, if a state was not found.

    References
    ----------
    .. [1] V. R. Anisetti, A. Kandala, B. Scellier and J. M. Schwarz, "Frequency Propagation: Multimechanism Learning in
       Nonlinear Physical Networks," Neural Comput. 36(4):596, 2024, arXiv:2208.08862: signals at one frequency, errors
       at another. Here the signals are constant, and the errors alone oscillate.
    """

    follows_cost = True

    def __init__(
        self,
        network: Network,
        nudging: float,
        oscillation: Oscillation | None = None,
        cost: Cost | None = None,
        solver: Solver | None = None,
        chip: Chip | None = None,
        *,
        periods: int = 1,
        noise: bool = False,
        snr: float | None = None,
        seed: int = 0,
    ):
        super().__init__(network, cost)
        self.nudging = positive_nudging(network, nudging)
        self.oscillation = Oscillation() if oscillation is None else oscillation
        self.solver = solver_of(network) if solver is None else solver
        self.chip, self.periods, self.noise, self.snr = chip, periods, noise, snr
        if periods < 1:
            raise StimulusError(f"a lock-in reads whole periods, one or more, found {periods}")
        self.generator = torch.Generator().manual_seed(seed)
        self._seen: Network | None = None

    @property
    def time(self) -> float:
        """T, for which every sample is read. [s]"""
        return self.periods / self.oscillation.frequency

    def _gradients(
        self, inputs: Tensor, targets: Tensor, free: Equilibrium | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        network = self.network
        inputs = driven(inputs, self.chip)
        free = solve(network, inputs, solver=self.solver, chip=self.chip) if free is None else free
        nudge = Nudge(self.nudging, targets.to(free.outputs), self.cost, "frozen")
        if self._seen is not network:
            network.answer(_Timing(inputs, nudge, self))
            self._seen = network
        swing = self.solver.swing(free, nudge, self.oscillation)
        if self.noise:
            swing = network.answer(_Noise(inputs, nudge, self, swing))
        contrast = network.contrast(inputs.to(free.outputs), swing.mean, swing.in_phase, linear=True)
        for value in contrast.values():
            value.div_(self.nudging)
        return self.cost.value(free.outputs, nudge.target).mean(), mean_gradients(network, contrast, inputs)

    def state(self) -> dict[str, Tensor]:
        return {"generator": self.generator.get_state()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        restore_generator(self.generator, state, "the noise of the readings")


def flattened(inputs: Tensor, nudge: Nudge) -> tuple[Tensor, Nudge]:
    """Inputs `(n_samples, n_inputs)` and the nudge towards their targets, float64."""
    target = nudge.target.double().cpu()
    flat = Nudge(nudge.strength, target.reshape(-1, target.shape[-1]), nudge.cost, nudge.kind)
    return inputs.double().cpu().reshape(-1, inputs.shape[-1]), flat


@dataclass(frozen=True, eq=False)
class _Timing(Question[None]):
    """Whether the frequency is slow, and the readings long enough for the SNR that is asked for."""

    inputs: Tensor
    nudge: Nudge
    method: LockInEquilibriumPropagation

    def network(self, network: Network) -> None:
        if self.method.snr is not None or self.method.noise:
            raise _no_circuit(network)

    def circuit(self, network: HardwareNetwork) -> None:
        method, (inputs, nudge) = self.method, flattened(self.inputs, self.nudge)
        if method.snr is None:
            first = Nudge(nudge.strength, nudge.target[:1], nudge.cost, nudge.kind)
            next(linearised_states(network, inputs[:1], first, method.oscillation, method.chip))
            return
        found = reading_noise(network, inputs, nudge, method.oscillation, method.chip)
        require_time(found, method.time, method.snr, method.oscillation.frequency)


def _no_circuit(network: Network) -> StimulusError:
    return StimulusError(f"the noise of readings needs a circuit, found a {type(network).__name__}; leave it out")


def require_time(noise: ReadingNoise, time: float, snr: float, frequency: float) -> None:
    """Refuse readings for a time [s] that is too short for an SNR.

    Raises
    ------
    StimulusError
        With the SNR that there is, and the time and the periods that it takes.
    """
    needed = noise.time(snr)
    if time < needed:
        raise StimulusError(
            f"readings must last {needed:.2g} s for an SNR of {snr:g}, found {time:.2g} s and an SNR of "
            f"{noise.snr(time):.2g}; read for {needed * frequency:.2g} periods, nudge more, or ask for less"
        )


@dataclass(frozen=True, eq=False)
class _Noise(Question[Swing]):
    """The readings with the noise of the circuit about each sample's free state."""

    inputs: Tensor
    nudge: Nudge
    method: LockInEquilibriumPropagation
    swing: Swing

    def network(self, network: Network) -> Swing:
        raise _no_circuit(network)

    def circuit(self, network: HardwareNetwork) -> Swing:
        method, (inputs, nudge) = self.method, flattened(self.inputs, self.nudge)
        seed = torch.randint(2**62, (), generator=method.generator)
        random, frequency = np.random.default_rng(int(seed)), method.oscillation.frequency
        states = linearised_states(network, inputs, nudge, method.oscillation, method.chip)
        drawn = [state.read_noise(frequency, method.time, random) for state, _ in states]
        parts = zip(zip(*drawn, strict=True), (self.swing.mean, self.swing.in_phase), strict=True)
        return Swing(*(_with_noise(network, np.stack(noise), layers) for noise, layers in parts))


def _with_noise(network: HardwareNetwork, noise: np.ndarray, layers: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Layers with the noise of the nodes `(n_samples, n_nodes)`. [V]"""
    own = network.layers_of(torch.from_numpy(noise))
    return tuple(layer + each.reshape(layer.shape).to(layer) for layer, each in zip(layers, own, strict=True))
