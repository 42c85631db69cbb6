"""Crossbars whose lines have resistance: the layer equations against Newton and ngspice on every segment."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from analog_ep import (
    CrossEntropy,
    EquilibriumPropagation,
    FusedStep,
    IdealDiode,
    ImplicitDifferentiation,
    Newton,
    Ngspice,
    Nudge,
    Relaxation,
    ShockleyDiode,
    SmallSignal,
    SquaredError,
    solve,
)
from analog_ep.analyses.wires import largest_array, wire_report
from analog_ep.circuit import Capacitors, Chip, Conductances
from analog_ep.circuit.cells import draw_segment_faults
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.equilibrium.layered.resistive_layers import Ladder
from analog_ep.equilibrium.layered.stability import output_impedance
from analog_ep.errors import NetworkError, SpecError, StimulusError
from analog_ep.networks import ResistiveNetwork, Wires
from analog_ep.networks.wires.elimination import LineElimination
from analog_ep.runs.building import build_network
from analog_ep.runs.chips import build_chip
from analog_ep.spec import parse_spec

DOUBLE = torch.float64
KINDS = {
    "plain": Wires(row_resistance=100.0, column_resistance=50.0),
    "both ends": Wires(1e3, 1e3, driver_resistance=300.0, driven_at="both", sensed_at="both"),
    "tiles": Wires(10.0, 7.0, cell_resistance=2e3, driven_at="last", sensed_at="first", tile_rows=3, tile_columns=2),
    "columns alone": Wires(0.0, 10.0, driver_resistance=100.0, sensed_at="first", tile_rows=3, tile_columns=2),
    "joined tiles": Wires(100.0, 50.0, join_resistance=400.0, sensed_at="both", tile_rows=3, tile_columns=2),
    "joins alone": Wires(join_resistance=200.0, tile_rows=2),
    "drivers alone": Wires(driver_resistance=100.0, driven_at="both", tile_columns=2),
    "cells alone": Wires(cell_resistance=1e3),
    "rows alone": Wires(row_resistance=200.0, sensed_at="both", driven_at="last", tile_rows=5, tile_columns=3),
}


def network(wires: Wires | None, sizes=(3, 5, 4, 2), dtype=DOUBLE, **others) -> ResistiveNetwork:
    options = {"gain": 3.0, "feedback": 0.5, "conductance_range": (1e-6, 1e-3), "seed": 4} | others
    diode = options.pop("diode", ShockleyDiode(saturation_current=1e-9))
    return ResistiveNetwork(sizes, diode=diode, wires=wires, dtype=dtype, **options)


def stimulus(net: ResistiveNetwork, samples: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, net.n_inputs, generator=generator, dtype=DOUBLE)
    return inputs, torch.randn(samples, net.n_outputs, generator=generator, dtype=DOUBLE)


def gradients(method, inputs, targets) -> dict[str, torch.Tensor]:
    for parameter in method.network.parameters():
        parameter.grad = None
    method.backward(inputs, targets)
    return {name: parameter.grad.clone() for name, parameter in method.network.named_parameters()}


def worst(found: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    return max(float((found[name] - right[name]).abs().max() / right[name].abs().max()) for name in right)


@pytest.mark.parametrize("wires", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("drive", ["single", "differential"])
def test_layers_have_the_voltages_of_every_node_of_the_circuit(wires, drive):
    net = network(wires, drive=drive)
    inputs, targets = stimulus(net)
    for nudge in (None, Nudge(1e-6, targets, SquaredError(), "elastic"), Nudge(-1e-6, targets, SquaredError())):
        fast, slow = (solve(net, inputs, nudge, solver=solver) for solver in (Relaxation(), Newton()))
        assert float((fast.voltages - slow.voltages).abs().max()) < 1e-12
        assert float(fast.voltage_error_bound.max()) < 1e-9


@pytest.mark.parametrize("wires", KINDS.values(), ids=KINDS)
def test_gradients_are_exact(wires):
    net = network(wires)
    inputs, targets = stimulus(net)
    right = gradients(ImplicitDifferentiation(net), inputs, targets)
    assert worst(gradients(SmallSignal(net), inputs, targets), right) < 1e-11
    phases = EquilibriumPropagation(net, nudging=1e-7, variant="centered")
    assert worst(gradients(phases, inputs, targets), right) < 1e-5


def test_gradients_are_exact_where_wires_take_a_third_of_the_input():
    net = network(Wires(100.0, 100.0), sizes=(8, 16, 6, 2), initial_range=(1e-5, 1e-3))
    inputs, targets = stimulus(net)
    state = solve(net, inputs, solver=Relaxation())
    skeleton = net.circuit()
    far = state.voltages[:, [skeleton.node(f"stage1_row{i}_15") for i in range(8)]]
    assert float((far / inputs).median()) < 0.7
    ideal = network(None, sizes=(8, 16, 6, 2), initial_range=(1e-5, 1e-3))
    assert worst(gradients(SmallSignal(net), inputs, targets), gradients(SmallSignal(ideal), inputs, targets)) > 0.1
    right = gradients(ImplicitDifferentiation(net), inputs, targets)
    assert worst(gradients(SmallSignal(net), inputs, targets), right) < 1e-10


def test_gradient_is_that_of_the_cost_by_differences():
    net = network(KINDS["tiles"])
    inputs, targets = stimulus(net)
    found = gradients(SmallSignal(net), inputs, targets)["stage1"]

    def cost() -> float:
        state = solve(net, inputs, solver=Newton())
        return float(SquaredError().value(state.outputs, targets).mean())

    for place in ((0, 0), (3, 4), (7, 2)):
        with torch.no_grad():
            costs = []
            for step in (1e-4, -1e-4):
                net.theta("stage1")[place] += step
                costs.append(cost())
                net.theta("stage1")[place] -= step
        assert (costs[0] - costs[1]) / 2e-4 == pytest.approx(float(found[place]), rel=1e-4)


@pytest.mark.parametrize("wires", [KINDS["plain"], KINDS["tiles"], KINDS["both ends"]], ids=["plain", "tiles", "both"])
def test_ngspice_has_the_same_voltages(wires):
    net = network(wires)
    inputs, targets = stimulus(net, 2)
    for nudge in (None, Nudge(1e-6, targets, SquaredError(), "elastic")):
        fast, judge = (solve(net, inputs, nudge, solver=solver) for solver in (Relaxation(), Ngspice()))
        assert float((fast.voltages - judge.voltages).abs().max()) < 1e-8


def test_single_precision_has_its_own_rounding():
    wide, narrow = (network(KINDS["plain"], dtype=dtype) for dtype in (DOUBLE, torch.float32))
    inputs, targets = stimulus(wide)
    right = gradients(SmallSignal(wide), inputs, targets)
    found = gradients(SmallSignal(narrow), inputs.float(), targets.float())
    assert worst({name: value.double() for name, value in found.items()}, right) < 1e-4


def test_wires_without_resistance_are_no_wires():
    plain, merged = network(None), network(Wires())
    assert merged.circuit().node_names == plain.circuit().node_names
    inputs, targets = stimulus(plain)
    right, found = (gradients(SmallSignal(net), inputs, targets) for net in (plain, merged))
    assert worst(found, right) < 1e-11
    half = network(Wires(row_resistance=100.0)).circuit()
    assert not any(name.startswith("stage1_column") for name in half.node_names)


def test_a_tenth_more_resistance_moves_the_voltages():
    inputs, _ = stimulus(network(None))
    one, other = (solve(network(Wires(r, r)), inputs, solver=Relaxation()).outputs for r in (100.0, 110.0))
    assert float((one - other).abs().max()) > 1e-3


def test_energy_is_that_of_the_circuit_and_least_at_the_free_state():
    net = network(KINDS["tiles"], sizes=(3, 5, 2))
    inputs, _ = stimulus(net)
    state = solve(net, inputs, solver=Relaxation())
    circuit, found = net.circuit(), net.energy(inputs, state.layers)
    volts = state.voltages.numpy()
    right = 0.0
    for group in circuit.of_kind(Conductances):
        weight = 1.0 if group.label.startswith("stage1") else net.feedback / net.gain
        across = volts[:, group.positive] - volts[:, group.negative]
        right = right + weight * 0.5 * (group.siemens * across**2).sum(1)
    right = right + net.clamps[0].cocontent(state.layers[0]).sum(1).numpy()
    assert found.numpy() == pytest.approx(right, rel=1e-9)
    for k in range(2):
        moved = tuple(layer + 1e-3 * (n == k) for n, layer in enumerate(state.layers))
        assert bool((net.energy(inputs, moved) > found).all())


def test_output_impedance_is_that_of_newton():
    net = network(KINDS["both ends"], diode=IdealDiode())
    inputs = torch.zeros(1, net.n_inputs, dtype=DOUBLE)
    free = solve(net, inputs, solver=Relaxation())
    response, _ = Newton().small_signal(solve(net, inputs, solver=Newton()), torch.eye(2, dtype=DOUBLE)[:1])
    impedance = output_impedance(Ladder.of(net, free.layers[0]))
    assert float(impedance[0, 0]) == pytest.approx(float(net.outputs_of(response)[0, 0]), rel=1e-2)


def test_amplifiers_with_flaws_drive_wires():
    net = network(KINDS["plain"])
    chip = Chip.draw(net.circuit(), 1, siemens=0.1, segment=0.3, gain=0.05, feedback=0.05, offset=0.02)
    assert "stage1_rows.siemens" in chip.factors
    assert "stage2_columns.siemens" in chip.factors
    inputs, targets = stimulus(net)
    fast, slow = (solve(net, inputs, solver=solver, chip=chip) for solver in (Relaxation(), Newton()))
    assert float((fast.voltages - slow.voltages).abs().max()) < 1e-11
    nominal = solve(net, inputs, solver=Relaxation())
    assert float((fast.outputs - nominal.outputs).abs().max()) > 1e-3
    alike = Chip.draw(net.circuit(), 1, siemens=0.1, segment=0.3)
    right = gradients(ImplicitDifferentiation(net, chip=alike), inputs, targets)
    phases = EquilibriumPropagation(net, nudging=1e-6, variant="centered", chip=alike)
    assert worst(gradients(phases, inputs, targets), right) < 1e-4


def test_conductance_spread_leaves_wires_alone():
    circuit = network(KINDS["plain"]).circuit()
    assert not any("row" in key or "column" in key for key in Chip.draw(circuit, 0, siemens=0.1).factors)


def test_broken_and_bridged_segments():
    net = network(KINDS["plain"])
    values = draw_segment_faults(net.circuit(), 3, 0.05, 0.05)
    assert {key.split("_")[1] for key in values} == {"rows.siemens", "columns.siemens"}
    assert any((np.nan_to_num(value) > 1.0).any() for value in values.values())
    chip = Chip({}, values)
    inputs, _ = stimulus(net)
    fast, slow = (solve(net, inputs, solver=solver, chip=chip) for solver in (Relaxation(), Newton()))
    assert float((fast.voltages - slow.voltages).abs().max()) < 1e-9


def nodal(cells: np.ndarray, rows: np.ndarray, columns: np.ndarray, left: np.ndarray, bottom: np.ndarray):
    """Voltages of all cells' nodes by a sparse nodal analysis of its own, and the currents out of the ends."""
    p, q = cells.shape
    r = np.arange(p * q).reshape(p, q)
    c, first, last = r + p * q, 2 * p * q + np.arange(p), 2 * p * q + p + np.arange(q)
    before, behind = np.hstack([first[:, None], r[:, :-1]]), np.vstack([c[1:], last[None]])
    a, b, g = (
        np.concatenate([x.ravel() for x in xs]) for xs in ((r, before, c), (c, r, behind), (cells, rows, columns))
    )
    n, k = 2 * p * q + p + q, 2 * p * q
    graph = sp.coo_matrix((np.r_[g, g, -g, -g], (np.r_[a, b, a, b], np.r_[a, b, b, a])), shape=(n, n)).tocsc()
    ends = np.r_[left, bottom]
    inner = sp.linalg.spsolve(graph[:k, :k], -graph[:k, k:] @ ends)
    return inner[: p * q].reshape(p, q), inner[p * q :].reshape(p, q), graph[k:, :k] @ inner + graph[k:, k:] @ ends


@pytest.mark.parametrize(
    ("shape", "ohms"), list(itertools.product([(1, 1), (1, 9), (9, 1), (37, 22), (64, 64)], [1.0, 1e3]))
)
def test_elimination_against_nodal_analysis(shape, ohms):
    random = np.random.default_rng(1)
    cells = 10 ** random.uniform(-7, -3, shape)
    rows, columns = (random.uniform(0.5, 2, shape) / ohms for _ in range(2))
    left, bottom = random.normal(size=shape[0]), random.normal(size=shape[1])
    found = LineElimination(*(torch.tensor(x)[None] for x in (cells, rows, columns)), open_right=True, open_top=True)
    ends = torch.tensor(np.r_[left, bottom])
    r, c = (each[0, ..., 0].numpy() for each in found.voltages(ends[None, :, None]))
    right_r, right_c, currents = nodal(cells, rows, columns, left, bottom)
    assert abs(r - right_r).max() < 1e-11
    assert abs(c - right_c).max() < 1e-11
    links = found.links[0]
    assert (links.sum(1) * ends - links @ ends).numpy() == pytest.approx(currents, abs=1e-9 * abs(currents).max())
    moments = found.moments(torch.outer(ends, ends)[None])[0].numpy()
    assert moments == pytest.approx((right_r - right_c) ** 2, abs=1e-11)


def test_a_nanosiemens_keeps_its_precision_beside_milliohms():
    cells = torch.full((1, 16, 16), 1e-9, dtype=DOUBLE)
    wires = torch.full_like(cells, 1e3)
    links = LineElimination(cells, wires, wires, open_right=True, open_top=True).links[0]
    # To first order in g R every cell links its row to its column by its own conductance; the correction is 1e-12 of
    # the distance in segments, summed over both lines.
    assert links[:16, 16:].numpy() == pytest.approx(np.full((16, 16), 1e-9), rel=1e-9)
    assert float(links[0, 1]) == pytest.approx(sum(1e-18 * 1e-3 * (16 - 1) for _ in range(16)), rel=1e-6)


def test_fused_steps_refuse_wires():
    with pytest.raises(StimulusError, match="without wires"):
        FusedStep(SmallSignal(network(KINDS["plain"], dtype=torch.float32), CrossEntropy(0.1)), 0.01)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"row_resistance": -1.0}, "row_resistance of wires must be at least 0 ohm and finite, found -1.0"),
        ({"segment_capacitance": float("nan")}, "segment_capacitance of wires must be at least 0 F"),
        ({"tile_rows": 0}, "tile_rows of wires must be at least 1, found 0"),
        ({"sensed_at": "middle"}, 'sensed_at must be "first", "last" or "both", found \'middle\''),
    ],
)
def test_wires_that_cannot_be(values, words):
    with pytest.raises(NetworkError) as caught:
        Wires(**values)
    assert words in str(caught.value)


SPEC = {
    "data": {"source": "xor"},
    "network": {"sizes": [2, 4, 1]},
    "cost": {"function": "squared_error"},
    "wires": {"row_resistance": 10.0, "column_resistance": 5.0, "temperature_coefficient": 4e-3},
}


def test_spec_has_wires_and_chips_have_theirs():
    table = {"segment_spread": 0.1, "open_segments": 0.1, "temperature": 350.0, "seed": 2}
    spec = parse_spec({**SPEC, "chip": table}, "spec")
    net = build_network(spec)
    assert net.lines == Wires(10.0, 5.0, temperature_coefficient=4e-3)
    chip = build_chip(spec, net)
    plain = build_chip(parse_spec({**SPEC, "chip": {**table, "temperature": 300.15}}, "spec"), net)
    assert chip is not None
    assert plain is not None
    ratio = chip.factors["stage1_rows.siemens"] / plain.factors["stage1_rows.siemens"]
    assert ratio == pytest.approx(1 / (1 + 4e-3 * 49.85))
    assert np.isfinite(chip.values["stage1_rows.siemens"]).any()
    with pytest.raises(SpecError, match=r"wires\.row_resistance"):
        parse_spec({**SPEC, "wires": {"row_resistance": -1.0}}, "spec")
    with pytest.raises(SpecError, match="wires has no meaning"):
        parse_spec({**SPEC, "network": {"kind": "hopfield", "sizes": [2, 4, 1]}}, "spec")


def test_lines_have_the_capacitance_of_their_segments_alone():
    bare, loaded = (network(Wires(10.0, 10.0, segment_capacitance=c), sizes=(2, 3, 1)) for c in (0.0, 1e-16))
    names = [group.label for group in with_node_capacitance(bare.circuit(), 1e-12).groups]
    assert "node_capacitance" in names
    assert "stage1_lines" not in names
    circuit = with_node_capacitance(loaded.circuit(), 1e-12)
    farads = {group.label: group for group in circuit.of_kind(Capacitors)}
    assert len(farads["node_capacitance"]) == 3 + 2
    assert set(np.unique(farads["stage1_lines"].farads)) == {1e-16}


def test_report_on_wires():
    net = network(Wires(20.0, 20.0, driver_resistance=50.0), sizes=(3, 5, 2))
    inputs, targets = stimulus(net, 20)
    report = wire_report(net, inputs, targets, scales=(0.0, 1.0, 10.0))
    zero, own, ten = report.scales
    assert zero.output_error < 1e-12
    ideal, wired = (solve(each, inputs, solver=Newton()).outputs for each in (network(None, sizes=(3, 5, 2)), net))
    assert own.output_error == pytest.approx(float((ideal - wired).abs().max()), rel=1e-6)
    assert own.classes_changed == int((ideal.argmax(1) != wired.argmax(1)).sum())
    assert ten.output_error > own.output_error
    # The voltage lost at a cell, from all nodes of the circuit.
    state, circuit = solve(net, inputs, solver=Newton()), net.circuit()
    cells = next(group for group in circuit.of_kind(Conductances) if group.label == "stage1")
    volts = state.voltages.numpy()
    assert cells.index is not None
    left = torch.from_numpy((volts[:, cells.positive] - volts[:, cells.negative])[:, np.argsort(cells.index)])
    rows = torch.cat([inputs, -inputs, torch.ones(20, 1), -torch.ones(20, 1)], 1)
    across = (rows[:, :, None] - state.layers[0][:, None, :]).flatten(1)
    lost = (across - left).abs().mean(0).reshape(8, 5)
    assert report.crossbars[0].drop == pytest.approx(lost.numpy(), rel=1e-8)
    assert 0 < report.crossbars[0].sneak_share < 1
    assert "stage1" in report.to_json()
    with pytest.raises(StimulusError, match="needs a network that has them"):
        wire_report(network(None), inputs, targets)


def test_largest_array_is_the_last_within_the_error():
    wires = Wires(10.0, 10.0)
    size = largest_array(wires, 1e-4, 0.01)
    for n, within in ((size, True), (size + 1, False)):
        cells, links = np.full((n, n), 1e-4), np.full((n, n), 0.1)
        *_, currents = nodal(cells, links, links, np.ones(n), np.zeros(n))
        assert (abs(1 + currents[n:] / (1e-4 * n)).max() <= 0.01) == within


def test_segments_of_less_than_an_ohm_are_segments():
    net = network(Wires(0.3, 0.2, driver_resistance=0.5), conductance_range=(1e-4, 1e-1))
    inputs, _ = stimulus(net)
    state = solve(net, inputs, solver=Newton())
    by_layers = solve(net, inputs, solver=Relaxation())
    assert float((by_layers.voltages - state.voltages).abs().max()) < 1e-12
    skeleton = net.circuit()
    first, last = (state.voltages[:, skeleton.node(f"stage1_row0_{k}")] for k in (0, 4))
    # Several amperes per volt and conductance: the drop along a row is not rounding.
    assert float((first - last).abs().max()) > 1e-4
