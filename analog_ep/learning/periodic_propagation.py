"""Gradients of periodic steady states with nonlinear elements, from transients in ngspice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Circuit, CurrentLaw, VoltageLaw, check_circuit
from analog_ep.errors import CircuitError, StimulusError
from analog_ep.networks.rlc_network import RLCNetwork
from analog_ep.ngspice.periodic import Driven, Period, Tone, Waveform, periodic_steady_state

Rule = Literal["adjoint", "nudged"]


class PeriodicPropagation:
    r"""Learning from waveforms: :math:`C = \frac12 \langle \sum (o(t) - y(t))^2 \rangle` over a period [V²].

    A circuit of capacitors, inductors and elements with a co-content obeys :math:`K \dot x + F(x) = s(t)`. With v the
    free voltage of an element of admittance y(ω) and λ that in a second transient, both over a period, the gradient is
    taken to be

    .. math:: \frac{dC}{dp} = \sum_ω \mathrm{Re}\, \frac{∂y(ω)}{∂p} V(ω)\, \overline{Λ(ω)} ,

    ⟨v λ⟩ of a conductance and ⟨v̇ λ⟩ of a capacitance, in which λ comes from one of two rules.

    - "adjoint", exact: λ obeys :math:`-K \dot λ + F'(x(t))^T λ = -∂C/∂x`, which runs backwards in time [1]_. Played
      backwards it is a circuit again: the same with its sources off, slopes of the free phase's diodes as conductances
      that change in time, and the error's current, all of them from their ends to their beginnings.
    - "nudged": λ is the response of the circuit itself to β times the error's current, over β, in forward time. That is
      equilibrium propagation as hardware would do it. It is exact for slow inputs alone: what does not settle within a
      period is off by O(ωτ).

    Parameters
    ----------
    network : RLCNetwork
        What learns; its circuit has two-terminal elements and independent sources.
    period : Period
        How it is followed.
    rule : "adjoint" or "nudged"
        Which λ.
    nudging : float
        β > 0 of the nudged rule. [S]
    executable, timeout
        See `run_ngspice`.

    Raises
    ------
    CircuitError
        If an element is controlled by voltages elsewhere, or there are no outputs.
    StimulusError
        If the nudging is not positive.

    References
    ----------
    .. [1] S. W. Director and R. A. Rohrer, "The generalized adjoint network and network sensitivities," IEEE Trans.
       Circuit Theory 16:318, 1969, doi:10.1109/TCT.1969.1082965.
    """

    def __init__(
        self,
        network: RLCNetwork,
        period: Period,
        rule: Rule = "adjoint",
        nudging: float = 1e-6,
        executable: str | Path | None = None,
        timeout: float | None = 600.0,
    ):
        if not 0 < nudging < float("inf") or rule not in ("adjoint", "nudged"):
            raise StimulusError(f"a rule must be adjoint, or nudged with a positive β, found {rule!r} and {nudging}")
        self.network, self.period, self.rule, self.nudging = network, period, rule, nudging
        self.executable, self.timeout = executable, timeout
        _require_two_terminals(network.circuit())

    def free(self, tones: Sequence[Tone]) -> np.ndarray:
        """Voltages of all nodes over a period, `(points, n_nodes)`; see `periodic_steady_state`. [V]"""
        return self._run(Driven(self.network.circuit(), tones))

    def outputs(self, voltages: np.ndarray) -> np.ndarray:
        """Differential outputs over a period, `(points, n_outputs)`. [V]"""
        positive, negative = _outputs(self.network.circuit())
        return voltages[:, positive] - voltages[:, negative]

    def gradients(self, tones: Sequence[Tone], targets: np.ndarray) -> tuple[Tensor, dict[str, Tensor]]:
        """Cost, and its gradient by every parameter θ = p/p_ref, by name.

        Parameters
        ----------
        tones : sequence of Tone
            At the inputs.
        targets : ndarray (points, n_outputs)
            Waveforms of the outputs at the period's times. [V]

        Raises
        ------
        StimulusError
            If targets or tones do not fit, or a state is not periodic.
        NgspiceError
            If ngspice fails.
        """
        circuit, free = self.network.circuit(), self.free(tones)
        error = self.outputs(free) - self._targets(targets)
        second = self._backwards(circuit, free, -error) if self.rule == "adjoint" else self._nudged(tones, free, -error)
        return torch.tensor(0.5 * np.square(error).sum(1).mean()), self._contrast(free, second)

    def backward(self, tones: Sequence[Tone], targets: np.ndarray) -> Tensor:
        """Add the gradient to each parameter's `.grad` and return the cost, a scalar."""
        cost, gradients = self.gradients(tones, targets)
        for name, gradient in gradients.items():
            parameter = self.network.get_parameter(name)
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return cost

    def _targets(self, targets: np.ndarray) -> np.ndarray:
        shape = (self.period.points, self.network.circuit().n_outputs)
        if np.shape(targets) != shape or not np.isfinite(targets).all():
            raise StimulusError(f"targets must be finite and of shape {shape}, found shape {np.shape(targets)}")
        return np.asarray(targets)

    def _run(self, driven: Driven) -> np.ndarray:
        return periodic_steady_state(driven, self.period, executable=self.executable, timeout=self.timeout)

    def _nudged(self, tones: Sequence[Tone], free: np.ndarray, current: np.ndarray) -> np.ndarray:
        circuit = self.network.circuit()
        return (self._run(Driven(circuit, tones, _into(circuit, self.nudging * current))) - free) / self.nudging

    def _backwards(self, circuit: Circuit, free: np.ndarray, current: np.ndarray) -> np.ndarray:
        linear, slopes = [], []
        for group in circuit.groups:
            bent = [law for law in _nonlinear(circuit) if law in group.parts()]
            if not bent:
                linear.append(group)
            for part in bent:
                first, second = part.ends()
                siemens = part.slopes(free[:, first] - free[:, second])[0]
                rows = zip(first.tolist(), second.tolist(), _reversed(siemens).T, strict=True)
                slopes += [Waveform(*row) for row in rows]
        driven = Driven(circuit.with_groups(linear), (), _into(circuit, _reversed(current)), slopes, at_rest=True)
        return _reversed(self._run(driven))

    def _contrast(self, free: np.ndarray, second: np.ndarray) -> dict[str, Tensor]:
        points = self.period.points
        omega = 2 * np.pi * np.fft.fftfreq(points, self.period.seconds / points)[:, None]
        # A constant voltage tells nothing of what stores energy: across an inductor there is none.
        still, omega[0] = omega[0] == 0, 1.0
        gradients = {name: torch.zeros_like(theta) for name, theta in self.network.named_parameters()}
        for tuned, present in self.network.tuned():
            p, n = present.ends()
            v, d = (np.fft.fft(each[:, p] - each[:, n], axis=0) / points for each in (free, second))
            slope = present.admittance_slope(omega)
            slope[0] = np.where(still, slope[0].real, slope[0])
            each = torch.from_numpy((slope * v * d.conj()).real.sum(0))
            scale = self.network.references[tuned.parameter][tuned.index]
            gradients[tuned.parameter].index_add_(0, tuned.index, each * scale)
        return gradients


def _reversed(wave: np.ndarray) -> np.ndarray:
    """Of a period from its end to its beginning, which stays at time 0."""
    return np.roll(wave[::-1], 1, axis=0)


def _outputs(circuit: Circuit) -> tuple[np.ndarray, np.ndarray]:
    if circuit.outputs is None:
        raise CircuitError(f"waveforms need outputs, found none in {circuit.title!r}; declare them with set_outputs")
    return circuit.outputs


def _into(circuit: Circuit, current: np.ndarray) -> list[Waveform]:
    """Currents `(points, n_outputs)` into v₊ and out of v₋. [A]"""
    return [Waveform(n, p, wave) for p, n, wave in zip(*_outputs(circuit), current.T, strict=True)]


def _nonlinear(circuit: Circuit) -> list[CurrentLaw]:
    return [group for group in circuit.of_kind(CurrentLaw) if not group.linear]


def _require_two_terminals(circuit: Circuit) -> None:
    check_circuit(circuit)
    _outputs(circuit)
    for group in [*circuit.of_kind(CurrentLaw), *circuit.of_kind(VoltageLaw)]:
        if len(group) and (group.is_controlled() or group.irreciprocity()):
            raise CircuitError(
                f"{group.label}: periodic steady states learn with elements of two terminals and independent sources, "
                f"found {type(group).__name__}"
            )
