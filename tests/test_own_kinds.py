"""Elements of a user's own, by law alone: every solver serves them, and nothing leaves them out without a word."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from own_kinds import (
    Batteries,
    CubicDiode,
    CubicDiodeBehindResistance,
    Followers,
    SquareLawTransistors,
    SteepnessOfCubicDiode,
)
from plain_ngspice import run_plain
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from analog_ep import Newton, Ngspice, ResistiveNetwork, SquaredError, cross_check, solve
from analog_ep.analyses.corners import corners
from analog_ep.analyses.power import branch_power
from analog_ep.circuit import (
    Amplifiers,
    Branches,
    Capacitors,
    Chip,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentControlledCurrentSources,
    Diodes,
    VoltageSources,
    check_circuit,
    circuit_energy,
)
from analog_ep.circuit.copies import copies
from analog_ep.circuit.noise import johnson_currents
from analog_ep.circuit.real_amplifiers import AmplifierModel, with_amplifiers
from analog_ep.devices import Diode
from analog_ep.dynamics.linear_noise import LinearNoise
from analog_ep.dynamics.transient import transient
from analog_ep.equilibrium.inexactness import inexact_message
from analog_ep.equilibrium.nodal.energy_bound import EnergyBound
from analog_ep.equilibrium.nodal.reduction import reduced_system
from analog_ep.equilibrium.nodal.residual import kirchhoff_residual
from analog_ep.errors import CircuitError, EnergyUnavailableError
from analog_ep.learning.gradients.implicit import implicit_gradients
from analog_ep.netlist.deck import write_deck

FACTOR, THRESHOLD, LOAD, SUPPLY = 2e-4, 0.4, 1e-4, 1.0


def common_source(load: float = LOAD, farads: float | None = None) -> Circuit:
    """A transistor with a resistor to the supply; the input is its gate, the output its drain against ground."""
    builder = CircuitBuilder("common source")
    supply, gate, drain = builder.add_nodes(["supply", "gate", "drain"])
    builder.add(VoltageSources("vdd", supply, 0, SUPPLY))
    builder.add(VoltageSources("vin", gate, 0, 0.0, 0))
    builder.add(Conductances("load", supply, drain, load, "load", 0))
    builder.add(SquareLawTransistors("m", drain, 0, gate, FACTOR, THRESHOLD))
    if farads is not None:
        builder.add(Capacitors("c", drain, 0, farads))
    builder.set_outputs(drain, np.zeros(1, int))
    return builder.build()


def drain_voltage(gate: float, load: float = LOAD) -> float:
    """Root of the load line against the textbook's two regions."""

    def imbalance(v: float) -> float:
        over = max(gate - THRESHOLD, 0.0)
        current = FACTOR / 2 * over**2 if v >= over else FACTOR * (over - v / 2) * v
        return current - load * (SUPPLY - v)

    return float(brentq(imbalance, 0.0, SUPPLY, xtol=1e-15))  # pyright: ignore[reportArgumentType]


GATES = torch.tensor([[0.0], [0.5], [0.9], [1.4], [3.0]], dtype=torch.float64)


@pytest.mark.parametrize("solver", [Newton(), pytest.param(Ngspice(), marks=pytest.mark.ngspice)])
def test_a_transistor_is_solved_in_all_its_regions(solver):
    found = solve(common_source(), GATES, solver=solver).outputs[:, 0]
    expected = [drain_voltage(float(gate)) for gate in GATES]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-9)


def test_the_residual_sees_its_current():
    circuit = common_source()
    residual, _ = kirchhoff_residual(circuit, np.array([[0.0, SUPPLY, 0.9, SUPPLY]]))
    # With the drain at the supply the resistor carries nothing, and the transistor saturates.
    assert residual[0, circuit.node("drain")] == pytest.approx(FACTOR / 2 * 0.5**2, rel=1e-12)


def test_the_gradient_through_it_is_that_of_the_load_line():
    gate, target, step = 0.9, 0.3, 1e-6 * LOAD
    targets = torch.full((1, 1), target, dtype=torch.float64)
    gradient = implicit_gradients(common_source(), SquaredError(), GATES[2:3], targets)["load"]
    costs = [0.5 * (drain_voltage(gate, LOAD + sign * step) - target) ** 2 for sign in (1, -1)]
    assert float(gradient) == pytest.approx((costs[0] - costs[1]) / (2 * step), rel=1e-6)


def test_power_is_told_for_it_and_balances():
    circuit = common_source()
    voltages = solve(circuit, GATES, solver=Newton()).voltages.numpy()
    power = branch_power(circuit, voltages)
    drains = np.array([drain_voltage(float(gate)) for gate in GATES])
    currents = LOAD * (SUPPLY - drains)
    assert power.dissipated["m"] == pytest.approx((currents * drains).mean(), rel=1e-9)
    assert power.delivered["vdd"] == pytest.approx((currents * SUPPLY).mean(), rel=1e-9)
    assert sum(power.delivered.values()) == pytest.approx(power.total, rel=1e-12)


def test_there_is_no_energy_and_it_is_said():
    circuit = common_source()
    with pytest.raises(EnergyUnavailableError, match="m is a one-way controlled source"):
        circuit_energy(circuit, np.zeros((1, circuit.n_nodes)))


def test_corners_say_what_they_leave_as_it_is():
    found = corners(common_source(), GATES, solver=Newton(), celsius=(27.0,))
    assert found.unchanged == ("m",)


def test_linear_noise_refuses_it():
    circuit = common_source(farads=1e-12)
    with pytest.raises(CircuitError, match="needs a linear circuit, found m"):
        LinearNoise(circuit, johnson_currents(circuit))


def test_a_transient_follows_it():
    farads, duration = 1e-12, 5e-8
    found = transient(common_source(farads=farads), np.array([0.9]), duration)

    def slope(_, v):
        over = 0.9 - THRESHOLD
        current = FACTOR / 2 * over**2 if v[0] >= over else FACTOR * (over - v[0] / 2) * v[0]
        return [(LOAD * (SUPPLY - v[0]) - current) / farads]

    expected = solve_ivp(slope, (0, duration), [0.0], rtol=1e-9, atol=1e-12, t_eval=found.times).y[0]
    np.testing.assert_allclose(found.voltages[:, 3], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("dialect", ["ngspice", "xyce", "ltspice", "hspice", "spectre"])
def test_a_transistor_reaches_every_dialect_with_expressions(dialect):
    text = write_deck(common_source(), np.array([0.9]), dialect=dialect)
    assert "*(max(v(gate)-(0.4),0)*max(v(gate)-(0.4),0)-max(v(gate,drain)-(0.4),0)*" in text


def test_a_dialect_without_expressions_refuses_it():
    with pytest.raises(CircuitError, match="a gnucap netlist has no expressions, found one needed for b_m_0"):
        write_deck(common_source(), np.array([0.9]), dialect="gnucap")


def test_a_law_without_expressions_is_refused_by_the_writer():
    class Mute(SquareLawTransistors):
        def expressions(self, *volts):
            return None

    circuit = common_source()
    groups = [Mute("m", 3, 0, 2, FACTOR, THRESHOLD) if group.label == "m" else group for group in circuit.groups]
    with pytest.raises(CircuitError, match="m: no netlist card stands for Mute; give it expressions of its current"):
        write_deck(circuit.with_groups(groups), np.array([0.9]))


def test_a_kind_without_a_law_cannot_be_built():
    @dataclass(frozen=True, eq=False)
    class Fuses(Branches):
        positive: int
        negative: int

    with pytest.raises(CircuitError, match="f: a kind of branches must have a law, found none in Fuses; derive it"):
        Fuses("f", 1, 0)


def test_words_that_simulators_understand_differently_are_refused():
    class Powers(SquareLawTransistors):
        def expressions(self, *volts):
            return [f"{v}**3" for v in volts[0]]

    with pytest.raises(CircuitError, match=r"m: an expression must use abs, .* found \*\* in"):
        write_deck(with_law(Powers("m", 3, 0, 2, FACTOR, THRESHOLD)), np.array([0.9]))


def with_law(group) -> Circuit:
    circuit = common_source()
    return circuit.with_groups([*(g for g in circuit.groups if g.label != "m"), group])


def test_slopes_that_contradict_the_currents_are_named():
    class Doubled(SquareLawTransistors):
        def slopes(self, *volts):
            forward, reverse = super().slopes(*volts)
            return forward, 2 * reverse

    with pytest.raises(
        CircuitError, match=r"m: the law of Doubled \(.*test_own_kinds.py:\d+\) must agree .* slope by control 1"
    ):
        check_circuit(with_law(Doubled("m", 3, 0, 2, FACTOR, -3.0)))


def test_a_missing_slope_is_named():
    class Short(SquareLawTransistors):
        def slopes(self, *volts):
            return super().slopes(*volts)[:1]

    with pytest.raises(CircuitError, match="must give 2 slopes, one for each control, found 1"):
        check_circuit(with_law(Short("m", 3, 0, 2, FACTOR, THRESHOLD)))


def test_a_co_content_that_contradicts_the_current_is_named():
    class Wrong(CubicDiode):
        def cocontent(self, voltage):
            return 2 * super().cocontent(voltage)

    with pytest.raises(CircuitError, match=r"the law of Wrong .* must agree with differences of its co-content"):
        check_circuit(with_law(Diodes("m", 3, 0, Wrong())))


def network() -> ResistiveNetwork:
    return ResistiveNetwork([3, 4, 2], diode=CubicDiode(), gain=3.0, dtype=torch.float64, seed=3)


@pytest.mark.ngspice
def test_a_diode_of_ones_own_trains_and_agrees_with_ngspice():
    net = network()
    inputs = torch.rand(4, 3, dtype=torch.float64)
    targets = torch.rand(4, 2, dtype=torch.float64)
    check = cross_check(net, inputs, targets, nudging=1e-6)
    assert check.max_voltage_error < 1e-8


def test_a_diode_of_ones_own_has_an_energy():
    net = network()
    inputs = torch.rand(2, 3, dtype=torch.float64)
    found = solve(net, inputs, solver=Newton())
    expected = net.energy(inputs, found.layers).numpy()
    np.testing.assert_allclose(circuit_energy(net.circuit(), found.voltages.numpy()), expected, rtol=1e-12)


@pytest.mark.ngspice
def test_a_deck_without_an_energy_says_why(tmp_path):
    net = network()
    inputs = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    text = write_deck(net.circuit(), inputs)
    assert "has no expression for its co-content" in text
    (tmp_path / "own.cir").write_text(text)
    printed = run_plain(tmp_path / "own.cir")
    outputs = [printed[f"v(o{i}_p)-v(o{i}_n)"][0] for i in range(2)]
    np.testing.assert_allclose(outputs, solve(net, inputs[None], solver=Newton()).outputs[0], rtol=0, atol=1e-8)


def test_a_chip_has_transistors_of_its_own():
    circuit = common_source()
    chip = Chip.draw(circuit, 1, factor=0.2, threshold=0.05)
    applied = chip.apply(circuit)
    transistor = applied.group("m")
    assert isinstance(transistor, SquareLawTransistors)
    assert transistor.factor == FACTOR * chip.factors["m.factor"]
    assert transistor.threshold == chip.values["m.threshold"]
    found = solve(circuit, GATES, solver=Newton(), chip=chip)
    np.testing.assert_allclose(found.voltages.numpy(), solve(applied, GATES, solver=Newton()).voltages.numpy())


def varistor(device: CubicDiode, volts: float = 2.0) -> Circuit:
    """A source over 1 kΩ at a varistor to ground."""
    builder = CircuitBuilder("varistor")
    x, a = builder.add_nodes(["x", "a"])
    builder.add(VoltageSources("v", x, 0, volts))
    builder.add(Conductances("r", x, a, 1e-3))
    builder.add_diodes("d", a, 0, device)
    builder.set_outputs(a, 0)
    return builder.build()


NO_INPUT = torch.zeros(1, 0, dtype=torch.float64)


def varistor_voltage(linear: float, cubic: float, ohms: float = 0.0) -> float:
    total = 1e3 + ohms
    current = lambda v: linear * v + cubic * v**3  # noqa: E731
    return float(brentq(lambda v: v + total * current(v) - 2.0, 0.0, 2.0, xtol=1e-15))  # pyright: ignore


def test_a_chip_has_diodes_of_its_own():
    circuit = varistor(CubicDiode())
    chip = Chip.draw(circuit, 3, cubic=0.3)
    found = float(solve(circuit, NO_INPUT, solver=Newton(), chip=chip).outputs)
    assert found == pytest.approx(varistor_voltage(1e-5, 1e-3 * chip.factors["d.cubic"][0]), rel=1e-12)
    with pytest.raises(CircuitError, match="no branch has a parameter 'saturation_current'; there are cubic, linear"):
        Chip.draw(circuit, 3, saturation_current=0.1)


def test_a_series_resistance_of_its_own_becomes_a_node():
    circuit = varistor(CubicDiodeBehindResistance(wire=500.0))
    assert "d_j0" in circuit.node_names
    voltages = solve(circuit, NO_INPUT, solver=Newton()).voltages[0]
    assert float(voltages[circuit.node("d_j0")]) == pytest.approx(varistor_voltage(1e-5, 1e-3, 500.0), rel=1e-12)


@pytest.mark.parametrize("circuit", [varistor(CubicDiode()), common_source()], ids=["diodes", "transistors"])
def test_copies_are_each_the_circuit(circuit):
    inputs = GATES if circuit.n_inputs else NO_INPUT
    single = solve(circuit, inputs, solver=Newton()).outputs
    thrice = solve(copies(circuit, 3), inputs, solver=Newton()).outputs
    torch.testing.assert_close(thrice, single.expand(-1, 3), rtol=1e-12, atol=1e-15)


def test_a_state_that_is_not_exact_names_what_may_amplify():
    bound, voltages = np.array([1.0]), np.ones((1, 4))
    text = inexact_message(common_source(), bound, voltages, np.array([False]), 1e-9, "advice")
    assert "a loop through m may nearly cancel" in text
    assert "kink of a diode" in inexact_message(varistor(CubicDiode()), bound, voltages, np.array([False]), 1e-9, "")


def test_a_diode_that_tells_its_steepness_has_quick_bounds():
    v = torch.linspace(-9, 9, 181, dtype=torch.float64)
    device = SteepnessOfCubicDiode()
    volts, slope = device.steepness()
    assert (device.conductance(v) <= device.current(v).abs() / volts + slope + 1e-18).all()
    for kind, quick in ((SteepnessOfCubicDiode(), True), (CubicDiode(), False)):
        circuit = varistor(kind)
        system = reduced_system(circuit)
        bound = EnergyBound(circuit, system, np.ones(system.n_unknowns))
        assert bound.is_available
        assert bound.has_quick == quick
    circuit = varistor(device)
    system = reduced_system(circuit)
    bound = EnergyBound(circuit, system, np.ones(system.n_unknowns))
    exact = varistor_voltage(1e-5, 1e-3)
    for off in (1e-3, 1e-9):
        states = np.array([[0.0, 2.0, exact + off]])
        residual, scale = kirchhoff_residual(circuit, states)
        quick = bound.quick(states, np.abs(residual), scale)
        assert off <= quick[0] < 10 * off


def test_the_current_of_a_source_of_ones_own_is_followed():
    builder = CircuitBuilder("mirror")
    a, b = builder.add_nodes(["a", "b"])
    builder.add(Batteries("cell", a, 0, 2.0))
    builder.add(Conductances("r", [a, b], [0, 0], [1e-3, 1e-4]))
    builder.add(CurrentControlledCurrentSources("f", b, 0, "cell", 0, 0.5))
    builder.set_outputs(b, 0)
    # 2 mA leave the cell's positive node, so −1 mA flow from b: 10 V across 10 kΩ.
    assert float(solve(builder.build(), NO_INPUT, solver=Newton()).outputs) == pytest.approx(10.0, rel=1e-12)
    builder = CircuitBuilder("of an amplifier")
    a, b = builder.add_nodes(["a", "b"])
    builder.add(Batteries("cell", a, 0, 2.0))
    builder.add(Followers("amplifier", a, b, 2.0, 0.5))
    builder.add(CurrentControlledCurrentSources("f", b, 0, "amplifier", 0, 0.5))
    with pytest.raises(CircuitError, match="f: its current must be that of a voltage source, found amplifier"):
        check_circuit(builder.build())


def amplified(kind: type) -> Circuit:
    builder = CircuitBuilder("amplified")
    x, u, p = builder.add_nodes(["x", "u", "p"])
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Conductances("r", [x, p], [u, 0], [1e-4, 1e-3]))
    builder.add(kind("amplifier", u, p, 4.0, 0.25))
    builder.set_outputs(p, 0)
    return builder.build()


def test_amplifiers_of_ones_own_get_a_bandwidth():
    inputs, model = torch.tensor([[0.7]], dtype=torch.float64), AmplifierModel(1e6, 100.0, 3.0)
    own, known = (with_amplifiers(amplified(kind), model) for kind in (Followers, Amplifiers))
    assert own.node_names == known.node_names
    found = solve(own, inputs, solver=Newton()).voltages
    torch.testing.assert_close(found, solve(known, inputs, solver=Newton()).voltages, rtol=0, atol=0)


def test_amplifiers_that_do_something_else_as_well_are_refused():
    class Driven(Followers):
        driven = True

    with pytest.raises(CircuitError, match="amplifier: an amplifier with a bandwidth must hold nodes against ground"):
        with_amplifiers(amplified(Driven), AmplifierModel(1e6, 100.0))


@pytest.mark.parametrize("volts", [0.2, 5e-3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_device_that_is_steep_both_ways_is_loaded_to_where_its_law_says(volts: float, dtype: torch.dtype):
    """I = I0 sinh(v/V0): its Newton steps from the load line overflow, and go on by V0 each."""
    device = SteepVaristor(volts)
    total = torch.tensor([1e-4, 1e-6, 1e-2], dtype=dtype)
    drive = torch.tensor([[-5e-4, 5e-4, 0.0], [-1.0, 1e-9, 1e-2]], dtype=dtype)
    found = device.solve_loaded(total, drive)
    for (row, column), v in np.ndenumerate(found.double().numpy()):
        load, amperes = float(total[column]), float(drive[row, column])
        exact = brentq(
            lambda u, g=load, i=amperes: g * u + 1e-6 * np.sinh(u / volts) - i, -20 * volts, 20 * volts, xtol=1e-16
        )
        assert v == pytest.approx(exact, rel=1e-6 if dtype == torch.float32 else 1e-12, abs=1e-12)


@dataclass(frozen=True)
class SteepVaristor(Diode):
    """i = 1 µA · sinh(v/V0). [A]"""

    volts: float | torch.Tensor = 0.2

    def current(self, voltage):
        return 1e-6 * torch.sinh(voltage / self.volts)

    def conductance(self, voltage):
        return 1e-6 / self.volts * torch.cosh(voltage / self.volts)

    def cocontent(self, voltage):
        return 1e-6 * self.volts * (torch.cosh(voltage / self.volts) - 1)

    def current_difference(self, voltage, change):
        half = change / (2 * self.volts)
        return 2e-6 * torch.cosh(voltage / self.volts + half) * torch.sinh(half)

    def voltage_estimate(self, current):
        return self.volts * torch.asinh(current / 1e-6)

    def in_parallel(self, count):
        raise NotImplementedError
