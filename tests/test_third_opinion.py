"""Four solvers on one circuit, free and nudged: PyTorch, ngspice, PySpice's shared library, and gnucap."""

# pyright: reportOptionalSubscript=false

import ctypes.util
import warnings

import numpy as np
import pytest
import torch
from deck_circuits import alternating, every_element, measured, network
from gnucap import ATOL, RTOL, gnucap_tables, with_gnucap_constants

from analog_ep.circuit import Chip, Circuit
from analog_ep.devices import DiodeClamp, HardClamp, IdealDiode, ShockleyDiode
from analog_ep.equilibrium.equilibrium import Equilibrium, solve
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.netlist.deck import write_deck
from analog_ep.stimulus import Nudge, SquaredError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from PySpice.Spice.NgSpice.Shared import NgSpiceShared

    from analog_ep.netlist.pyspice import to_pyspice

from tests.hopfield_networks import network as hopfield_network


def mismatched() -> Circuit:
    circuit = network([3, 4, 2], DiodeClamp(ShockleyDiode(1e-10), upper=0.1, lower=-0.1))
    return Chip.draw(circuit, seed=2, siemens=0.1, saturation_current=0.5, ideality=0.05).apply(circuit)


CIRCUITS = {
    "every element": every_element,
    "junctions": lambda: network([4, 6, 3], alternating(6)),
    "two hidden layers": lambda: network([4, 5, 5, 3], [alternating(5), alternating(5)]),
    "single-ended": lambda: network([4, 6, 3], alternating(6), drive="single", gain=2.0),
    "ideal": lambda: network([4, 6, 3], HardClamp(IdealDiode(1e-2, 0.05), upper=0.1, lower=-0.1)),
    "measured": lambda: network([4, 6, 3], DiodeClamp(measured(), upper=-0.2, lower=0.2)),
    "mismatched": mismatched,
    "Hopfield": lambda: hopfield_network(sizes=(4, 6, 3)).circuit(),
}


@pytest.fixture(params=CIRCUITS)
def circuit(request) -> Circuit:
    return CIRCUITS[request.param]()


def stimulus(circuit: Circuit) -> tuple[torch.Tensor, Nudge]:
    inputs = torch.from_numpy(np.random.default_rng(4).uniform(-2, 2, (1, circuit.n_inputs)))
    assert circuit.outputs is not None
    target = torch.linspace(0, 1, len(circuit.outputs[0]), dtype=torch.float64)[None]
    return inputs, Nudge(1e-5, target, SquaredError())


def both_phases(circuit: Circuit, solver) -> tuple[Equilibrium, Equilibrium]:
    inputs, nudge = stimulus(circuit)
    free = solve(circuit, inputs, solver=solver)
    return free, solve(circuit, inputs, nudge, solver=solver, start=free)


def by_pyspice(circuit: Circuit, currents: np.ndarray) -> np.ndarray:
    """Node voltages from the shared library, the nudge added to the live circuit as current sources."""
    assert circuit.outputs is not None
    inputs, _ = stimulus(circuit)
    elements, names = to_pyspice(circuit, inputs[0]), circuit.node_names
    for i, (p, n, amperes) in enumerate(zip(*circuit.outputs, currents, strict=True)):
        elements.I(f"nudge_{i}", names[n], names[p], float(amperes))
    analysis = elements.simulator().operating_point()
    return np.array([0.0, *(float(analysis[name][0]) for name in names[1:])])


@pytest.mark.ngspice
def test_pyspice_ngspice_and_torch_agree(circuit, monkeypatch):
    library = ctypes.util.find_library("ngspice")
    if library is None:
        pytest.skip("the ngspice shared library is not installed")
    monkeypatch.setattr(NgSpiceShared, "LIBRARY_PATH", library)
    ours, theirs = both_phases(circuit, Newton()), both_phases(circuit, Ngspice())
    _, nudge = stimulus(circuit)
    injected = nudge.current(ours[0].outputs)[0].numpy()
    for phase, currents in enumerate((np.zeros_like(injected), injected)):
        torch.testing.assert_close(theirs[phase].voltages, ours[phase].voltages, rtol=0, atol=1e-9)
        found = by_pyspice(circuit, currents)
        np.testing.assert_allclose(found, ours[phase].voltages[0].numpy(), rtol=0, atol=1e-9)


@pytest.mark.gnucap
def test_gnucap_and_torch_agree(circuit, tmp_path):
    inputs, nudge = stimulus(circuit)
    free, nudged = both_phases(with_gnucap_constants(circuit), Newton())
    single = Nudge(nudge.strength, nudge.target[0], nudge.cost)
    printed = gnucap_tables(write_deck(circuit, inputs[0], single, free.outputs[0], "both", dialect="gnucap"), tmp_path)
    names = [name for name in circuit.node_names if f"v({name})" in printed]
    assert len(names) >= 8
    for name in names:
        expected = [float(state.voltages[0, circuit.node(name)]) for state in (free, nudged)]
        np.testing.assert_allclose(printed[f"v({name})"], expected, atol=ATOL, rtol=RTOL)
    # The response is what learning uses: it, too, must be the same.
    response = np.array([np.ptp(printed[f"v({name})"]) for name in names])
    ours = np.array([abs(float((nudged.voltages - free.voltages)[0, circuit.node(name)])) for name in names])
    np.testing.assert_allclose(response, ours, rtol=0, atol=1e-4 * ours.max())
