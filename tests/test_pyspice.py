"""PySpice elements against the netlist: the same numbers from ngspice, and from PySpice's shared library."""

# pyright: reportArgumentType=false, reportOptionalSubscript=false

import ctypes.util
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from deck_circuits import alternating, measured, mixed_circuit, network
from mna import solve_mna

from analog_ep.circuit import (
    Capacitors,
    CircuitBuilder,
    Conductances,
    CurrentControlledCurrentSources,
    CurrentControlledVoltageSources,
    CurrentSources,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.devices import DiodeClamp, ShockleyDiode
from analog_ep.errors import CircuitError, StimulusError
from analog_ep.netlist.netlist import NetlistWriter, constant_drive
from analog_ep.ngspice.process import run_ngspice

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from PySpice.Spice.NgSpice.Shared import NgSpiceShared

    from analog_ep.netlist.pyspice import to_pyspice

TOLERANCE = 1e-12
"""Two decks of the same elements differ by rounding alone. [V]"""


def every_source():
    """Each kind of element once."""
    builder = CircuitBuilder("every source")
    x, y, e, h, f, g = builder.add_nodes(["x", "y", "e", "h", "f", "g"])
    builder.add(VoltageSources("v", [x, y], [0, e], [1.0, 0.0]))
    builder.add(Conductances("r", [x, y, f, g, h], [y, 0, 0, 0, f], [1e-3, 2e-3, 1e-3, 3e-3, 1e-4]))
    builder.add(Capacitors("c", y, 0, 1e-9))
    builder.add(CurrentSources("i", 0, y, 1e-4))
    builder.add(VoltageControlledVoltageSources("e", e, 0, g, 0, 0.5))
    builder.add(VoltageControlledCurrentSources("g", g, 0, x, y, 1e-3))
    builder.add(CurrentControlledCurrentSources("f", f, 0, "v", 1, 0.7))
    builder.add(CurrentControlledVoltageSources("h", h, 0, "v", 0, 250.0))
    return builder.build()


CIRCUITS = {
    "every source": every_source,
    "network": lambda: network([2, 3, 2], alternating(3)),
    "measured": lambda: network([2, 3, 1], DiodeClamp(measured(), upper=0.1, lower=-0.1)),
    "mixed": mixed_circuit,
    "warm": lambda: network([2, 3, 2], DiodeClamp(ShockleyDiode(1e-12, temperature=350.0), 0.1, -0.1)),
    "offsets": lambda: mixed_circuit(offset=[0.02, -0.03]),
}


@pytest.fixture(params=CIRCUITS)
def circuit(request):
    return CIRCUITS[request.param]()


def sample(circuit):
    return np.random.default_rng(3).uniform(-2, 2, circuit.n_inputs)


def solved_by_ngspice(cards, circuit):
    return run_ngspice(f"* deck\n{cards}\n.op\n.end\n", 1).columns([f"v({name})" for name in circuit.node_names[1:]])[0]


@pytest.mark.ngspice
def test_text_of_pyspice_solves_to_the_same_voltages(circuit):
    writer = NetlistWriter(circuit, constant_drive(sample(circuit)))
    own = solved_by_ngspice("\n".join([writer.options_card(), *writer.model_cards(), *writer.element_cards()]), circuit)
    text = str(to_pyspice(circuit, sample(circuit))).split("\n", 1)[1]
    np.testing.assert_allclose(solved_by_ngspice(text, circuit), own, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(own, solve_mna(circuit, sample(circuit))[1:], rtol=0, atol=1e-9)


def test_elements_are_named_and_valued_as_in_the_netlist(circuit):
    writer = NetlistWriter(replace(circuit, temperature=300.15), constant_drive(sample(circuit)))
    elements = to_pyspice(circuit, sample(circuit))
    cards = {card.split()[0]: card for card in writer.element_cards()}
    assert [name.lower() for name in elements.element_names] == list(cards)
    for name in elements.element_names:
        card = cards[name.lower()]
        assert [str(node) for node in elements[name].node_names] == card.split()[1 : 1 + len(elements[name].node_names)]
        if name[0] == "R":
            assert float(elements[name].resistance) == float(card.split()[-1])


def test_elements_are_live():
    elements = to_pyspice(every_source(), np.zeros(0))
    elements.R_r_0.resistance = 123.0
    assert "R_r_0 x y 123.0" in str(elements)


@pytest.mark.ngspice
def test_shared_library_solves_it(monkeypatch):
    library = ctypes.util.find_library("ngspice")
    if library is None:
        pytest.skip("the ngspice shared library is not installed")
    monkeypatch.setattr(NgSpiceShared, "LIBRARY_PATH", library)
    circuit = network([2, 3, 2], alternating(3))
    analysis = to_pyspice(circuit, sample(circuit)).simulator().operating_point()
    truth = solve_mna(circuit, sample(circuit))
    for node, name in enumerate(circuit.node_names[1:], start=1):
        np.testing.assert_allclose(float(analysis[name][0]), truth[node], rtol=0, atol=1e-9)


def test_refuses_what_no_simulator_should_see():
    circuit = every_source()
    with pytest.raises(StimulusError, match=r"inputs must have shape \(0,\), found \(1,\)"):
        to_pyspice(circuit, np.zeros(1))
    with pytest.raises(CircuitError, match="'y'"):
        to_pyspice(circuit.with_groups(g for g in circuit.groups if g.label not in "rvfh"), np.zeros(0))


def test_importing_the_package_leaves_pyspice_alone():
    code = "import sys, analog_ep, analog_ep.netlist.deck; sys.exit('PySpice' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
