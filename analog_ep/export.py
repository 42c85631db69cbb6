"""From a network to a netlist on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import ChargeLaw, Chip, Circuit
from analog_ep.circuit.adjoint import asymmetric_circuit, asymmetric_weights
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.dynamics.time_constants import slowest_time_constant
from analog_ep.equilibrium import Equilibrium, Newton, solve
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import StimulusError
from analog_ep.netlist.adjoint_deck import write_adjoint_deck
from analog_ep.netlist.deck import Phase, save_deck, write_deck
from analog_ep.netlist.dialects import DialectName
from analog_ep.netlist.samples_deck import write_samples_deck
from analog_ep.netlist.settling_deck import write_settling_deck
from analog_ep.netlist.timing import TwoPhaseTiming
from analog_ep.netlist.transient_deck import USUAL_SHARE, usual_rate, write_transient_deck
from analog_ep.networks import ConductanceNetwork, HardwareNetwork, Network, Question, UnitNetwork
from analog_ep.stimulus import Nudge, as_tensor

_SETTLED = 25.0
"""Time constants after which 1e-11 of a change is left."""

_UNIT_SETTLED = 40.0
"""The same of a unit alone, whose neighbours slow it down."""


def write_netlist(
    system: HardwareNetwork | Circuit,
    inputs: Tensor,
    nudge: Nudge | None = None,
    *,
    path: str | Path,
    phase: Phase | None = None,
    chip: Chip | None = None,
    dialect: DialectName = "ngspice",
) -> Path:
    """Write one sample as a deck that runs in a simulator alone, plain ``ngspice -b FILE``; see `write_deck`.

    The currents of a frozen nudge are taken from the free state, which is solved for here; on a chip from what its
    converters read of it, without noise. Inputs are what its DACs drive. A Hopfield network has several equilibria:
    the deck begins at the free state that PyTorch comes to from rest, by ``.nodeset``.

    Parameters
    ----------
    system : HardwareNetwork or Circuit
        What to write.
    inputs : Tensor (n_inputs,)
        Inputs of one sample. [V]
    nudge : Nudge, optional
        With a target `(n_outputs,)`; of a Hopfield network with a strength without unit, as everywhere.
    path : str or Path
        The file, written whole or not at all; it is returned.
    phase : "free", "nudged" or "both", optional
        By default "both" with a nudge and "free" without.
    chip : Chip, optional
        Mismatch of the hardware.
    dialect : str
        The simulator to write for: "ngspice", "xyce", "ltspice", "hspice", "spectre", "gnucap" or "vacask".

    Raises
    ------
    StimulusError
        If inputs or targets do not fit.
    ConvergenceError
        If the free state was not reached.
    """
    phase = phase or ("free" if nudge is None else "both")
    circuit, free = _free_state(system, inputs, chip)
    outputs, start = free.outputs, None
    if not isinstance(system, Circuit):
        outputs = system.outputs_of(system.read(free.layers, chip))
        start = free.voltages.numpy() if system.several_minima else None
        nudge = None if nudge is None else system.in_circuit(nudge)
    deck = write_deck(circuit, free.inputs, nudge, outputs, phase, dialect=dialect, start=start)
    save_deck(deck, Path(path))
    return Path(path)


def write_samples_netlist(
    system: HardwareNetwork | Circuit,
    inputs: Tensor,
    *,
    path: str | Path,
    targets: Tensor | None = None,
    chip: Chip | None = None,
) -> Path:
    """Write samples in turn as one deck for plain ``ngspice -b FILE``, a row of outputs each; see `write_samples_deck`.

    Parameters
    ----------
    system : HardwareNetwork or Circuit
        What to write, of one equilibrium for each sample.
    inputs : Tensor (n_samples, n_inputs)
        Inputs of the samples. [V]
    path : str or Path
        The file, written whole or not at all; it is returned.
    targets : Tensor (n_samples, n_targets), optional
        What the outputs should be, for the deck's header.
    chip : Chip, optional
        Mismatch of the hardware.

    Raises
    ------
    StimulusError
        If shapes do not fit, or the network has several equilibria: a sweep goes on from the last sample's.
    ConvergenceError
        If a free state was not reached.
    """
    if not isinstance(system, Circuit) and system.several_minima:
        raise StimulusError(
            "a deck of several samples needs a network with one equilibrium each, found one with several minima; "
            "write one sample by `write_netlist`"
        )
    circuit, free = _free_state(system, inputs, chip)
    save_deck(write_samples_deck(circuit, free.inputs, targets), Path(path))
    return Path(path)


def write_adjoint_netlist(
    system: HardwareNetwork | Circuit,
    inputs: Tensor,
    nudge: Nudge,
    *,
    path: str | Path,
    chip: Chip | None = None,
    dialect: DialectName = "ngspice",
) -> Path:
    """Write the adjoint network of one sample as a deck that prints the exact gradient; see `write_adjoint_deck`.

    The free state, at which the network is linear, is solved for here.

    Parameters
    ----------
    system : HardwareNetwork or Circuit
        What to write: any circuit with conductances or gate voltages that learn.
    inputs : Tensor (n_inputs,)
        Inputs of one sample. [V]
    nudge : Nudge
        With a target `(n_outputs,)`: the drive is its strength times -∂C/∂o, and the gradient is divided by it.
    path : str or Path
        The file, written whole or not at all; it is returned.
    chip : Chip, optional
        Mismatch of the hardware, which its adjoint network has, too.
    dialect : str
        The simulator to write for, as for `write_netlist`.

    Raises
    ------
    StimulusError
        If inputs or target do not fit, or nothing learns.
    ConvergenceError
        If the free state was not reached.
    """
    circuit, free = _one_free_state(system, inputs, chip)
    deck = write_adjoint_deck(circuit, free.voltages.numpy(), nudge, dialect=dialect)
    save_deck(deck, Path(path))
    return Path(path)


def write_asymmetric_netlist(
    system: HardwareNetwork | Circuit,
    inputs: Tensor,
    nudge: Nudge,
    *,
    path: str | Path,
    chip: Chip | None = None,
    dialect: DialectName = "ngspice",
) -> Path:
    """Write one sample with the correction of asymmetric EP as a deck of both phases; see `asymmetric_circuit`.

    Arguments and errors are those of `write_adjoint_netlist`, the nudge's kind counting, too. The row of the free
    phase is the free state itself, about which the correction is made; that of the nudged phase has the response whose
    contrast, with the weights of the nominal circuit, is the gradient.
    """
    circuit, free = _one_free_state(system, inputs, chip)
    nominal = system if isinstance(system, Circuit) else system.as_built().circuit()
    corrected = asymmetric_circuit(circuit, free.voltages.numpy(), asymmetric_weights(nominal))
    corrected = replace(corrected, title=f"asymmetric phase of {circuit.title}")
    # Controlled sources that work on changes may have other states: the search begins at the free one.
    start = np.zeros(corrected.n_nodes)
    start[: free.voltages.shape[-1]] = free.voltages.numpy()
    deck = write_deck(corrected, torch.zeros(0), nudge, free.outputs, "both", dialect=dialect, start=start)
    save_deck(deck, Path(path))
    return Path(path)


def write_transient_netlist(
    system: HardwareNetwork | Circuit,
    inputs: Tensor,
    nudge: Nudge,
    *,
    path: str | Path,
    capacitance: float | None = 1e-12,
    timing: TwoPhaseTiming | None = None,
    rate: float | None = None,
    chip: Chip | None = None,
    dialect: DialectName = "ngspice",
) -> Path:
    """Write the whole cycle of equilibrium propagation, samples in turn, as one deck; see `write_transient_deck`.

    Parameters
    ----------
    system : HardwareNetwork or Circuit
        What to write.
    inputs, nudge : Tensor (n_samples, n_inputs), Nudge
        Inputs of the samples [V], and a nudge with targets `(n_samples, n_outputs)`.
    path : str or Path
        The file, written whole or not at all; it is returned.
    capacitance : float, optional
        Of every node that neither a source nor an amplifier holds; None for a circuit that has its own. [F]
    timing : TwoPhaseTiming, optional
        By default 25 of the slowest time constants a phase, of the circuit linearised at the free states and where all
        is discharged.
    rate : float, optional
        Factor from −∂C/∂g to ΔG; by default the one with which the largest ΔG of the samples is 1 % of the network's
        conductance range, or of a circuit's largest trainable conductance. The run of a plain SGD has its learning
        rate times g_ref². [S²/V²] for `SquaredError`, [S²] for `CrossEntropy`
    chip : Chip, optional
        Mismatch of the hardware.
    dialect : str
        The simulator to write for, "ngspice" or "vacask".

    Raises
    ------
    StimulusError, EnergyUnavailableError, CircuitError, ConvergenceError
        See `write_transient_deck` and `slowest_time_constant`; also if the free state was not reached.
    """
    circuit, free = _free_state(system, inputs, chip)
    loaded = circuit if capacitance is None else with_node_capacitance(circuit, capacitance)
    if timing is None:
        phase = _settled_after(loaded, free)
        timing = TwoPhaseTiming(phase, phase)
    origin = "as it was asked for"
    if rate is None:
        rate, origin = _usual_rate(system, circuit, free.inputs, nudge)
    deck = write_transient_deck(loaded, free.inputs, nudge, timing, rate=rate, rate_from=origin, dialect=dialect)
    save_deck(deck, Path(path))
    return Path(path)


def _usual_rate(system: HardwareNetwork | Circuit, circuit: Circuit, inputs: Tensor, nudge: Nudge) -> tuple[float, str]:
    """The rate for `write_transient_netlist`, and how it was chosen; the deck's own writer judges what cannot be."""
    free = solve(circuit, inputs, solver=Newton())
    nudged = solve(circuit, inputs, nudge, solver=Newton(), start=free)
    spans, where = _of_circuit(circuit) if isinstance(system, Circuit) else system.answer(_Spans())
    rate = usual_rate(circuit, nudge, free.voltages.numpy(), nudged.voltages.numpy(), spans)
    return rate, f"with which the largest change of these samples is {USUAL_SHARE:.0%} of {where}"


def _of_circuit(circuit: Circuit) -> tuple[dict[str, float], str]:
    groups = circuit.trained_groups()
    high = max((float(group.siemens.max()) for group, _, _ in groups), default=1.0)
    return {name: high for _, name, _ in groups}, f"the largest trainable conductance, {high:g} S"


class _Spans(Question[tuple[dict[str, float], str]]):
    """By parameter the range of the conductances that a change is compared with [S]; and its name."""

    def network(self, network: Network) -> tuple[dict[str, float], str]:
        raise StimulusError(f"a netlist needs a network that is a circuit, found a {type(network).__name__}")

    def circuit(self, network: HardwareNetwork) -> tuple[dict[str, float], str]:
        return _of_circuit(network.circuit())

    def conductances(self, network: ConductanceNetwork) -> tuple[dict[str, float], str]:
        ranges = {name: network.range_of(name) for name, _ in network.named_parameters()}
        words = [f"{low:g} to {high:g} S" for low, high in dict.fromkeys(ranges.values())]
        return {
            name: high - low for name, (low, high) in ranges.items()
        }, f"the conductance range, {' or '.join(words)}"


def write_settling_netlist(
    network: HardwareNetwork,
    inputs: Tensor,
    nudge: Nudge | None = None,
    *,
    path: str | Path,
    duration: float | None = None,
    capacitance: float | None = None,
    dialect: DialectName = "ngspice",
) -> Path:
    """Write one sample of a network as it settles from rest, as a deck that measures itself; see `write_settling_deck`.

    Parameters
    ----------
    network : HardwareNetwork
        What to write.
    inputs : Tensor (n_inputs,)
        Inputs of one sample.
    nudge : Nudge, optional
        With a target `(n_outputs,)`; the currents of a frozen one are taken from the free state, solved for here.
    path : str or Path
        The file, written whole or not at all.
    duration : float, optional
        Of each phase; by default 40 time constants of a Hopfield network's unit alone, or 25 of the slowest of another
        circuit, linearised at the free state and where all is discharged. [s]
    capacitance : float, optional
        Of every node that neither a source nor an amplifier holds; by default 1 pF where the circuit has no capacitor
        of its own. [F]
    dialect : str
        The simulator to write for, "ngspice" or "vacask".

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    StimulusError
        If inputs or target do not fit.
    ConvergenceError
        If the free state was not reached.
    """
    circuit, free = _free_state(network, inputs, None)
    if capacitance is not None or not circuit.of_kind(ChargeLaw):
        circuit = with_node_capacitance(circuit, 1e-12 if capacitance is None else capacitance)
    seconds = network.answer(_SettledAfter(circuit, free)) if duration is None else duration
    nudge = None if nudge is None else network.in_circuit(nudge)
    deck = write_settling_deck(circuit, free.inputs, nudge, free.outputs, duration=seconds, dialect=dialect)
    save_deck(deck, Path(path))
    return Path(path)


def _settled_after(circuit: Circuit, free: Equilibrium) -> float:
    """Of a circuit with capacitors, linearised at its free states and where all is discharged. [s]"""
    voltages, inputs = (values.numpy().reshape(-1, values.shape[-1]) for values in (free.voltages, free.inputs))
    states = np.concatenate([voltages, np.zeros_like(voltages)])
    return _SETTLED * slowest_time_constant(circuit, np.concatenate([inputs] * 2), states)


@dataclass(frozen=True, eq=False)
class _SettledAfter(Question[float]):
    """Time after which hardly anything moves. [s]"""

    described: Circuit
    free: Equilibrium

    def network(self, network: Network) -> float:
        return _settled_after(self.described, self.free)

    def units(self, network: UnitNetwork) -> float:
        return _UNIT_SETTLED * network.hardware.time_constant


def _one_free_state(
    system: HardwareNetwork | Circuit, inputs: Tensor, chip: Chip | None
) -> tuple[Circuit, Equilibrium]:
    """`_free_state` of one sample, or `StimulusError` where there are several."""
    circuit, free = _free_state(system, inputs, chip)
    if free.inputs.ndim != 1:
        raise StimulusError(f"a deck holds one sample, found inputs of shape {tuple(free.inputs.shape)}")
    return circuit, free


def _free_state(system: HardwareNetwork | Circuit, inputs: Tensor, chip: Chip | None) -> tuple[Circuit, Equilibrium]:
    """The circuit to write and its free state, in float64."""
    if isinstance(system, Circuit):
        circuit, solved, solver = (system if chip is None else chip.apply(system)), system, Newton()
    else:
        twin = system.as_built()
        circuit, solved, solver = twin.circuit(chip), twin, solver_of(twin)
    return circuit, solve(
        solved, as_tensor("inputs", inputs, torch.float64, torch.device("cpu")).detach(), solver=solver, chip=chip
    )
