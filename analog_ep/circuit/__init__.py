"""What a circuit is: nodes, arrays of branches, the sanity check on its graph, and one chip's mismatch."""

from analog_ep.circuit.branches import (
    Conductances,
    CurrentSources,
    Diodes,
    VoltageSources,
)
from analog_ep.circuit.builder import CircuitBuilder
from analog_ep.circuit.cells import Cells, draw_faults, draw_segment_faults, read_faults
from analog_ep.circuit.checks import check_circuit
from analog_ep.circuit.chip import Chip
from analog_ep.circuit.circuit import Circuit
from analog_ep.circuit.controlled_sources import (
    Amplifiers,
    CurrentControlledCurrentSources,
    CurrentControlledVoltageSources,
    NonlinearCurrentSources,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
)
from analog_ep.circuit.converters import Converter, Converters, sampled_noise
from analog_ep.circuit.current_follower import CurrentFollower
from analog_ep.circuit.energy import EnergyWeights, circuit_energy, energy_weights
from analog_ep.circuit.gated_mosfets import FloatingGateMosfets, GatedMosfets
from analog_ep.circuit.laws import Branches, ChargeLaw, CurrentLaw, VoltageLaw
from analog_ep.circuit.learning_circuit import LearningCircuit
from analog_ep.circuit.mosfets import Mosfets
from analog_ep.circuit.nodes import GROUND, NONE, NodePair
from analog_ep.circuit.noise import NoiseCurrents, injected_currents, johnson_currents, shot_currents
from analog_ep.circuit.output_sources import with_output_clamps
from analog_ep.circuit.reactances import Capacitors, FluxLaw, Inductors
from analog_ep.circuit.trainable import ConductanceLaw, TrainableLaw, TunableAdmittance
from analog_ep.circuit.voltage_rows import VoltageRows

__all__ = [
    "GROUND",
    "NONE",
    "Amplifiers",
    "Branches",
    "Capacitors",
    "Cells",
    "ChargeLaw",
    "Chip",
    "Circuit",
    "CircuitBuilder",
    "ConductanceLaw",
    "Conductances",
    "Converter",
    "Converters",
    "CurrentControlledCurrentSources",
    "CurrentControlledVoltageSources",
    "CurrentFollower",
    "CurrentLaw",
    "CurrentSources",
    "Diodes",
    "EnergyWeights",
    "FloatingGateMosfets",
    "FluxLaw",
    "GatedMosfets",
    "Inductors",
    "LearningCircuit",
    "Mosfets",
    "NodePair",
    "NoiseCurrents",
    "NonlinearCurrentSources",
    "TrainableLaw",
    "TunableAdmittance",
    "VoltageControlledCurrentSources",
    "VoltageControlledVoltageSources",
    "VoltageLaw",
    "VoltageRows",
    "VoltageSources",
    "check_circuit",
    "circuit_energy",
    "draw_faults",
    "draw_segment_faults",
    "energy_weights",
    "injected_currents",
    "johnson_currents",
    "read_faults",
    "sampled_noise",
    "shot_currents",
    "with_output_clamps",
]
