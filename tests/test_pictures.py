"""What is drawn and printed: small circuits, waveforms, networks, equilibria, results."""

import subprocess
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch

import analog_ep as aep
from analog_ep.analyses.class_scores import class_scores
from analog_ep.analyses.waveforms import MOST_VECTORS, plot_waveforms
from analog_ep.circuit import (
    Capacitors,
    CircuitBuilder,
    Conductances,
    Diodes,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.errors import CircuitError, NgspiceResultError
from analog_ep.networks.diagram import network_svg

DECK = """* RC
V1 in 0 ac 1 pulse(0 1 0 1n 1n 1 2)
R1 in out 1k
C1 out 0 1n
.tran 10n 5u
.ac dec 5 1 1e6
.end
"""


def small() -> aep.Circuit:
    builder = CircuitBuilder("two <nodes>")
    x, a, b = builder.add_nodes(["x", "a", "b"]).tolist()
    builder.add(VoltageSources("vx", x, 0, 1.5, 0))
    builder.add(Conductances("r", [x, x, a], [a, a, b], [1e-4, 2e-4, 5e-9]))
    builder.add(Capacitors("c", b, 0, 2e-12))
    builder.add(Diodes("d", a, 0, aep.ShockleyDiode()))
    builder.set_outputs(b, 0)
    return builder.build()


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(svg).iter() if each.tag.endswith("text")]


def test_a_small_circuit_is_drawn_with_names_and_values(tmp_path):
    drawing = small().draw()
    found = texts(drawing.svg)
    assert {"x", "a", "b", "vx 1.5 V", "r[0] 100 µS", "r[1] 200 µS", "r[2] 5 nS", "c 2 pF", "d"} == set(found)
    # Both resistors between x and a are drawn apart.
    places = {
        each.text: each.get("y") for each in ElementTree.fromstring(drawing.svg).iter() if each.tag.endswith("text")
    }
    assert places["r[0] 100 µS"] != places["r[1] 200 µS"]
    drawing.save(tmp_path / "c.svg")
    assert (tmp_path / "c.svg").read_text(encoding="utf-8") == drawing.svg + "\n"
    assert "two &lt;nodes&gt;" in small()._repr_html_()


def test_controls_are_drawn_dashed_and_parts_without_a_source():
    builder = CircuitBuilder("t")
    a, b, c = builder.add_nodes(["a", "b", "c"]).tolist()
    builder.add(VoltageControlledVoltageSources("e", b, 0, a, 0, 2.0))
    builder.add(Conductances("r", [a, b], [0, c], 1e-6))
    svg = builder.build().draw().svg
    assert svg.count("stroke-dasharray") == 1
    assert {"a", "b", "c", "e"} <= set(texts(svg))


def test_a_large_circuit_is_not_drawn():
    network = aep.ResistiveNetwork([8, 8, 4])
    with pytest.raises(CircuitError, match="a drawing without places shows 60 elements at most, found 322"):
        network.circuit().draw()
    assert "<svg" not in network.circuit()._repr_html_()


def test_nodes_stand_where_places_say_and_more_elements_are_drawn_then():
    builder = CircuitBuilder("lattice")
    names = [f"n{row}{column}" for row in range(7) for column in range(6)]
    builder.add_nodes(names)
    edges = [(f"n{r}{c}", f"n{r}{c + 1}") for r in range(7) for c in range(5)]
    edges += [(f"n{r}{c}", f"n{r + 1}{c}") for r in range(6) for c in range(6)]
    builder.add(Conductances("r", [p for p, _ in edges], [n for _, n in edges], 1e-6))
    builder.add(Conductances("leak", "n20", 0, 1e-9))
    circuit = builder.build()
    assert circuit.n_branches == 72
    places = {name: (int(name[2]) + 3.0, int(name[1]) - 1.0) for name in names}
    svg = circuit.draw(places).svg
    found = {each.text: each for each in ElementTree.fromstring(svg).iter() if each.tag.endswith("text")}
    x, y = ({name: float(found[name].attrib[axis]) for name in names} for axis in "xy")
    steps_right = {x[f"n{r}{c + 1}"] - x[f"n{r}{c}"] for r in range(7) for c in range(5)}
    steps_down = {y[f"n{r + 1}{c}"] - y[f"n{r}{c}"] for r in range(6) for c in range(6)}
    assert (len(steps_right), len(steps_down)) == (1, 1)
    assert min(steps_right | steps_down) > 100
    assert min(*x.values(), *y.values()) > 0
    # What hangs from a node stands beside what leads down from it.
    down = float(found["r[47] 1 µS"].attrib["x"])
    assert down - float(found["leak 1 nS"].attrib["x"]) > 20
    with pytest.raises(CircuitError, match="found none for n00, n01, n02, n03, n04, …; give each"):
        circuit.draw({name: place for name, place in places.items() if name > "n2"})


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (aep.ResistiveNetwork([4, 6, 3], gain=2.0), {"10 × 6 cells", "14 × 6 cells", "6 nodes", "3 outputs"}),
        (aep.ResistiveNetwork([4, 6, 3], diode=aep.IdealDiode()), {"HardClamp", "4 inputs"}),
        (aep.HopfieldNetwork([4, 6, 3]), {"4 × 6", "6 × 3", "3 leaky integrators"}),
    ],
)
def test_layers_are_drawn(network, words):
    assert words <= set(texts(network_svg(network)))
    assert "<svg" in network._repr_html_()
    assert repr(network) == f"{type(network).__name__}({'-'.join(map(str, network.sizes))}, " + (
        f"{sum(p.numel() for p in network.parameters())} parameters, float32)"
    )


def test_a_circuit_that_learns_is_shown_with_its_circuit():
    builder = CircuitBuilder("t")
    x, y = builder.add_nodes(["x", "y"]).tolist()
    builder.add(VoltageSources("v", x, 0, 0.0, 0))
    builder.add(Conductances("r", [x, y], [y, 0], 1e-4, "r", [0, 1]))
    builder.set_outputs(y, 0)
    network = aep.CircuitNetwork(builder.build(), bounds=(1e-6, 1e-3))
    assert network_svg(network) == ""
    assert "r[0] 100 µS" in network._repr_html_()


def test_an_equilibrium_says_its_phase_and_outputs():
    network = aep.ResistiveNetwork([2, 3, 1], dtype=torch.float64)
    inputs = torch.rand(12, 2, dtype=torch.float64)
    free = aep.solve(network, inputs, solver=aep.Relaxation())
    assert repr(free).startswith(
        "Equilibrium of a ResistiveNetwork, free: 12 of 12 samples converged, outputs (12, 1), largest residual "
    )
    nudge = aep.Nudge(1e-6, torch.zeros(12, 1, dtype=torch.float64), aep.SquaredError())
    nudged = aep.solve(network, inputs, nudge, solver=aep.Relaxation(), start=free)
    assert "nudged by 1e-06" in repr(nudged)
    assert f"{float(free.outputs[9, 0]):.6g}" in free._repr_html_()
    assert free._repr_html_().count("<tr>") == 11


def test_results_are_shown_as_their_tables():
    html = class_scores(np.array([0, 1]), np.array([0, 1]), 2)._repr_html_()  # pyright: ignore[reportAttributeAccessIssue]
    assert "<th>samples</th>" in html
    assert issubclass(aep.CrossCheck, type(class_scores(np.array([0]), np.array([0]), 1)).__bases__[0])


@pytest.mark.ngspice
def test_waveforms_of_a_raw_file(tmp_path):
    (tmp_path / "rc.cir").write_text(DECK)
    subprocess.run(
        ["ngspice", "-n", "-b", "-r", "rc.raw", "rc.cir"], cwd=tmp_path, check=True, capture_output=True, timeout=60
    )
    figure = plot_waveforms(tmp_path / "rc.raw", ["v(out)", "i(v1)"])
    panels = [panel for panel in figure.axes if panel.lines]
    assert len(panels) == 4
    by_scale = {(panel.get_xlabel(), panel.get_ylabel()): panel for panel in panels}
    line = by_scale["time", "voltage"].lines[0]
    times, volts = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    # 1 − e^{−t/RC}, but for the first nanosecond.
    np.testing.assert_allclose(volts[times > 5e-8], 1 - np.exp(-(times[times > 5e-8] - 0.5e-9) / 1e-6), atol=2e-3)
    with pytest.raises(NgspiceResultError, match=r"must hold vectors called v\(nowhere\)"):
        plot_waveforms(tmp_path / "rc.raw", ["v(nowhere)"])
    assert len(plot_waveforms(tmp_path / "rc.raw").axes[0].lines) <= MOST_VECTORS
