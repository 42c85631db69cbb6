"""The Kirchhoff residual against currents worked out by hand."""

# Scalars for element values are spread over the elements, which the annotations do not say.
# pyright: reportArgumentType=false

import numpy as np
import pytest
import torch
from mna import solve_mna
from random_circuits import Recipe, build, inputs_of

from analog_ep.circuit import (
    Amplifiers,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentControlledCurrentSources,
    CurrentSources,
    Diodes,
    VoltageControlledCurrentSources,
    VoltageSources,
)
from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium.nodal import residual as kirchhoff
from analog_ep.equilibrium.nodal.residual import kirchhoff_residual
from analog_ep.errors import CircuitError


def residual_at(circuit: Circuit, injected: np.ndarray | None = None, **volts: float) -> tuple[dict, dict]:
    """Residual and scale by node name; nodes not named are at 0 V."""
    state = np.zeros((1, circuit.n_nodes))
    for name, value in volts.items():
        state[0, circuit.node(name)] = value
    residual, scale = kirchhoff_residual(circuit, state, injected)
    return dict(zip(circuit.node_names, residual[0], strict=True)), dict(zip(circuit.node_names, scale[0], strict=True))


def node_with(*groups, extra=()):
    """A node x with 1 mS to a 2 V source and 1 mS to ground, and what is added to it."""
    builder = CircuitBuilder("node")
    top, x, *more = builder.add_nodes(["top", "x", *extra])
    builder.add(VoltageSources("v", top, 0, 2.0))
    builder.add(Conductances("g", [top, x], [x, 0], 1e-3))
    for make in groups:
        builder.add(make(x, *more))
    return builder.build()


def test_current_out_of_a_node_and_what_it_is_made_of():
    residual, scale = residual_at(node_with(), top=2.0, x=1.25)
    assert residual == pytest.approx({"0": 0, "top": 0, "x": 1.25e-3 - 0.75e-3})
    assert scale == pytest.approx({"0": 2e-3, "top": 1.5e-3, "x": 2e-3})


def test_injected_current_counts_into_the_node():
    circuit = node_with()
    injected = np.zeros((1, 3))
    injected[0, circuit.node("x")] = 3e-4
    residual, scale = residual_at(circuit, injected, top=2.0, x=1.0)
    assert residual["x"] == pytest.approx(-3e-4)
    assert scale["x"] == pytest.approx(2.3e-3)


def test_diodes_current_sources_and_transconductances():
    device = ShockleyDiode(1e-12)
    circuit = node_with(
        lambda x: Diodes("d", x, 0, device),
        lambda x: CurrentSources("i", x, 0, 2e-4),
        lambda x: VoltageControlledCurrentSources("gm", 0, x, x, 0, 5e-4),
    )
    residual, _ = residual_at(circuit, top=2.0, x=0.5)
    diode = float(device.current(torch.tensor(0.5, dtype=torch.float64)))
    assert residual["x"] == pytest.approx(0.5e-3 - 1.5e-3 + diode + 2e-4 - 2.5e-4)


def test_an_amplifier_draws_feedback_times_its_outputs_currents():
    # 2 mS load p to ground at +4 V and 3 mS load q at −4 V: 8 mA leave p, −12 mA leave q, and x loses k·20 mA.
    circuit = node_with(
        lambda x, p, q: Amplifiers("amp", x, p, 4.0, 0.5, q),
        lambda x, p, q: Conductances("load", [p, q], [0, 0], [2e-3, 3e-3]),
        extra=["p", "q"],
    )
    residual, _ = residual_at(circuit, top=2.0, x=1.0, p=4.0, q=-4.0)
    assert residual == pytest.approx({"0": 0, "top": 0, "x": 0.5 * 20e-3, "p": 0, "q": 0})


def test_a_chain_of_amplifiers_passes_the_draw_on():
    # r sinks 6 mA; the second draws 3·6 mA from p, which the first supplies, and draws 0.5·18 mA from x.
    circuit = node_with(
        lambda x, p, r: Amplifiers("amp", [x, p], [p, r], 2.0, [0.5, 3.0]),
        lambda x, p, r: Conductances("load", r, 0, 1.5e-3),
        extra=["p", "r"],
    )
    residual, _ = residual_at(circuit, top=2.0, x=1.0, p=2.0, r=4.0)
    assert residual["x"] == pytest.approx(0.5 * 3.0 * 6e-3)


def test_a_floating_source_makes_one_node_of_two():
    # 1 mS from y to ground at 1.3 V: 1.3 mA leave y, and the law holds for x and y together, at x.
    circuit = node_with(
        lambda x, y: VoltageSources("battery", y, x, 0.3),
        lambda x, y: Conductances("load", y, 0, 1e-3),
        extra=["y"],
    )
    residual, scale = residual_at(circuit, top=2.0, x=1.0, y=1.3)
    assert residual == pytest.approx({"0": 0, "top": 0, "x": 1.3e-3, "y": 0})
    assert scale["y"] == pytest.approx(2.6e-3)


def test_a_current_controlled_source_reads_the_law_at_its_ammeter():
    # 2 mA flow through the ammeter from x into y's load; f draws ten times that from z.
    circuit = node_with(
        lambda x, y, z: VoltageSources("ammeter", x, y, 0.0),
        lambda x, y, z: Conductances("load", [y, z], [0, 0], [2e-3, 1e-3]),
        lambda x, y, z: CurrentControlledCurrentSources("f", z, 0, "ammeter", 0, 10.0),
        extra=["y", "z"],
    )
    residual, _ = residual_at(circuit, top=2.0, x=1.0, y=1.0, z=-20.0)
    assert residual == pytest.approx({"0": 0, "top": 0, "x": 2e-3, "y": 0, "z": 0}, abs=1e-15)


def test_each_current_controlled_source_reads_its_own_ammeter():
    # 3 mA flow through the first ammeter, 4 mA through the second, and f draws twice the latter from z.
    circuit = node_with(
        lambda x, y, w, z: VoltageSources("ammeters", [x, x], [y, w], 0.0),
        lambda x, y, w, z: Conductances("load", [y, w, z], [0, 0, 0], [3e-3, 4e-3, 1e-3]),
        lambda x, y, w, z: CurrentControlledCurrentSources("f", z, 0, "ammeters", 1, 2.0),
        extra=["y", "w", "z"],
    )
    residual, _ = residual_at(circuit, top=2.0, x=1.0, y=1.0, w=1.0, z=-8.0)
    assert residual["z"] == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("seed", range(6))
def test_it_vanishes_at_solutions_of_modified_nodal_analysis(seed):
    circuit = build(Recipe(seed, block_sizes=(3, 2), controlled=seed % 2 == 0, floating=True, reciprocal=False))
    inputs = inputs_of(circuit, 1, seed)
    residual, scale = kirchhoff_residual(circuit, solve_mna(circuit, inputs[0])[None])
    assert np.all(np.abs(residual) <= 1e-9 * scale + 1e-16)


def test_it_is_the_same_in_chunks(monkeypatch):
    circuit = build(Recipe(1, block_sizes=(3, 2), floating=True))
    state = np.random.default_rng(0).normal(size=(7, circuit.n_nodes))
    whole = kirchhoff_residual(circuit, state)
    monkeypatch.setattr(kirchhoff, "BRANCH_CHUNK", 2 * circuit.n_branches)
    for part, expected in zip(kirchhoff_residual(circuit, state), whole, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-12, atol=1e-18)


def test_a_loop_of_sources_has_no_currents():
    circuit = node_with(lambda x: VoltageSources("w", [x, x], [0, 0], 1.0))
    with pytest.raises(CircuitError, match="must not form a loop: then their currents are not determined"):
        kirchhoff_residual(circuit, np.zeros((1, 3)))


def test_a_source_that_feeds_its_own_ammeter_has_no_current():
    circuit = node_with(
        lambda x, y: VoltageSources("ammeter", y, x, 0.0),
        lambda x, y: CurrentControlledCurrentSources("f", x, y, "ammeter", 0, 1.0),
        extra=["y"],
    )
    with pytest.raises(CircuitError, match="the currents of the voltage sources are not determined"):
        kirchhoff_residual(circuit, np.zeros((1, 4)))
