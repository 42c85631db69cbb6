"""Circuits built by hand: nodes by name, values as text, and a text of one screen."""

import numpy as np
import pytest

from analog_ep.circuit import (
    Amplifiers,
    Circuit,
    CircuitBuilder,
    Conductances,
    VoltageControlledCurrentSources,
    VoltageSources,
)
from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.errors import CircuitError, NodeNameError


def _solved(circuit: Circuit) -> np.ndarray:
    return Newton().solve_circuit(circuit, np.zeros((1, circuit.n_inputs))).voltages[0]


def _named() -> CircuitBuilder:
    builder = CircuitBuilder("named")
    builder.add_nodes(["a", "b", "c", "d", "e"])
    builder.add(VoltageSources("v", "a", "0", "1500m"))
    builder.add(Conductances("r", ["a", "b", "d"], ["b", "0", "0"], ["1m", "500u", 2e-3]))
    builder.add(VoltageControlledCurrentSources("g", "0", "d", "a", "b", "1e-3"))
    builder.add(Amplifiers("amp", "b", "c", 2.0, "0.5", inverted=["e"]))
    builder.add(Conductances("load", ["c", "e"], "0", "100u"))
    builder.add_diodes("dx", ["b", "d"], "0", ShockleyDiode(series_resistance=10.0))
    builder.set_outputs(["c", "d"], ["0", "e"])
    return builder


def _indexed() -> CircuitBuilder:
    builder = CircuitBuilder("indexed")
    a, b, c, d, e = builder.add_nodes(["a", "b", "c", "d", "e"])
    builder.add(VoltageSources("v", a, 0, 1.5))
    builder.add(Conductances("r", [a, b, d], [b, 0, 0], [1e-3, 500e-6, 2e-3]))
    builder.add(VoltageControlledCurrentSources("g", 0, d, a, b, 1e-3))
    builder.add(Amplifiers("amp", b, c, 2.0, 0.5, inverted=e))
    builder.add(Conductances("load", [c, e], 0, 100e-6))
    builder.add_diodes("dx", [b, d], [0, 0], ShockleyDiode(series_resistance=10.0))
    builder.set_outputs([c, d], [0, e])
    return builder


def test_names_and_texts_are_indices_and_numbers():
    named, indexed = _named().build(), _indexed().build()
    assert named.node_names == indexed.node_names
    for one, other in zip(named.groups, indexed.groups, strict=True):
        for (name, found), expected in zip(one.arrays().items(), other.arrays().values(), strict=True):
            assert found.dtype == expected.dtype, (one.label, name)
            np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(_solved(named), _solved(indexed))


def test_indices_and_names_may_be_mixed():
    builder = CircuitBuilder("mixed")
    a, b = builder.add_nodes(["a", "n1"])
    builder.add(VoltageSources("v", a, 0, 1.0))
    # A name that looks like no number, beside an index that must not be read as a name.
    builder.add(Conductances("r", [a, "n1"], [b, 0], "1k"))
    group = builder.build().group("r")
    assert group.nodes().tolist() == [1, 2, 2, 0]


def test_an_unknown_node_is_named():
    builder = CircuitBuilder("typo")
    builder.add_nodes(["out"])
    with pytest.raises(
        CircuitError, match=r"^r: nodes must be added first, found no node called 'ouy'; see add_nodes$"
    ):
        builder.add(Conductances("r", ["out", "ouy"], "0", 1e-3))
    with pytest.raises(CircuitError, match=r"^outputs: nodes must be added first, found no node called 'x'"):
        builder.set_outputs("x", "0")
    with pytest.raises(CircuitError, match=r"^d: nodes must be added first, found no node called 'gnd'"):
        builder.add_diodes("d", "out", "gnd", ShockleyDiode())


def test_one_text_is_not_several_nodes():
    with pytest.raises(
        NodeNameError, match=r"^names of nodes must be a sequence of texts, found 'ab'; write \['ab'\]$"
    ):
        CircuitBuilder("ab").add_nodes("ab")


@pytest.mark.parametrize("text", ["10q!", "", "1e", "2mil", "1e999", "ten"])
def test_a_text_that_is_no_number_is_refused(text):
    with pytest.raises(CircuitError, match=r"^r: siemens: a (number|value)"):
        Conductances("r", 1, 0, text)


def test_a_circuit_of_names_is_refused():
    group = Conductances("d", ["a"], ["b"], 1.0)
    with pytest.raises(CircuitError, match="d: nodes must be indices, found names; use CircuitBuilder"):
        Circuit("direct", ("0", "a", "b"), (group,))


def test_the_text_of_a_circuit_is_one_screen():
    assert repr(_named().build()).splitlines() == [
        "Circuit 'named': 8 nodes, 12 elements",
        "  v: 1 VoltageSources",
        "  r: 3 Conductances",
        "  g: 1 VoltageControlledCurrentSources",
        "  amp: 1 Amplifiers",
        "  load: 2 Conductances",
        "  dx_rs: 2 Conductances",
        "  dx: 2 Diodes",
        "  0 inputs, 2 outputs: c, d-e",
    ]
    builder = CircuitBuilder("large")
    builder.add_nodes([f"n{i}" for i in range(1000)])
    for i in range(500):
        builder.add(Conductances(f"r{i}", [i + 1], 0, 1e-3, f"w{i}", [0]))
    builder.set_outputs(np.arange(1, 101), 0)
    lines = repr(builder.build()).splitlines()
    assert len(lines) == 26
    assert lines[1] == "  r0: 1 Conductances, learns as 'w0'"
    assert lines[-2:] == ["  and 477 groups more", "  0 inputs, 100 outputs: n0, n1, n2, n3, n4, n5 and 94 more"]
