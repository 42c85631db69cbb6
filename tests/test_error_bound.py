"""The bound on voltage errors: against rational arithmetic, closed forms and 45-digit solutions."""

import math
import sys
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch
from scipy.optimize import root_scalar

from analog_ep.circuit import (
    Circuit,
    CircuitBuilder,
    Conductances,
    Diodes,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium import Newton, Ngspice, Relaxation, solve
from analog_ep.equilibrium.nodal import error_bound
from analog_ep.equilibrium.nodal.double_double import Double
from analog_ep.equilibrium.nodal.exact_state import exact_state
from analog_ep.equilibrium.nodal.reduction import reduced_system
from analog_ep.equilibrium.nodal.samples import Sample, Stimulus
from analog_ep.equilibrium.nodal.tableau import Tableau
from analog_ep.errors import ConvergenceError, NetworkError, StimulusError
from analog_ep.networks import ResistiveNetwork
from analog_ep.stimulus import Nudge, SquaredError

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from extreme_networks import draw, judge, truth  # pyright: ignore[reportMissingImports]

NO_INPUT = np.zeros((1, 0))
LADDERS = {
    "nano-ohm": [1e9, 1e-4, 1e9, 1e-6],
    "tera-siemens": [1e12, 1e-3, 1e-3],
    "interleaved": [1e-12, 1.0, 1e-12, 1.0],
    "span of 1e35": [1e15, 1e-4, 1e15, 1e-15, 1e-6, 1e20],
    "long": [1e9] * 20 + [1e-9] * 20 + [1e9] * 20 + [1e-3],
}


def ladder(siemens: list[float], volts: float = 1.0) -> Circuit:
    """Conductances in series from a source to ground."""
    builder = CircuitBuilder("ladder")
    nodes = builder.add_nodes(f"n{k}" for k in range(len(siemens)))
    builder.add(VoltageSources("v", nodes[0], 0, volts))
    builder.add(Conductances("r", nodes, np.append(nodes[1:], 0), siemens))
    return builder.build()


def divided(siemens: list[float]) -> np.ndarray:
    """Its node voltages by rational arithmetic."""
    ohms = [1 / Fraction(g) for g in siemens]
    behind = [sum(ohms[k:], Fraction(0)) for k in range(len(ohms))]
    return np.array([0.0, *(float(rest / behind[0]) for rest in behind)])


def loop(gain: float) -> Circuit:
    """A node fed with 1 mS from 1 V and with 1 mS from gain times its own voltage: v = 1/(2 − gain)."""
    builder = CircuitBuilder("loop")
    top, x, e = builder.add_nodes(["top", "x", "e"])
    builder.add(VoltageSources("v", top, 0, 1.0))
    builder.add(Conductances("g", [top, e], [x, x], 1e-3))
    builder.add(VoltageControlledVoltageSources("loop", e, 0, x, 0, gain))
    return builder.build()


@pytest.mark.parametrize("siemens", LADDERS.values(), ids=LADDERS)
def test_newton_solves_any_ratio_of_conductances(siemens):
    state = Newton().solve_circuit(ladder(siemens), NO_INPUT)
    error = np.abs(state.voltages[0] - divided(siemens)).max()
    assert state.converged.all(), state.message
    assert error <= 3e-16
    assert error <= state.error_bound[0] <= 1e-9


@pytest.mark.ngspice
def test_ngspice_is_not_believed_where_it_is_off():
    siemens = LADDERS["nano-ohm"]
    state = Ngspice().solve_circuit(ladder(siemens), NO_INPUT)
    error = np.abs(state.voltages[0] - divided(siemens)).max()
    assert error > 1e-3
    assert error <= state.error_bound[0] <= 1.01 * error
    assert not state.converged.any()
    assert "sample 0, largest voltage 1 V, is known to 1.5e-03 V only" in state.message
    assert "conductances run from 1e-06 S (r, element 3) to 1e+09 S (r, element 0)" in state.message
    assert "join the nodes of the largest conductances, or solve with Newton" in state.message


@pytest.mark.parametrize("resistance", [1e-9, 1e-12])
def test_series_resistances_of_nothing_are_as_good_as_none(resistance):
    networks = [
        ResistiveNetwork([3, 4, 2], diode=ShockleyDiode(1e-12, series_resistance=r), dtype=torch.float64, seed=2)
        for r in (resistance, 0.0)
    ]
    inputs = 30 * torch.rand(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found, expected = (solve(network, inputs, solver=Newton()) for network in networks)
    # A current of a few mA at most flows through them.
    torch.testing.assert_close(found.outputs, expected.outputs, rtol=0, atol=1e-2 * resistance + 1e-14)
    assert float(found.voltage_error_bound.max()) <= 1e-9 * 120


@pytest.mark.parametrize("exponent", [3, 8, 12])
def test_a_loop_that_nearly_cancels(exponent):
    gain = 2 - 10.0**-exponent
    state = Newton().solve_circuit(loop(gain), NO_INPUT)
    exact = 1 / (2 - mpmath.mpf(gain))
    error = float(abs(mpmath.mpf(float(state.voltages[0, 2])) - exact))
    assert state.converged.all()
    assert error <= 1e-15 * float(exact)
    assert error <= state.error_bound[0] <= 1e-9 * float(exact) * gain


def test_a_loop_that_cancels_has_no_bound():
    state = Newton().solve_circuit(loop(2.0), NO_INPUT)
    assert not state.converged.any()
    assert np.isinf(state.error_bound).all()


def test_a_state_at_its_rounding_is_converged_though_its_residual_does_not_shrink():
    # An rtol that no residual reaches: only the bound tells that all is well.
    network = ResistiveNetwork([3, 4, 4, 2], gain=50.0, dtype=torch.float64, seed=1)
    inputs = torch.ones(2, 3, dtype=torch.float64)
    state = Newton(rtol=0.0, max_steps=40).solve_circuit(network.circuit(), inputs.numpy())
    assert state.converged.all(), state.message
    assert state.error_bound.max() <= 1e-9 * np.abs(state.voltages).max()


def test_a_nudged_sample_that_is_not_solved_is_a_status():
    network = ResistiveNetwork([2, 3, 1], diode=ShockleyDiode(1e-16), dtype=torch.float64, seed=1)
    nudge = Nudge(1e-6, torch.ones(1, 1, dtype=torch.float64), SquaredError(), "elastic")
    state = Newton(max_steps=1).solve_circuit(network.circuit(), np.full((1, 2), 500.0), nudge)
    assert not state.converged.any()


def test_what_is_asked_decides():
    circuit = ladder([1e-3, 1e-3])
    assert Newton().solve_circuit(circuit, NO_INPUT).converged.all()
    state = Newton(accuracy=1e-17).solve_circuit(circuit, NO_INPUT)
    assert not state.converged.any()
    with pytest.raises(ConvergenceError, match=r"must be known to 1e-17 of the largest one, found 1 of 1 samples"):
        solve(circuit, torch.zeros(1, 0), solver=Newton(accuracy=1e-17))


@pytest.mark.parametrize("kind", [None, "frozen", "elastic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_relaxation_states_its_bound_when_asked(dtype, kind):
    network = ResistiveNetwork([3, 5, 4, 2], diode=ShockleyDiode(1e-9), dtype=dtype, seed=3)
    random = torch.Generator().manual_seed(1)
    inputs, target = torch.randn(4, 3, dtype=dtype, generator=random), torch.rand(4, 2, dtype=dtype, generator=random)
    free = solve(network, inputs, solver=Relaxation())
    nudge = None if kind is None else Nudge(1e-5, target, SquaredError(), kind)
    state = free if nudge is None else solve(network, inputs, nudge, solver=Relaxation(), start=free)
    exact = solve(network.circuit(), inputs.double(), nudge, solver=Newton(), start=free)
    error = (state.voltages.double() - exact.voltages).abs().amax(-1)
    bound = state.voltage_error_bound
    assert bound.dtype == torch.float64
    assert bool((error <= bound + exact.voltage_error_bound).all())
    assert float(bound.max()) <= (1e-4 if dtype == torch.float32 else 1e-10)


def test_relaxation_counts_its_bound_where_an_accuracy_is_asked_for():
    network = ResistiveNetwork([3, 5, 4, 2], diode=ShockleyDiode(1e-9), dtype=torch.float64, seed=3)
    inputs = torch.ones(2, 3, dtype=torch.float64)
    rough = Relaxation(rtol=1e-2)
    assert solve(network, inputs, solver=rough).converged.all()
    state = solve(network, inputs, solver=Relaxation(rtol=1e-2, accuracy=1e-9), throw=False)
    assert not state.converged.any()
    assert "must be known to 1e-09 of the largest one, found 2 of 2 samples that are not" in state.message
    assert solve(network, inputs, solver=Relaxation(accuracy=1e-9)).converged.all()


def test_a_bound_is_that_of_the_conductances_solved():
    network = ResistiveNetwork([3, 5, 2], dtype=torch.float64)
    state = solve(network, torch.ones(1, 3, dtype=torch.float64), solver=Relaxation())
    with torch.no_grad():
        network.theta("stage1").mul_(0.5)
    with pytest.raises(StimulusError, match="needs the conductances that were solved, found others"):
        _ = state.voltage_error_bound


def test_large_circuits_have_an_estimate(monkeypatch):
    siemens = LADDERS["interleaved"]
    monkeypatch.setattr(error_bound, "_REFINED", 2)
    state = Newton().solve_circuit(ladder(siemens), NO_INPUT)
    assert np.abs(state.voltages[0] - divided(siemens)).max() <= state.error_bound[0]
    well = ladder([1e-3, 2e-3, 1e-3])
    bound = error_bound.ErrorBounds(well, reduced_system(well)).near(
        Stimulus(NO_INPUT), divided([1e-3, 2e-3, 1e-3])[None], np.array([np.inf]), np.zeros(1)
    )
    assert 0 < bound.bound[0] < 1e-13


@pytest.mark.ngspice
@pytest.mark.parametrize("number", [1, 3, 5, 6, 9, 16])
def test_extreme_networks_lie_within_their_bounds(number):
    line = judge(number)
    assert line["solvers"]["Newton"]["converged"]
    for name, said in line["solvers"].items():
        if said["converged"]:
            assert said["error"] <= said["bound"], name


def test_the_reference_is_the_law_of_the_circuit():
    # Without diodes the law is linear, and rational arithmetic gives its solution.
    siemens = [1e-3, 1e-12, 2e-2]
    drawn = draw(0)
    exact = truth(type(drawn)(None, ladder(siemens), torch.zeros(1, 0)), np.zeros(4))
    np.testing.assert_allclose([float(v) for v in exact], divided(siemens), rtol=1e-15)


@pytest.mark.parametrize("value", [-0.3, 0.0, float("nan"), float("inf")])
def test_what_is_no_conductance_does_not_relax(value):
    network = ResistiveNetwork([3, 5, 2], dtype=torch.float64)
    network.theta("stage1").data[1, 2] = value
    with pytest.raises(NetworkError, match=r"stage1: conductances must be positive and finite, found .* S; keep them"):
        solve(network, torch.ones(1, 3, dtype=torch.float64), solver=Relaxation())


def test_a_state_that_is_lost_ends_at_once():
    network = ResistiveNetwork([3, 5, 4, 2], dtype=torch.float64)
    network.gain = float("nan")
    state = solve(network, torch.ones(2, 3, dtype=torch.float64), solver=Relaxation(), throw=False)
    assert not state.converged.any()
    assert state.iterations <= 8
    assert "2 samples left the range of finite numbers in 4 sweeps, such as sample 0" in state.message


@pytest.mark.parametrize("number", [557, 599, 612])
def test_of_a_state_that_is_lost_the_status_tells_alone(number):
    # NumPy's warnings, which are errors here, name no sample and nothing to do.
    drawn = draw(number)
    state = solve(drawn.circuit, drawn.inputs, drawn.nudge, solver=Newton(), throw=False)
    assert not state.converged.any()
    assert state.message


def test_the_tableau_has_the_slopes_of_its_equations_and_the_sizes_of_their_terms():
    def jacobian(*more: VoltageControlledCurrentSources) -> tuple[np.ndarray, np.ndarray]:
        builder = CircuitBuilder("bridge")
        top, a, b, c = builder.add_nodes(["top", "a", "b", "c"])
        builder.add(VoltageSources("v", top, 0, 1.0))
        siemens = [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3]
        builder.add(Conductances("g", [top, top, a, b, a, c], [a, b, c, c, b, 0], siemens))
        builder.add(Diodes("d", [a, b], [0, c], ShockleyDiode()))
        for group in more:
            builder.add(group)
        builder.set_outputs([a, c], [0, 0])
        circuit = builder.build()
        branching = error_bound.ErrorBounds(circuit, reduced_system(circuit)).branching
        tableau = Tableau(branching, Sample(np.zeros(0), nudge), volts)
        here, step = tableau.start(volts), 1e-6
        matrix, magnitude = tableau.jacobian(tableau.at(here).slopes)
        for column, unit in enumerate(np.eye(branching.size)):
            up, down = (tableau.at(here + Double.of(sign * step * unit)).residual.high for sign in (1, -1))
            np.testing.assert_allclose(matrix[:, column], (up - down) / (2 * step), rtol=0, atol=1e-9)
        return matrix, magnitude

    nudge = Nudge(7e-3, torch.tensor([[0.2, 0.1]], dtype=torch.float64), SquaredError(), "elastic")
    volts = np.array([0.0, 1.0, 0.55, 0.6, 0.2])
    # Branches that their own voltage controls count with one sign wherever they meet; another's may cancel.
    matrix, magnitude = jacobian()
    np.testing.assert_allclose(magnitude, np.abs(matrix), rtol=1e-12)
    with_source, sizes = jacobian(VoltageControlledCurrentSources("i", 4, 0, 2, 0, -0.5e-3))
    assert np.abs(with_source - matrix).max() > 1e-4
    np.testing.assert_allclose(sizes, magnitude + np.abs(with_source - matrix), rtol=1e-9, atol=1e-15)
    assert (sizes > 1.01 * np.abs(with_source)).any()


def test_an_enclosure_about_a_point_off_the_solution_holds_it():
    # Above the solution a junction is steeper than on the way down to it, so that residual over slope falls short.
    builder = CircuitBuilder("diode and resistor")
    top, x = builder.add_nodes(["top", "x"])
    builder.add(VoltageSources("v", top, 0, 1.0))
    builder.add(Conductances("g", top, x, 1e-3))
    diode = ShockleyDiode(saturation_current=1e-14)
    builder.add(Diodes("d", x, 0, diode))
    circuit = builder.build()
    saturation, emission = float(diode.effective_saturation_current), float(diode.emission_voltage)

    def net(v: float) -> float:
        return saturation * math.expm1(v / emission) + 1e-15 * v - 1e-3 * (1 - v)

    root = root_scalar(net, bracket=(0.3, 0.9), xtol=1e-15).root
    branching = error_bound.ErrorBounds(circuit, reduced_system(circuit)).branching
    for off in (3e-3, 1e-2):
        found = exact_state(branching, Sample(np.zeros(0)), np.array([0.0, 1.0, root + off]), max_steps=1)
        error = abs(found.voltages[x] - root)
        assert 1e-5 < error <= found.bound[x] < 2 * error


@pytest.mark.parametrize(("top", "middle"), [(1.0, 0.5), (1.001, 0.5), (1.0, 0.501)], ids=["exact", "source", "node"])
def test_the_bound_by_energy_knows_no_unit(top, middle):
    # Of a state that is the solution, of one whose source is off, and of one that breaks Kirchhoff's law.
    found = []
    for power in (-30, -8, 0, 8):
        for volts in (1.0, 2.0**-10):
            circuit = ladder([2.0**power] * 2, volts)
            bounds = error_bound.ErrorBounds(circuit, reduced_system(circuit))
            state = volts * np.array([[0.0, top, middle]])
            found.append(float(bounds.far(Stimulus(NO_INPUT), state)[0]) / volts)
    error = max(abs(top - 1.0), abs(middle - 0.5))
    np.testing.assert_allclose(found, found[0], rtol=1e-9)
    assert max(error, 1e-17) < found[0] < 10 * error + 1e-14
