"""PySpice circuits in and out again: the operating point stays the same in ngspice."""

from __future__ import annotations

import warnings

import pytest
import torch

import analog_ep as aep
from analog_ep.designs import from_pyspice, set_pyspice
from analog_ep.errors import NetlistError
from tests.read_by_ngspice import plain_voltages
from tests.test_designs import newton_voltages

netlist = pytest.importorskip("PySpice.Spice.Netlist")

TIGHT = ".options reltol=1e-10 vntol=1e-13 abstol=1e-16 itl1=1000\n.op\n"


def diode(circuit):
    """A small-signal diode with a full model card."""
    circuit.model("DSIG", "D", IS=2.52e-9, RS=0.568, N=1.752, BV=100, IBV=1e-4, CJO=4e-12, M=0.4, TT=20e-9)


def voltage_divider():
    circuit = netlist.Circuit("Voltage divider")
    circuit.V("input", "vin", circuit.gnd, 10)
    circuit.R("w1", "vin", "out", 9e3)
    circuit.R("w2", "out", circuit.gnd, 1e3)
    return circuit, "out"


def resistor_bridge():
    circuit = netlist.Circuit("Resistor bridge")
    circuit.V("input", 1, circuit.gnd, 10)
    circuit.R("w1", 1, 2, 2e3)
    circuit.R("w2", 1, 3, 1e3)
    circuit.R("w3", 2, circuit.gnd, 1e3)
    circuit.R("w4", 3, circuit.gnd, 2e3)
    circuit.R("w5", 3, 2, 2e3)
    return circuit, ("2", "3")


def ring_modulator():
    circuit = netlist.Circuit("Ring modulator")
    circuit.SinusoidalVoltageSource("input", "s", circuit.gnd, offset=0.3, amplitude=1, frequency=1e3, dc_offset=0.2)
    circuit.V("carrier", "c1", "c2", 0.9)
    circuit.VCVS("inv", "sn", circuit.gnd, "s", circuit.gnd, voltage_gain=-1)
    circuit.R("w1", "s", "a", 50)
    circuit.R("w2", "sn", "b", 50)
    diode(circuit)
    for name, ends in {"1": ("a", "c1"), "2": ("c1", "b"), "3": ("b", "c2"), "4": ("c2", "a")}.items():
        circuit.Diode(name, *ends, model="DSIG")
    circuit.R("l1", "c1", circuit.gnd, 1e3)
    circuit.R("l2", "c2", circuit.gnd, 1e3)
    return circuit, ("c1", "c2")


def diode_clamps():
    circuit = netlist.Circuit("Diode clamps")
    circuit.PulseVoltageSource(
        "input", "vin", circuit.gnd, initial_value=4, pulsed_value=-4, pulse_width=1e-6, period=2e-6
    )
    circuit.R("w1", "vin", "out", 1e3)
    diode(circuit)
    circuit.Diode(1, "out", "top", model="DSIG")
    circuit.Diode(2, "bottom", "out", model="DSIG")
    circuit.V("top", "top", circuit.gnd, 1)
    circuit.V("bottom", "bottom", circuit.gnd, -1)
    circuit.C(1, "out", circuit.gnd, 1e-9)
    circuit.R("w2", "out", circuit.gnd, 10e3)
    return circuit, "out"


def controlled_sources():
    circuit = netlist.Circuit("Controlled sources")
    circuit.V("input", "vin", circuit.gnd, 2)
    circuit.R("w1", "vin", circuit.gnd, 1e3)
    circuit.VCVS("e", "e", circuit.gnd, "vin", circuit.gnd, voltage_gain=3)
    circuit.VCCS("g", circuit.gnd, "g", "vin", circuit.gnd, transconductance=1e-3)
    circuit.CCCS("f", circuit.gnd, "f", source="Vinput", current_gain=2)
    circuit.CCVS("h", "h", circuit.gnd, source="Vinput", transresistance=100)
    circuit.BehavioralSource("b", "b", circuit.gnd, voltage_expression="tanh(v(vin)-v(g))")
    circuit.I("i", circuit.gnd, "i", 1e-3)
    for node in "eghfbi":
        circuit.R(f"w_{node}", node, circuit.gnd, 2e3)
    return circuit, ("e", "f")


def subcircuits():
    circuit = netlist.Circuit("Subcircuits")
    cell = netlist.SubCircuit("cell", "p", "q")
    cell.R("w1", "p", "m", 1e3)
    cell.R("w2", "m", "q", 2e3)
    cell.Diode(1, "m", cell.gnd, model="DSIG")
    diode(circuit)
    circuit.subcircuit(cell)
    circuit.parameter("load", 3e3)
    circuit.V("input", "vin", circuit.gnd, 5)
    circuit.X("1", "cell", "vin", "mid")
    circuit.X("2", "cell", "mid", "out")
    circuit.R("w3", "out", circuit.gnd, "{load}")
    return circuit, "out"


CIRCUITS = [voltage_divider, resistor_bridge, ring_modulator, diode_clamps, controlled_sources, subcircuits]


def in_ngspice(circuit) -> dict[str, float]:
    """Voltages that ngspice finds for a circuit's own text. [V]"""
    text = str(circuit)
    text = text.removesuffix(".end\n") + TIGHT + ".end\n"
    found = plain_voltages({"main.cir": text})
    assert found is not None
    return found


@pytest.mark.parametrize("build", CIRCUITS, ids=lambda build: build.__name__)
def test_a_circuit_goes_in_and_out_again(build):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        circuit, output = build()
    design = from_pyspice(circuit, trainable=["rw*"], bounds=(1e-6, 1.0), inputs=["vinput"], outputs=[output])
    theirs, ours = in_ngspice(circuit), newton_voltages(design)
    assert ours.keys() <= theirs.keys()
    assert len(ours) > 1
    assert {n: v for n, v in ours.items() if abs(v - theirs[n]) > 1e-9} == {}

    network = design.network()
    learnt = {name: siemens * 0.8 for name, siemens in network.conductances.items()}
    network.set_conductances(learnt)
    expected = aep.solve(network, design.default_inputs[None], solver=aep.Newton())
    changed = in_ngspice(set_pyspice(circuit, design, network))
    volts = {n: float(v[0]) for n, v in design.voltages(expected.node_voltages()).items() if n != "0"}
    assert {n: v for n, v in volts.items() if abs(v - changed[n]) > 1e-9} == {}


def test_resistors_of_a_subcircuit_are_shared():
    circuit, _ = subcircuits()
    design = from_pyspice(circuit, trainable=["rw*"], bounds=(1e-6, 1.0), inputs=["vinput"], outputs=["out"])
    assert [part.names for part in design.trainable] == [("x1.rw1", "x2.rw1"), ("x1.rw2", "x2.rw2"), ("rw3",)]
    set_pyspice(circuit, design, torch.tensor([1 / 1.5e3, 1 / 2.5e3, 1 / 3.5e3], dtype=torch.float64))
    text = str(circuit)
    assert "Rw1 p m 1500.0" in text
    assert ".param load=3500.0" in text.replace("3499.9999999999995", "3500.0")


def test_what_cannot_be_set_is_refused():
    circuit = netlist.Circuit("Parameters of an instance")
    cell = netlist.SubCircuit("cell", "p", r=1e3)
    cell.R("w", "p", cell.gnd, "{r}")
    circuit.subcircuit(cell)
    circuit.V("input", "a", circuit.gnd, 1)
    circuit.X("1", "cell", "a", r=2e3)
    design = from_pyspice(circuit, trainable=["rw"], bounds=(1e-6, 1.0), inputs=["vinput"], outputs=["a"])
    with pytest.raises(
        NetlistError, match="must be that of a resistor or of a parameter of the circuit, found it in 'X1"
    ):
        set_pyspice(circuit, design, {"x1.rw": 3e3})
    circuit.MOSFET(1, "a", "a", circuit.gnd, circuit.gnd, model="NM")
    with pytest.raises(NetlistError, match=r"PySpice circuit 'Parameters of an instance', line 7: an element must be"):
        from_pyspice(circuit)
