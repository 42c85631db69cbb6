"""The generated decks; ``python tests/reference_decks.py`` writes them anew."""

from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from deck_circuits import every_element, measured, mixed_circuit, network

from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.constants import DEFAULT_TEMPERATURE
from analog_ep.devices import DiodeClamp, HardClamp, IdealDiode, ShockleyDiode
from analog_ep.learning.ngspice_learning import learning_deck
from analog_ep.netlist.deck import save_deck, write_deck
from analog_ep.netlist.dialects import DIALECTS, DialectName
from analog_ep.netlist.lesson import Lesson
from analog_ep.netlist.timing import TwoPhaseTiming
from analog_ep.netlist.transient_deck import write_transient_deck
from analog_ep.networks import ConductanceNetwork, ResistiveNetwork
from analog_ep.runs.building import build_conductances
from analog_ep.runs.teaching import whole_lesson
from analog_ep.spec.reading import load_spec
from analog_ep.stimulus import CrossEntropy, Nudge, SquaredError
from analog_ep.support.resources import netlists_folder, specs_folder

STRONG, WEAK = 1e-4, 1e-7
"""Conductances that carry a weight, and those that stand for none. [S]"""

XOR_SAMPLES = ((1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0))
XOR_FREE_OUTPUT = 0.8310503076
"""Output of the free phase for the second sample, from which the frozen nudge follows. [V]"""


def xor_network() -> ResistiveNetwork:
    """Solves XOR by hand: h1_0 ∝ min(x0 + x1, 0), h1_1 ∝ max(x0 + x1, 0), o ∝ bias + h1_0 − h1_1."""
    infinity = torch.inf
    # The bias voltages make up for the drop of a conducting junction.
    clamp = DiodeClamp(ShockleyDiode(), torch.tensor([-0.5, infinity]), torch.tensor([-infinity, 0.5]))
    network = ResistiveNetwork([2, 2, 1], diode=clamp, dtype=torch.float64, reference_conductance=1.0)
    stage1 = torch.full((6, 2), WEAK, dtype=torch.float64)
    stage1[:2] = STRONG
    # Columns v+ and v−; rows +a·u of both hidden units, −a·u of both, and the two bias rows.
    stage2 = torch.full((6, 2), WEAK, dtype=torch.float64)
    stage2[[0, 3, 4], 0] = STRONG
    stage2[[2, 1, 5], 1] = STRONG
    network.set_conductances({"stage1": stage1, "stage2": stage2})
    return network


def xor_deck(sample: tuple[float, float] = XOR_SAMPLES[1]) -> str:
    """Both phases, with a frozen nudge of squared error."""
    nudge = Nudge(1e-6, torch.tensor([1.0]), SquaredError(), "frozen")
    return write_deck(xor_network().circuit(), np.array(sample), nudge, np.array([XOR_FREE_OUTPUT]), "both")


def softmax_deck() -> str:
    """Both phases of a single-ended network of ideal diodes and transformers, with the elastic nudge of a softmax."""
    clamp = HardClamp(IdealDiode(on_conductance=1e-2), upper=0.06, lower=-0.06)
    network = ResistiveNetwork(
        [2, 3, 3], diode=clamp, gain=2.0, feedback=2.0, drive="single", seed=1, dtype=torch.float64
    )
    nudge = Nudge(1e-6, torch.tensor([0.0, 1.0, 0.0]), CrossEntropy(logit_scale=0.5), "elastic")
    return write_deck(network.circuit(), np.array([1.0, 0.5]), nudge, phase="both")


def flat_deck() -> str:
    """A circuit for whose diodes the library has no subcircuit."""
    return write_deck(
        mixed_circuit(DEFAULT_TEMPERATURE), np.array([1.5]), Nudge(1e-6, torch.tensor([0.2]), SquaredError(), "elastic")
    )


def included_deck() -> str:
    """A network with measured diodes that includes its library."""
    circuit = network([2, 2, 1], DiodeClamp(measured(), upper=-0.2, lower=0.2))
    return write_deck(circuit, np.array([1.0, -0.5]), include_from="../../netlists")


def dialect_deck(dialect: str) -> str:
    """Every element in one dialect, with an elastic nudge where the dialect has expressions."""
    circuit, target = every_element(), torch.tensor([0.2], dtype=torch.float64)
    kind = "frozen" if dialect == "gnucap" else "elastic"
    nudge = Nudge(1e-5, target, SquaredError(), kind)
    return write_deck(circuit, np.array([0.5]), nudge, np.array([0.1]), "both", dialect=cast(DialectName, dialect))


def cycle_deck(dialect: DialectName = "ngspice") -> str:
    """Two samples of a small network as one transient."""
    clamp = HardClamp(IdealDiode(1e-2, 0.05), upper=0.1, lower=-0.1)
    circuit = with_node_capacitance(network([2, 2, 1], clamp), 1e-12)
    samples, targets = np.array([[1.0, -0.5], [-1.0, 0.5]]), torch.tensor([[0.5], [0.5]], dtype=torch.float64)
    nudge, timing = Nudge(1e-5, targets, SquaredError()), TwoPhaseTiming(2e-6, 1e-6)
    return write_transient_deck(circuit, samples, nudge, timing, rate=1e-12, dialect=dialect)


def xor_learns_lesson() -> tuple[ConductanceNetwork, Lesson]:
    """The network and the lesson of specs/xor-learns.toml."""
    spec = load_spec(specs_folder() / "xor-learns.toml")
    learner = build_conductances(spec, torch.float64)
    return learner, whole_lesson(spec, learner, spec.training.epochs)


def xor_learns_deck() -> str:
    """XOR, learnt by the circuit itself."""
    return learning_deck(*xor_learns_lesson(), None, 1e-12)[0]


GOLDEN = Path(__file__).parent / "golden"
REFERENCE_DECKS = {
    netlists_folder() / "xor.cir": xor_deck,
    netlists_folder() / "softmax.cir": softmax_deck,
    netlists_folder() / "xor_learns.cir": xor_learns_deck,
    GOLDEN / "flat.cir": flat_deck,
    GOLDEN / "included.cir": included_deck,
    GOLDEN / "cycle.cir": cycle_deck,
    GOLDEN / "cycle.sim": partial(cycle_deck, "vacask"),
    **{GOLDEN / "dialects" / f"{name}.cir": partial(dialect_deck, name) for name in DIALECTS},
}

if __name__ == "__main__":
    for path, deck in REFERENCE_DECKS.items():
        save_deck(deck(), path)
