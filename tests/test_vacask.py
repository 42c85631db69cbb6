"""Netlists solved by VACASK: those in its own language, and those of four other simulators that it reads."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vacask
from both_phases import NUDGES, phases
from deck_circuits import alternating, every_element, measured, network
from hopfield_networks import samples
from own_kinds import SquareLawTransistors
from test_hopfield_circuit import FAST, in_hardware

from analog_ep import ResistiveNetwork, implicit_gradients, write_adjoint_netlist
from analog_ep.circuit import (
    Chip,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentLaw,
    Diodes,
    Mosfets,
    VoltageSources,
    circuit_energy,
)
from analog_ep.devices import DiodeClamp, EkvMosfet, Level1Mosfet, ShockleyDiode
from analog_ep.devices.forms import ModelInstance, Table
from analog_ep.equilibrium import Newton, solve
from analog_ep.errors import CircuitError
from analog_ep.export import write_netlist
from analog_ep.netlist import SpiceOptions, write_deck
from analog_ep.stimulus import Nudge, SquaredError

pytestmark = pytest.mark.vacask

TIGHT = SpiceOptions(reltol=1e-12)
"""VACASK stops where a step is below reltol: with 1e-9 it is up to 1e-12 V off."""


def lattice() -> Circuit:
    """A graph of no layers, with diodes between its nodes and outputs that share none."""
    builder, draw = CircuitBuilder("lattice"), np.random.default_rng(3)
    nodes = builder.add_nodes([f"n{i}_{j}" for i in range(4) for j in range(4)]).reshape(4, 4)
    builder.add(VoltageSources("x", nodes[0, :3], 0, 0.0, np.arange(3)))
    for label, ends in (("rows", (nodes[:, :-1], nodes[:, 1:])), ("columns", (nodes[:-1], nodes[1:]))):
        first, second = (each.ravel() for each in ends)
        builder.add(Conductances(label, first, second, draw.uniform(1e-5, 1e-4, len(first))))
    builder.add(Diodes("d", nodes[1:, 1], nodes[1:, 2], ShockleyDiode(1e-9)))
    builder.set_outputs(nodes[3, [0, 2]], nodes[3, [1, 3]])
    return builder.build()


CIRCUITS: dict[str, Callable[[], Circuit]] = {
    "every element": every_element,
    "junctions": lambda: network([2, 3, 2], alternating(3)),
    "measured": lambda: network([2, 3, 2], DiodeClamp(measured(), upper=-0.2, lower=0.2)),
    "two layers": lambda: network([4, 6, 5, 3], DiodeClamp(ShockleyDiode(1e-9), upper=0.1, lower=-0.1)),
    "lattice": lattice,
}


def require_agreement(found: dict[str, np.ndarray], circuit: Circuit, truth: np.ndarray) -> int:
    """Voltages of both phases to 1e-12 V, responses to 1e-9 of the largest; returns how many nodes were compared."""
    shared = [(name, circuit.node(name)) for name in circuit.node_names if name in found]
    volts = np.stack([found[name] for name, _ in shared], axis=1)
    wanted = truth[:, [node for _, node in shared]]
    np.testing.assert_allclose(volts, wanted, rtol=0, atol=1e-12)
    response = np.diff(wanted, axis=0)
    np.testing.assert_allclose(np.diff(volts, axis=0), response, rtol=0, atol=1e-9 * abs(response).max() + 1e-15)
    return len(shared)


@pytest.mark.parametrize("kind", NUDGES)
@pytest.mark.parametrize("case", CIRCUITS)
def test_native_netlists_are_solved_with_their_energy(case: str, kind: str, tmp_path: Path):
    circuit = CIRCUITS[case]()
    deck, truth = phases(circuit, kind, "vacask", options=TIGHT)
    (found,) = vacask.run(deck, tmp_path, "phases")
    assert require_agreement(found, circuit, truth) >= 4
    if case == "every element":
        assert "// no energy is printed: " in deck
    else:
        energy = circuit_energy(circuit, truth)
        np.testing.assert_allclose(found["energy"], energy, rtol=1e-11)


# The cards of an elastic nudge are a dialect's, and the same in every circuit.
@pytest.mark.parametrize(("case", "kind"), [*((case, "frozen") for case in CIRCUITS), ("two layers", "elastic")])
@pytest.mark.parametrize("dialect", vacask.LANGUAGES)
def test_other_simulators_decks_are_read_by_it(case: str, dialect: str, kind: str, tmp_path: Path):
    circuit = CIRCUITS[case]()
    deck, truth = phases(circuit, kind, dialect, options=TIGHT)
    free, nudged = vacask.foreign(deck, dialect, tmp_path)
    found = {name: np.concatenate([free[name], nudged[name]]) for name in free}
    assert require_agreement(found, circuit, truth) == circuit.n_nodes - 1


def amplifier(*transistors) -> Circuit:
    """A stage whose gate is the input, and its drain the output."""
    builder = CircuitBuilder("stage")
    supply, gate, drain, low = builder.add_nodes(["supply", "gate", "drain", "low"])
    builder.add(VoltageSources("vdd", supply, 0, 1.8))
    builder.add(VoltageSources("vin", gate, 0, 0.0, 0))
    builder.add(Conductances("load", [supply, low], [drain, 0], [1e-4, 1e-3]))
    for make in transistors:
        builder.add(make(drain, gate, low))
    builder.set_outputs(drain, 0)
    return builder.build()


@dataclass(frozen=True, eq=False)
class Measured(CurrentLaw):
    """Elements through points of a curve tracer."""

    positive: Any
    negative: Any
    points: Table

    def current(self, *volts):
        return self.points.current(volts[0])

    def slopes(self, *volts):
        return (self.points.slope(volts[0]),)

    def netlist_form(self):
        return self.points


NMOS: dict[str, Any] = {"width": 1e-5, "length": 1e-6, "threshold_voltage": 0.4}
CURVE = Table(np.array([-1.0, 0.0, 0.5, 2.0]), np.array([-1e-5, 0.0, 1e-5, 2e-4]))
STAGES = {
    "level 1": [
        lambda d, g, s: Mosfets("n", d, g, s, 0, Level1Mosfet(**NMOS, body_effect=0.3, surface_potential=0.7)),
        lambda d, g, s: Mosfets("p", s, g, d, d, Level1Mosfet("pmos", threshold_voltage=-0.3, channel_modulation=0.05)),
    ],
    "EKV": [lambda d, g, s: Mosfets("n", d, g, s, 0, EkvMosfet(**NMOS))],
    "a law of one's own": [lambda d, g, s: SquareLawTransistors("m", d, s, g, 2e-4, 0.4)],
    "a table": [lambda d, g, s: Measured("t", d, s, CURVE)],
}


@pytest.mark.parametrize("kind", STAGES)
def test_transistors_and_tables(kind: str, tmp_path: Path):
    circuit, gates = amplifier(*STAGES[kind]), torch.tensor([[0.9]], dtype=torch.float64)
    (found,) = vacask.run(write_deck(circuit, gates[0], dialect="vacask", options=TIGHT), tmp_path, "phases")
    truth = solve(circuit, gates, solver=Newton()).voltages[0]
    assert float(truth[circuit.node("drain")]) < 1.75
    for name in ("drain", "low"):
        # Its level 1 is 1.3e-12 V off, the others 1e-15 V.
        assert float(found[name][0]) == pytest.approx(float(truth[circuit.node(name)]), abs=2e-12)


def test_a_hopfield_circuit_from_its_free_state(tmp_path: Path):
    net = in_hardware(3, 2, 2)
    inputs, targets = (values[0] for values in samples(net, 1))
    nudge = Nudge(0.5, targets, SquaredError(), "elastic")
    path = write_netlist(net, inputs, nudge, path=tmp_path / "h.sim", phase="both", dialect="vacask")
    (found,) = vacask.run(path.read_text().replace("reltol=1e-09", "reltol=1e-12"), tmp_path, "phases")
    free = solve(net, inputs, solver=FAST)
    nudged = solve(net, inputs, nudge, solver=FAST, start=free)
    for j in range(2):
        expected = [float(state.outputs[j]) for state in (free, nudged)]
        np.testing.assert_allclose(found[f"o{j}"], expected, rtol=0, atol=1e-12)


def test_what_it_lacks_is_refused():
    class Modern(Mosfets):
        def netlist_form(self):
            return ModelInstance("m", "NMOS", {"LEVEL": 14}, ("drain", "gate", "source", "bulk"), {})

    circuit = amplifier(lambda d, g, s: Modern("n", d, g, s, 0, Level1Mosfet(**NMOS)))
    with pytest.raises(CircuitError, match="a vacask netlist has no model NMOS of level 14"):
        write_deck(circuit, np.array([0.9]), dialect="vacask")


def test_an_adjoint_network_gives_the_gradient(tmp_path: Path):
    net = ResistiveNetwork([3, 4, 2], diode=ShockleyDiode(1e-9), dtype=torch.float64, seed=1)
    chip = Chip.draw(net.circuit(), 0, gain=0.1, feedback=0.1)
    inputs, target = torch.tensor([0.5, -0.2, 0.3], dtype=torch.float64), torch.tensor([1.0, 0.0], dtype=torch.float64)
    nudge = Nudge(1e-6, target, SquaredError())
    path = write_adjoint_netlist(net, inputs, nudge, path=tmp_path / "a.sim", dialect="vacask", chip=chip)
    (found,) = vacask.run(path.read_text().replace("reltol=1e-09", "reltol=1e-12"), tmp_path, "phases")
    gradients = implicit_gradients(net.circuit(chip), SquaredError(), inputs[None], target[None])
    for group, name, index in net.circuit(chip).trained_groups():
        wanted = gradients[name].flatten().numpy()[index]
        printed = [found[f"grad_{group.label}_{i}"][0] for i in range(len(group))]
        np.testing.assert_allclose(printed, wanted, rtol=0, atol=1e-9 * abs(wanted).max())
