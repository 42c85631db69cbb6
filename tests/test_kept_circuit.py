"""A network gives the same circuit as long as nothing in it changes, and never an old one."""

import copy
import pickle

import numpy as np
import pytest
import torch

from analog_ep import Chip, CircuitBuilder, CircuitNetwork, Newton, ResistiveNetwork, ShockleyDiode, solve
from analog_ep.circuit import Circuit, Conductances, VoltageSources
from analog_ep.networks import Wires
from analog_ep.networks.kept import KeptCircuit


def layered(**changes) -> ResistiveNetwork:
    return ResistiveNetwork([2, 3, 1], dtype=torch.float64, seed=1, **changes)


def graph() -> CircuitNetwork:
    builder = CircuitBuilder("divider")
    a, b = builder.add_nodes(["a", "b"])
    builder.add(VoltageSources("v", [a], [0], 0.0, input=[0]))
    builder.add(Conductances("w", [a, b], [b, 0], 1e-5, parameter="w", index=[0, 1]))
    builder.set_outputs([b], [0])
    return CircuitNetwork(builder.build(), bounds=(1e-7, 1e-3))


def siemens(circuit: Circuit, label: str = "stage1") -> np.ndarray:
    group = circuit.group(label)
    assert isinstance(group, Conductances)
    return group.siemens


MADE = [layered, graph]


@pytest.mark.parametrize("make", MADE)
def test_the_object_stays_and_a_copy_has_its_own(make):
    network = make()
    first = network.circuit()
    assert network.circuit() is first
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert twin.circuit() is not first
        assert twin.circuit() is twin.circuit()


def test_a_circuit_that_another_thread_asks_for_meanwhile_is_not_taken_for_that_on_a_chip():
    kept, network = KeptCircuit(), layered()
    first, second = ({"w": np.array([value])} for value in (1.0, 2.0))
    circuits = {1.0: network.circuit(), 2.0: copy.deepcopy(network).circuit()}

    def ask(values: dict[str, np.ndarray], chip: Chip | None) -> Circuit:
        return kept.circuit(values, lambda: circuits[float(values["w"][0])], chip)

    class Interrupted(Chip):
        """As if another thread, which has learnt, asked while this one applies its variation."""

        def apply(self, circuit: Circuit) -> Circuit:
            ask(second, None)
            return circuit

    chip = Interrupted({})
    assert ask(first, chip) is circuits[1.0]
    assert ask(second, chip) is circuits[2.0]
    assert ask(first, chip) is circuits[1.0]


@pytest.mark.parametrize("make", MADE)
@pytest.mark.parametrize("way", ["data", "in place", "replaced", "set_conductances"])
def test_whatever_way_a_conductance_changes_the_circuit_follows(make, way: str):
    network = make()
    name, theta = next(network.named_parameters())
    before = network.circuit()
    if way == "data":
        theta.data[..., 0] *= 2
    elif way == "in place":
        with torch.no_grad():
            theta[..., 0] *= 2
    elif way == "replaced":
        changed = theta.detach().clone()
        changed[..., 0] *= 2
        setattr(network, name, torch.nn.Parameter(changed))
    else:
        wanted = {label: value.clone() for label, value in network.conductances.items()}
        wanted[name][..., 0] *= 2
        network.set_conductances(wanted)
    after = network.circuit()
    own, old = (siemens(circuit, name) for circuit in (after, before))
    ratio = np.sort(own / old)
    assert ratio[0] == 1
    assert ratio[-1] == pytest.approx(2, rel=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        lambda network: setattr(network, "gain", 2.0),
        lambda network: setattr(network, "feedback", 0.5),
        lambda network: setattr(network, "bias_voltage", 0.5),
        lambda network: setattr(network, "clamps", layered(diode=ShockleyDiode(saturation_current=1e-9)).clamps),
        lambda network: setattr(network, "lines", Wires(row_resistance=100.0)),
    ],
    ids=["gain", "feedback", "bias", "clamps", "lines"],
)
def test_what_else_the_circuit_is_made_of_counts_too(change):
    network, inputs = layered(), torch.tensor([[0.7, -0.4]], dtype=torch.float64)
    before = solve(network, inputs, solver=Newton()).outputs
    change(network)
    circuit = network.circuit()
    network._kept = type(network._kept)()
    fresh = network.circuit()
    assert circuit is not fresh
    assert [group.label for group in circuit.groups] == [group.label for group in fresh.groups]
    assert (solve(network, inputs, solver=Newton()).outputs != before).any()


def test_a_chip_has_the_circuit_of_its_own_parameters():
    network = layered()
    chips = [Chip.draw(network.circuit(), seed, siemens=0.1) for seed in (1, 2)]
    first, second = (network.circuit(chip) for chip in chips)
    assert network.circuit(chips[1]) is second
    again = network.circuit(chips[0])
    np.testing.assert_array_equal(siemens(again), siemens(first))
    assert (siemens(first) != siemens(second)).all()
    with torch.no_grad():
        network.theta("stage1").mul_(1.5)
    np.testing.assert_allclose(siemens(network.circuit(chips[0])), 1.5 * siemens(first), rtol=1e-12)
