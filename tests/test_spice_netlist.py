"""The text of every card, and that nothing unchecked is written."""

# Branches take scalars and lists where the fields, once set, are arrays.
# pyright: reportArgumentType=false

import numpy as np
import pytest
import torch

from analog_ep.circuit import (
    Amplifiers,
    Branches,
    Capacitors,
    Chip,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentControlledCurrentSources,
    CurrentControlledVoltageSources,
    CurrentSources,
    Diodes,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.devices import PiecewiseLinearDiode, ShockleyDiode
from analog_ep.errors import CircuitError, DeviceParameterError, NodeNameError
from analog_ep.netlist.netlist import NetlistWriter, SpiceOptions, constant_drive, number


def cards(*groups: Branches, drive=None) -> list[str]:
    circuit = Circuit("test", ("0", "a", "b", "c"), groups)
    return list(NetlistWriter(circuit, drive).element_cards())


def test_two_terminal_elements():
    assert cards(Conductances("stage1", [1, 2], [2, 0], [1e-3, 2e-6])) == [
        "r_stage1_0 a b 1000.0",
        "r_stage1_1 b 0 500000.0",
    ]
    assert cards(Capacitors("load", 1, 0, 1e-12)) == ["c_load_0 a 0 1e-12"]
    assert cards(VoltageSources("rail", 1, 0, -0.25)) == ["v_rail_0 a 0 -0.25"]
    assert cards(CurrentSources("pull", 1, 0, 1e-9)) == ["i_pull_0 a 0 1e-09"]


def test_controlled_sources():
    assert cards(VoltageControlledVoltageSources("e", 1, 0, 2, 3, 2.0)) == ["e_e_0 a 0 b c 2.0"]
    assert cards(VoltageControlledCurrentSources("g", 1, 0, 2, 3, 1e-3)) == ["g_g_0 a 0 b c 0.001"]
    meter = VoltageSources("meter", [1, 2], [2, 3], 0.0)
    assert cards(meter, CurrentControlledCurrentSources("f", 3, 0, "meter", 1, 5.0))[-1] == "f_f_0 c 0 v_meter_1 5.0"
    assert cards(meter, CurrentControlledVoltageSources("h", 3, 0, "meter", 0, 50.0))[-1] == "h_h_0 c 0 v_meter_0 50.0"


def test_a_controlled_source_refers_to_a_driven_source_by_the_name_it_has():
    source = VoltageSources("x", [1], [0], 0.0, 0)
    copy = CurrentControlledCurrentSources("f", 3, 0, "x", 0, 1.0)
    assert cards(source, copy, drive=lambda group: ["pwl(v(idx),0,1.0,1,2.0)"]) == [
        "b_x_0 a 0 v=pwl(v(idx),0,1.0,1,2.0)",
        "f_f_0 c 0 b_x_0 1.0",
    ]
    assert cards(source, copy, drive=constant_drive(np.array([3.0]))) == ["v_x_0 a 0 3.0", "f_f_0 c 0 v_x_0 1.0"]


def test_amplifiers():
    assert cards(Amplifiers("amp", 1, 2, 4.0, 0.25)) == [
        "e_amp_0 _amp_0 0 a 0 4.0",
        "v_amp_0 _amp_0 b 0.0",
        "f_amp_0 a 0 v_amp_0 0.25",
    ]
    assert cards(Amplifiers("amp", 1, 2, 4.0, 0.25, 3))[3:] == [
        "e_amp_0_inv _amp_0_inv 0 a 0 -4.0",
        "v_amp_0_inv _amp_0_inv c 0.0",
        "f_amp_0_inv a 0 v_amp_0_inv -0.25",
    ]


def test_an_offset_stands_before_the_amplifier():
    assert cards(Amplifiers("amp", 1, 2, 4.0, 0.25, 3, 0.01)) == [
        "v_amp_0_offset _amp_0_in a 0.01",
        "e_amp_0 _amp_0 0 _amp_0_in 0 4.0",
        "v_amp_0 _amp_0 b 0.0",
        "f_amp_0 _amp_0_in 0 v_amp_0 0.25",
        "e_amp_0_inv _amp_0_inv 0 _amp_0_in 0 -4.0",
        "v_amp_0_inv _amp_0_inv c 0.0",
        "f_amp_0_inv _amp_0_in 0 v_amp_0_inv -0.25",
    ]


def test_piecewise_linear_diode():
    device = PiecewiseLinearDiode((-0.5, 0.5), (-1e-3, 1e-3), leakage=1e-3)
    assert cards(Diodes("d", 1, 2, device)) == [
        "b_d_0 a b i=0.001*v(a,b)+(-0.001)*(max(v(a,b)-(-0.5),0)-(0.5))+(0.001)*(max(v(a,b)-(0.5),0)-(0.0))"
    ]


def test_diodes_of_equal_parameters_share_a_model():
    device = ShockleyDiode(saturation_current=torch.tensor([1e-14, 2e-14, 1e-14], dtype=torch.float64))
    circuit = Circuit("t", ("0", "a"), (Diodes("d", [1, 1, 0], [0, 0, 1], device),))
    writer = NetlistWriter(circuit)
    assert writer.model_cards() == [
        ".model diode_0 D(IS=1e-14 N=1.0 EG=1.11 XTI=3.0 TNOM=27.0)",
        ".model diode_1 D(IS=2e-14 N=1.0 EG=1.11 XTI=3.0 TNOM=27.0)",
    ]
    assert list(writer.element_cards()) == ["d_d_0 a 0 diode_0", "d_d_1 a 0 diode_1", "d_d_2 0 a diode_0"]


def test_mismatch_gives_a_model_an_element():
    builder = CircuitBuilder("t")
    nodes = builder.add_nodes(f"n{i}" for i in range(5))
    builder.add_diodes("d", nodes, np.zeros(5, int), ShockleyDiode())
    circuit = builder.build()
    chip = Chip.draw(circuit, 0, saturation_current=0.1)
    assert len(NetlistWriter(chip.apply(circuit)).model_cards()) == 5
    assert len(NetlistWriter(circuit).model_cards()) == 1


def test_temperature_is_written_in_celsius_where_it_differs():
    device = ShockleyDiode(temperature=torch.tensor([300.15, 323.15], dtype=torch.float64))
    circuit = Circuit("t", ("0", "a"), (Diodes("d", [1, 1], [0, 0], device),))
    assert list(NetlistWriter(circuit).element_cards()) == ["d_d_0 a 0 diode_0", "d_d_1 a 0 diode_0 temp=50.0"]


def test_series_resistance_without_a_node_of_its_own():
    circuit = Circuit("t", ("0", "a"), (Diodes("d", 1, 0, ShockleyDiode(series_resistance=10.0)),))
    assert "N=1.0 RS=10.0 EG" in NetlistWriter(circuit).model_cards()[0]


def test_options_are_explicit():
    circuit = Circuit("t", ("0", "a"), (Conductances("r", 1, 0, 1e-3),))
    assert NetlistWriter(circuit).options_card() == (
        ".options TEMP=27.0 TNOM=27.0 reltol=1e-09 vntol=1e-12 abstol=1e-15 gmin=1e-15 itl1=1000 itl2=500"
    )
    leaky = circuit.with_groups([Diodes("d", 1, 0, ShockleyDiode(gmin=1e-12))])
    assert "gmin=1e-12" in NetlistWriter(leaky).options_card()


def test_diodes_and_simulation_have_one_gmin():
    two = torch.tensor([1e-12, 1e-15], dtype=torch.float64)
    circuit = Circuit("t", ("0", "a"), (Diodes("d", [1, 1], [0, 0], ShockleyDiode(gmin=two)),))
    with pytest.raises(DeviceParameterError, match=r"one gmin for all junctions, found \[1e-15, 1e-12\]"):
        NetlistWriter(circuit)
    single = circuit.with_groups([Diodes("d", 1, 0, ShockleyDiode())])
    with pytest.raises(DeviceParameterError, match="one gmin"):
        NetlistWriter(single, options=SpiceOptions(gmin=1e-12))


@pytest.mark.parametrize(
    "name", ["x\n.control", "x;y", "a b", "GND", "é", "0", "_a", "", "all", "time", "value", "x$", "1M", "a.b"]
)
def test_a_name_that_a_netlist_cannot_carry(name):
    circuit = Circuit("t", ("0", name), (Conductances("r", 1, 0, 1e-3),))
    with pytest.raises(NodeNameError, match=r"a name must match|reserved"):
        NetlistWriter(circuit)
    labelled = Circuit("t", ("0", "a"), (Conductances(name, 1, 0, 1e-3),))
    with pytest.raises(NodeNameError, match=r"a name must match|reserved"):
        NetlistWriter(labelled)


def test_names_are_unique_and_ground_comes_first():
    with pytest.raises(NodeNameError, match="unique, found 'a' twice"):
        NetlistWriter(Circuit("t", ("0", "a", "b", "a"), ()))
    with pytest.raises(NodeNameError, match="unique, found 'r' twice"):
        NetlistWriter(Circuit("t", ("0", "a"), (Conductances("r", 1, 0, 1.0), Conductances("r", 1, 0, 1.0))))
    with pytest.raises(NodeNameError, match="first node must be ground"):
        NetlistWriter(Circuit("t", ("a", "0"), ()))


@pytest.mark.parametrize("title", ["one\n.control", "ünter"])
def test_a_title_is_one_line(title):
    with pytest.raises(NodeNameError, match="printable ASCII on one line"):
        NetlistWriter(Circuit(title, ("0",), ())).title_card()


def test_an_expression_is_of_few_characters():
    with pytest.raises(NodeNameError, match="an expression may not contain"):
        cards(VoltageSources("x", 1, 0, 0.0, 0), drive=lambda group: ["1\n.control"])


def test_numbers():
    assert [number(x) for x in (1, 1e-15, 1e16, -0.1, np.float64(1 / 3))] == [
        *("1.0", "1e-15", "1e+16", "-0.1", "0.3333333333333333")
    ]
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(CircuitError, match=f"finite numbers only, found {value}"):
            number(value)
    with pytest.raises(CircuitError, match="finite numbers only"):
        cards(VoltageSources("v", 1, 0, np.nan))
    with pytest.raises(CircuitError, match="r: a resistor cannot stand for 0 S"):
        cards(Conductances("r", 1, 0, 0.0, nudge=True))


def test_inputs_need_values_and_kinds_need_cards():
    with pytest.raises(CircuitError, match="the circuit has 3 inputs; give the values"):
        cards(VoltageSources("x", 1, 0, 0.0, 2))

    class Films(Conductances):
        """Of the same law, and so of the same card."""

    assert cards(Films("m", 1, 0, 1e-3)) == ["r_m_0 a 0 1000.0"]

    class Memristors(Conductances):
        def current(self, *volts):
            return self.siemens * np.sinh(volts[0])

    with pytest.raises(CircuitError, match="m: no netlist card stands for Memristors"):
        cards(Memristors("m", 1, 0, 1e-3))


def test_many_resistors_keep_their_order():
    count = 10**5
    circuit = Circuit("t", ("0", "a"), (Conductances("r", np.ones(count, int), np.zeros(count, int), 1e-3),))
    lines = list(NetlistWriter(circuit).element_cards())
    assert len(lines) == count
    assert lines[-1] == "r_r_99999 a 0 1000.0"
