"""Solvers of whole circuits, in float64: how a network is put to them, and their states are read as its layers."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit, CurrentLaw, with_output_clamps
from analog_ep.circuit.adjoint import adjoint_network, asymmetric_circuit, asymmetric_weights
from analog_ep.equilibrium.equilibrium import Equilibrium, Solver
from analog_ep.equilibrium.layered.sweeps import Status
from analog_ep.equilibrium.oscillation import Oscillation, Swing
from analog_ep.errors import StimulusError
from analog_ep.networks.network import HardwareNetwork, Network, Question
from analog_ep.stimulus import Nudge

_SAME = 1e-6
"""Difference of two states, relative to the largest voltage, or to 1 V, at which they are one."""

_BENT = 0.5
"""Distance of a nudged response from the linear one, relative to that, from which it says nothing of a gradient."""

_ELSEWHERE = "rest at another equilibrium of the corrected circuit than the free state; solve with Newton"
_TOO_LARGE = (
    'respond otherwise than to a small nudge; use a smaller nudging, or variant = "vanishing", which needs none'
)


@dataclass(frozen=True, eq=False)
class CircuitState:
    """What the solvers of a whole circuit find, before it is read as layers.

    Attributes
    ----------
    voltages : ndarray (n_samples, n_nodes)
        Node voltages, ground first. [V]
    converged : ndarray (n_samples,)
        Bool.
    residual : ndarray (n_samples,)
        Largest Kirchhoff residual over the free nodes. [A]
    iterations : int
        Iterations taken, or analyses run.
    message : str
        The status in a sentence.
    error_bound : ndarray (n_samples,)
        Most that a node's voltage is off, see `Equilibrium.voltage_error_bound`. [V]
    """

    voltages: np.ndarray
    converged: np.ndarray
    residual: np.ndarray
    iterations: int
    message: str
    error_bound: np.ndarray


class CircuitSolver(Solver):
    """A solver that works on any `Circuit`; subclasses give `solve_circuit`."""

    in_float64 = True

    @abstractmethod
    def solve_circuit(
        self,
        circuit: Circuit,
        inputs: np.ndarray,
        nudge: Nudge | None = None,
        free_outputs: np.ndarray | None = None,
        start: np.ndarray | None = None,
    ) -> CircuitState:
        """Solve one circuit for a flat batch.

        Parameters
        ----------
        circuit : Circuit
            Checked by the solver before it runs.
        inputs : ndarray (n_samples, n_inputs)
            Inputs. [V]
        nudge : Nudge, optional
            With targets `(n_samples, n_outputs)`, float64.
        free_outputs : ndarray (n_samples, n_outputs), optional
            Differential outputs of the free state; required for a frozen nudge. [V]
        start : ndarray (n_samples, n_nodes), optional
            Voltages to begin from, where the method can use them. [V]
        """

    def solve(
        self,
        system: Network | Circuit,
        inputs: Tensor,
        nudge: Nudge | None = None,
        free: Equilibrium | None = None,
        chip: Chip | None = None,
    ) -> Equilibrium:
        hardware, circuit = _hardware_of(system), circuit_of(system)
        circuit = circuit if chip is None else chip.apply(circuit)
        batch = inputs.shape[:-1]
        flat = inputs.detach().reshape(batch.numel(), inputs.shape[-1]).to("cpu", torch.float64)
        free_outputs = start = None
        flat_nudge = nudge
        if nudge is not None:
            if free is None and nudge.kind == "frozen":
                free = self.solve(system, inputs, chip=chip).require_converged()
            target = nudge.target.detach().to("cpu", torch.float64)
            flat_nudge = Nudge(nudge.strength, target.reshape(-1, target.shape[-1]), nudge.cost, nudge.kind)
            flat_nudge = flat_nudge if hardware is None else hardware.in_circuit(flat_nudge)
        if free is not None:
            free_outputs = free.outputs.detach().to("cpu", torch.float64).reshape(len(flat), -1).numpy()
            start = free.voltages.detach().to("cpu", torch.float64).reshape(len(flat), -1).numpy()
        state = self.solve_circuit(circuit, flat.numpy(), flat_nudge, free_outputs, start)
        voltages = torch.from_numpy(state.voltages).reshape(*batch, circuit.n_nodes).to(inputs.device)
        layers = () if hardware is None else hardware.layers_of(voltages)
        return Equilibrium(
            system=system,
            inputs=inputs,
            layers=layers,
            outputs=_outputs(circuit, voltages),
            converged=torch.from_numpy(state.converged).reshape(batch).to(inputs.device),
            residual=torch.from_numpy(state.residual).reshape(batch).to(inputs.device),
            iterations=state.iterations,
            message=state.message,
            nudge=nudge,
            chip=chip,
            node_voltages=lambda: voltages,
            error_bounds=lambda: torch.from_numpy(state.error_bound).reshape(batch).to(inputs.device),
        )

    def own_operating_point(self, circuit: Circuit, inputs: np.ndarray) -> CircuitState | None:
        """The states at which it linearises, where it searches for them from nothing; None where they are given."""
        return None

    def solve_small_signal(
        self, circuit: Circuit, inputs: np.ndarray, voltages: np.ndarray, currents: np.ndarray
    ) -> np.ndarray:
        """Response of the nodes `(n_samples, n_nodes)` [V] to small currents into the outputs; NaN where there is none.

        Parameters
        ----------
        circuit : Circuit
            As `solve_circuit` takes it.
        inputs : ndarray (n_samples, n_inputs)
            Inputs. [V]
        voltages : ndarray (n_samples, n_nodes)
            The free state. [V]
        currents : ndarray (n_samples, n_outputs)
            Into v₊ and out of v₋. [A]
        """
        raise StimulusError(f"{type(self).__name__} does not linearise its states; use Newton or Ngspice")

    def small_signal(self, free: Equilibrium, error: Tensor) -> tuple[tuple[Tensor, ...], Status]:
        circuit, hardware = _circuit_of(free), _hardware_of(free.system)
        scale = 1.0 if hardware is None else hardware.nudge_scale
        arrays = (_flat(values).numpy() for values in (free.inputs, free.voltages, scale * error))
        return _as_response(free, self.solve_small_signal(circuit, *arrays))

    def solve_adjoint(self, circuit: Circuit, voltages: np.ndarray, currents: np.ndarray) -> np.ndarray:
        """Voltages of the adjoint network's nodes `(n_samples, n_nodes)` [V], arguments as of `solve_small_signal`."""
        found = np.empty_like(voltages)
        is_linear = all(law.linear for law in circuit.of_kind(CurrentLaw))
        # Without nonlinear branches one network serves all operating points.
        for at in [slice(None)] if is_linear else [slice(i, i + 1) for i in range(len(voltages))]:
            network = adjoint_network(circuit, voltages[at][0])
            count = len(currents[at])
            rest = np.zeros((count, 0)), np.zeros((count, network.n_nodes))
            found[at] = self.solve_small_signal(network, *rest, currents[at])[:, : circuit.n_nodes]
        return found

    def adjoint(self, free: Equilibrium, error: Tensor) -> tuple[tuple[Tensor, ...], Status]:
        circuit = _circuit_of(free)
        return _as_response(free, self.solve_adjoint(circuit, _flat(free.voltages).numpy(), _flat(error).numpy()))

    def asymmetric(
        self, free: Equilibrium, error: Tensor, nudge: Nudge | None = None
    ) -> tuple[tuple[Tensor, ...], Status]:
        circuit, weights = _circuit_of(free), asymmetric_weights(circuit_of(free.system))
        voltages, outputs, currents = (_flat(values).numpy() for values in (free.voltages, free.outputs, error))
        targets = None if nudge is None else _flat(nudge.target)
        response, reason = np.empty_like(voltages), ""
        for i, volts in enumerate(voltages):
            # What the correction holds is the free state of the sample: each has a circuit of its own.
            corrected = asymmetric_circuit(circuit, volts, weights)
            start, rest = np.zeros((1, corrected.n_nodes)), np.zeros((1, 0))
            start[0, : len(volts)] = volts
            searched = self.own_operating_point(corrected, rest)
            if searched is not None and not _stays(searched, volts):
                response[i], reason = np.nan, _ELSEWHERE
                continue
            if nudge is None or targets is None:
                response[i] = self.solve_small_signal(corrected, rest, start, currents[i : i + 1])[0, : len(volts)]
                continue
            own = Nudge(nudge.strength, targets[i : i + 1], nudge.cost, nudge.kind)
            drive = own.current(torch.from_numpy(outputs[i : i + 1])).numpy()
            expected = self.solve_small_signal(corrected, rest, start, drive)[0, : len(volts)]
            state = self.solve_circuit(corrected, rest, own, outputs[i : i + 1], start)
            response[i] = np.where(state.converged[0], state.voltages[0, : len(volts)] - volts, np.nan)
            if not np.abs(response[i] - expected).max() <= _BENT * np.abs(expected).max():
                response[i], reason = np.nan, _TOO_LARGE
        return _as_response(free, response, reason)

    def clamped(self, free: Equilibrium, change: Tensor) -> tuple[tuple[Tensor, ...], Status]:
        circuit = with_output_clamps(_circuit_of(free))
        held = self.solve(circuit, torch.cat([free.inputs.to(free.outputs), free.outputs + change], -1))
        layers = _layers(free.system, held.voltages[..., : free.voltages.shape[-1]])
        response = tuple(clamped - before for clamped, before in zip(layers, _layers_of(free), strict=True))
        done = bool(held.converged.all())
        return response, Status(held.converged, held.residual, held.iterations, held.message, complete=done)

    def solve_swing(
        self, circuit: Circuit, inputs: np.ndarray, currents: np.ndarray, oscillation: Oscillation
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Means and in-phase amplitudes of the nodes, each `(n_samples, n_nodes)` [V], by a run over time.

        None where there is none, and equilibria at several phases stand for it; arguments as of `solve_small_signal`.
        """
        return None

    def swing(self, free: Equilibrium, nudge: Nudge, oscillation: Oscillation) -> Swing:
        circuit, hardware = _circuit_of(free), _hardware_of(free.system)
        currents = (nudge if hardware is None else hardware.in_circuit(nudge)).current(free.outputs)
        found = self.solve_swing(circuit, _flat(free.inputs).numpy(), _flat(currents).numpy(), oscillation)
        if found is None:
            return super().swing(free, nudge, oscillation)
        batch = free.inputs.shape[:-1]
        mean, in_phase = (torch.from_numpy(each).reshape(*batch, -1).to(free.outputs) for each in found)
        return Swing(_layers(free.system, mean), _layers(free.system, in_phase))


def _flat(values: Tensor) -> Tensor:
    """Float64 on the CPU, `(n_samples, n)`."""
    return values.detach().reshape(-1, values.shape[-1]).to("cpu", torch.float64)


def _stays(state: CircuitState, volts: np.ndarray) -> bool:
    """Whether a corrected circuit, solved from nothing, rests at the free state."""
    off = np.abs(state.voltages[0, : len(volts)] - volts).max()
    return bool(state.converged[0]) and off <= _SAME * max(float(np.abs(volts).max()), 1.0)


def _as_response(free: Equilibrium, found: np.ndarray, reason: str = "") -> tuple[tuple[Tensor, ...], Status]:
    """Changes of all nodes `(n_samples, n_nodes)` [V], NaN where there are none, as layers."""
    batch, values = free.inputs.shape[:-1], torch.from_numpy(found)
    solved = torch.isfinite(values).all(-1).reshape(batch)
    missed = int((~solved).sum())
    message = f"{missed} samples {reason or 'have a singular Jacobian, or no solution'}" if missed else "linearised"
    response = values.reshape(*batch, values.shape[-1]).to(free.outputs)
    return _layers(free.system, response), Status(solved, torch.zeros(batch), 1, message, complete=not missed)


def _circuit_of(free: Equilibrium) -> Circuit:
    circuit = circuit_of(free.system)
    return circuit if free.chip is None else free.chip.apply(circuit)


def _layers(system: Network | Circuit, voltages: Tensor) -> tuple[Tensor, ...]:
    """Layers of a network; of a bare circuit its one set of nodes."""
    hardware = _hardware_of(system)
    return (voltages,) if hardware is None else hardware.layers_of(voltages)


def _layers_of(free: Equilibrium) -> tuple[Tensor, ...]:
    return (free.voltages,) if isinstance(free.system, Circuit) else free.layers


def circuit_of(system: Network | Circuit) -> Circuit:
    """The circuit that a system is.

    Raises
    ------
    StimulusError
        If it is a network of no circuit.
    """
    return system if isinstance(system, Circuit) else system.answer(_Hardware()).circuit()


def _hardware_of(system: Network | Circuit) -> HardwareNetwork | None:
    """The network whose circuit is solved; None for a bare one."""
    return None if isinstance(system, Circuit) else system.answer(_Hardware())


class _Hardware(Question[HardwareNetwork]):
    def network(self, network: Network) -> HardwareNetwork:
        raise StimulusError(
            f"a circuit solver needs a network that is a circuit, found a {type(network).__name__}; "
            "use a solver of its own"
        )

    def circuit(self, network: HardwareNetwork) -> HardwareNetwork:
        return network


def _outputs(circuit: Circuit, voltages: Tensor) -> Tensor:
    if circuit.outputs is None:
        return voltages[..., :0]
    positive, negative = (torch.from_numpy(index) for index in circuit.outputs)
    return voltages[..., positive] - voltages[..., negative]
