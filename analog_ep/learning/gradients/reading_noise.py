"""How noisy a gradient is that lock-in amplifiers read, and for how long they have to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit
from analog_ep.circuit.energy import branch_weights, contrast_weights, held_nodes, output_weight
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.dynamics.linearised import Linearised
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.equilibrium.oscillation import Oscillation
from analog_ep.errors import StimulusError
from analog_ep.networks import HardwareNetwork
from analog_ep.stimulus import Nudge

MOST_OFF = 0.01
"""Most that a response in phase may be off that of a slow nudge."""


@dataclass(frozen=True, eq=False)
class ReadingNoise:
    r"""Signal and noise of a gradient that is read for a time T: its variance is :math:`a/T + b/T^2`.

    The gradient of a conductance is w v̄ d/β of the mean v̄ of its voltage and its amplitude d. With S the two-sided
    density of the voltage's noise, at rest S₀ and at the nudge's frequency S₁, both white over 1/T,

    .. math:: \mathrm{Var} = \frac{w^2}{β^2} \left[ \frac{2 \bar v^2 S_1 + d^2 S_0}{T} + \frac{2 S_0 S_1}{T^2} \right] ;

    elements that share a parameter add up with their correlations in a, without them in b.

    Attributes
    ----------
    gradient : dict of str to Tensor (n_parameters,)
        dC/dg without noise, mean over the samples. [C/S]
    white, product : dict of str to Tensor (n_parameters,)
        a [C² s/S²] and b [C² s²/S²] of each, each sample read for T.
    """

    gradient: dict[str, Tensor]
    white: dict[str, Tensor]
    product: dict[str, Tensor]

    def variance(self, time: float) -> dict[str, Tensor]:
        """Of each parameter's gradient, read for a time [s] in every sample. [C²/S²]"""
        return {name: white / time + self.product[name] / time**2 for name, white in self.white.items()}

    def snr(self, time: float) -> float:
        """Norm of the gradient over the root of the sum of all variances."""
        return _norm(self.gradient) / math.sqrt(sum(float(each.sum()) for each in self.variance(time).values()))

    def time(self, snr: float) -> float:
        """For how long every sample is to be read for an SNR. [s]

        Raises
        ------
        StimulusError
            If the SNR is not positive, or the gradient is zero.
        """
        signal = _norm(self.gradient)
        if not 0 < snr < math.inf or not signal > 0:
            raise StimulusError(f"an SNR must be positive, and the gradient not zero, found {snr} and {signal:.3g}")
        a, b = (sum(float(each.sum()) for each in part.values()) for part in (self.white, self.product))
        # Of T² − (s/‖g‖)² (a T + b) = 0 the positive root.
        half = a * (snr / signal) ** 2 / 2
        return half + math.sqrt(half**2 + b * (snr / signal) ** 2)


def reading_noise(
    network: HardwareNetwork, inputs: Tensor, nudge: Nudge, oscillation: Oscillation, chip: Chip | None = None
) -> ReadingNoise:
    """Noise of the gradient by Johnson and shot noise at every sample's free state, linearised there.

    Parameters
    ----------
    network : HardwareNetwork
        With trainable conductances.
    inputs : Tensor (n_samples, n_inputs)
        Inputs. [V]
    nudge : Nudge
        Strength and targets `(n_samples, n_outputs)`.
    oscillation : Oscillation
        Frequency and capacitance.
    chip : Chip, optional
        The hardware.

    Raises
    ------
    StimulusError
        If nothing that learns is a conductance, or the frequency is too high: see `Linearised.require_slow`.
    CircuitError, DeviceParameterError
        If some noise is not known.
    ConvergenceError
        If a state was not found.
    """
    total: dict[str, np.ndarray] = {}
    for state, into in linearised_states(network, inputs, nudge, oscillation, chip):
        branches = _branches(state.circuit)
        if not branches:
            title = state.circuit.title
            raise StimulusError(f"a noise of readings needs trainable conductances, found none in {title!r}")
        response = np.real(state.response(into[:, None], oscillation.frequency)[:, 0])
        columns = [
            (swung, np.real(still))
            for swung, still in zip(state.noise_columns(oscillation.frequency), state.noise_columns(0.0), strict=True)
        ]
        for branch in branches:
            own = branch.reading(state.voltages, response, columns, nudge.strength * len(inputs))
            total[branch.parameter] = total[branch.parameter] + own if branch.parameter in total else own
    rows = ({name: torch.from_numpy(each[i].copy()) for name, each in total.items()} for i in range(3))
    return ReadingNoise(*rows)


def linearised_states(
    network: HardwareNetwork, inputs: Tensor, nudge: Nudge, oscillation: Oscillation, chip: Chip | None = None
) -> Iterator[tuple[Linearised, np.ndarray]]:
    """The circuit about the free state of each sample, and its nudge's currents into the nodes `(n_nodes,)`. [A]

    Arguments and errors as of `reading_noise`.
    """
    circuit = with_node_capacitance(network.as_built().circuit(chip), oscillation.capacitance)
    free = solve(circuit, inputs, solver=Newton())
    currents = network.in_circuit(nudge).current(free.outputs)
    for sample, voltages, amplitude in zip(inputs.double(), free.voltages, currents.double(), strict=True):
        state = Linearised(circuit, sample.cpu().numpy(), voltages.cpu().numpy())
        drive = state.into_outputs(amplitude.cpu().numpy())
        state.require_slow(drive, oscillation.frequency, MOST_OFF)
        yield state, drive


@dataclass(frozen=True, eq=False)
class _Branches:
    """Trainable branches that share a parameter: ends, weights w/w_L, and places in it."""

    parameter: str
    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray
    index: np.ndarray

    @property
    def size(self) -> int:
        return int(self.index.max(initial=-1)) + 1

    def across(self, nodes: np.ndarray) -> np.ndarray:
        """Voltages across the branches from those of the nodes."""
        return nodes[self.first] - nodes[self.second]

    def summed(self, values: np.ndarray) -> np.ndarray:
        """Values `(n_branches, …)` of the elements that share a place, added up."""
        total = np.zeros((self.size, *values.shape[1:]), values.dtype)
        np.add.at(total, self.index, values)
        return total

    def reading(
        self, free: np.ndarray, response: np.ndarray, columns: list[tuple[np.ndarray, np.ndarray]], divisor: float
    ) -> np.ndarray:
        """Gradient, a and b of one sample's share `(3, size)`, see `ReadingNoise`.

        Parameters
        ----------
        free, response : ndarray (n_nodes,)
            Means and amplitudes. [V]
        columns : list of pairs of ndarray (n_nodes, n_currents)
            What noise currents make of the nodes at the nudge's frequency and at rest, part by part. [V/√Hz]
        divisor : float
            β times the number of samples.
        """
        share = self.weight / divisor
        v, d = self.across(free), self.across(response)
        total, spread = np.zeros((3, self.size)), np.zeros((2, len(v)))
        total[0] = self.summed(share * v * d)
        for swung, still in columns:
            u, c = self.across(swung), self.across(still)
            total[1] += 2 * (np.abs(self.summed((share * v)[:, None] * u)) ** 2).sum(1)
            total[1] += (self.summed((share * d)[:, None] * c) ** 2).sum(1)
            spread += (np.abs(u) ** 2).sum(1), (c**2).sum(1)
        total[2] = self.summed(2 * share**2 * spread[0] * spread[1])
        return total


def _branches(circuit: Circuit) -> list[_Branches]:
    weights, held = contrast_weights(circuit), held_nodes(circuit)
    output = output_weight(circuit, weights)
    groups: dict[str, list[tuple[np.ndarray, ...]]] = {}
    for group, name, index in circuit.trained_groups():
        own = branch_weights(group, weights, held) / output
        groups.setdefault(name, []).append((*group.ends(), own, index))
    return [_Branches(name, *map(np.concatenate, zip(*parts, strict=True))) for name, parts in groups.items()]


def _norm(gradient: dict[str, Tensor]) -> float:
    return math.sqrt(sum(float(each.square().sum()) for each in gradient.values()))
