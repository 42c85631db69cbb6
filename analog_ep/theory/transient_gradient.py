"""The stochastic rule in ngspice: noise generators at the nodes of the netlist, and two nudges under one noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Circuit, NoiseCurrents, VoltageLaw, energy_weights, injected_currents
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.errors import StimulusError
from analog_ep.learning.gradients.stochastic import GradientEstimate
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.networks import HardwareNetwork
from analog_ep.ngspice.transient_noise import transient_noise
from analog_ep.stimulus import Cost, Nudge, SquaredError
from analog_ep.theory.stationary import StochasticStudy, resistive_problem

_NUDGING = 3e-7
"""Weak enough for a bias of 0.1 %, strong enough that ngspice's tolerances do not show in the differences. [S]"""


def transient_gradient(
    network: HardwareNetwork,
    inputs: Tensor,
    target: Tensor,
    *,
    temperature: float,
    nudging: float,
    cost: Cost | None = None,
    capacitance: float = 1e-12,
    interval: float,
    samples: int,
    burn_in: int,
    n_copies: int = 64,
    seed: int = 1,
    options: SpiceOptions | None = None,
    executable: str | Path | None = None,
) -> GradientEstimate:
    r"""d⟨C⟩/dθ of one sample from ngspice's `.tran`, by the contrast of ±β.

    Parameters
    ----------
    network : HardwareNetwork
        Whose energy weights are all 1: feedback = gain, or no hidden layer.
    inputs, target : Tensor (n_inputs,), (n_outputs,)
        The sample. [V]
    temperature : float
        T_eff = S/(2c). [W]
    nudging : float
        β. [S]
    cost : Cost, optional
        C; by default `SquaredError`.
    capacitance : float
        c of every node. [F]
    interval, samples, burn_in, n_copies, seed, options, executable
        See `transient_noise`.

    Returns
    -------
    GradientEstimate
        With a block a copy.

    Raises
    ------
    StimulusError
        If the weights differ: the same noise at all nodes then has no one temperature.
    NgspiceError
        If ngspice fails.
    """
    cost = SquaredError() if cost is None else cost
    circuit = with_node_capacitance(network.circuit(), capacitance)
    require_one_temperature(circuit)
    goal = target.detach().double()

    def noise(of: Circuit) -> NoiseCurrents:
        return injected_currents(of, 2 * capacitance * temperature)

    found = transient_noise(
        circuit,
        inputs.detach().double().numpy(),
        noise,
        interval=interval,
        samples=samples,
        burn_in=burn_in,
        n_copies=n_copies,
        nudges=[Nudge(sign * nudging, goal, cost, "elastic") for sign in (-1, 1)],
        seed=seed,
        options=options,
        executable=executable,
    )
    estimate = _Estimate(network, inputs.detach().double(), goal, cost, nudging)
    return estimate.of(torch.from_numpy(found.voltages))


@dataclass(frozen=True, eq=False)
class _Estimate:
    """The contrast of ±β that reads of both phases give."""

    network: HardwareNetwork
    inputs: Tensor
    goal: Tensor
    cost: Cost
    nudging: float

    def of(self, voltages: Tensor) -> GradientEstimate:
        """From node voltages `(n_samples, 2, n_copies, n_nodes)`. [V]"""
        network, (samples, _, n_copies, _) = self.network, voltages.shape
        outputs = network.outputs_of(network.layers_of(voltages))
        negative, positive = (network.layers_of(voltages[:, phase].transpose(0, 1)) for phase in (0, 1))
        response = tuple(p - n for p, n in zip(positive, negative, strict=True))
        stimulus = self.inputs.expand(samples, -1)
        blocks: dict[str, list[Tensor]] = {}
        for k in range(n_copies):
            contrast = network.contrast(stimulus, tuple(n[k] for n in negative), tuple(r[k] for r in response))
            for name, value in contrast.items():
                blocks.setdefault(name, []).append(value * (network.parameter_scale / (2 * self.nudging * samples)))
        mean = self.cost.value(outputs, self.goal.expand_as(outputs)).mean()
        return GradientEstimate(mean, {name: torch.stack(values) for name, values in blocks.items()})


def require_one_temperature(circuit: Circuit) -> None:
    """Refuse circuits whose blocks have different weights of the energy."""
    weights = energy_weights(circuit).require()
    rows = [group.rows() for group in circuit.of_kind(VoltageLaw)]
    driven = [each.positive for each in rows if not each.is_independent]
    own = np.delete(weights, np.concatenate([np.zeros(0, np.int64), *driven]))
    if np.ptp(own) > 1e-9 * own.max():
        raise StimulusError(
            f"equal noise has one temperature where all weights of the energy are 1, found {own.min():.3g} to "
            f"{own.max():.3g}; set feedback = gain"
        )


def transient_study(
    networks: int = 4, *, samples: int = 1000, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> StochasticStudy:
    """The rule in ngspice on the resistive networks of `stochastic_study`, at 1 pF a node and 2 ns an interval.

    Parameters
    ----------
    networks : int
        How many.
    samples : int
        Times at which the 64 copies of a network are read.
    seed : int
        Of networks, samples and noise.
    progress : callable, optional
        Told after each network how many of how many are done.
    """
    cases = []
    for number in range(networks):
        problem = resistive_problem(number, seed)
        estimate = transient_gradient(
            problem.network,
            problem.inputs,
            problem.target,
            temperature=problem.temperature,
            nudging=_NUDGING,
            interval=2e-9,
            samples=samples,
            burn_in=200,
            seed=1 + 1000 * seed + number,
        )
        cases.append(problem.judge(estimate))
        if progress is not None:
            progress(number + 1, networks)
    return StochasticStudy(tuple(cases), "contrast, in ngspice")
