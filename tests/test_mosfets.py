"""MOSFETs by SPICE's level 1 and by EKV: their currents in ngspice, and everything that solves circuits with them."""

from dataclasses import replace
from functools import partial

import mpmath
import numpy as np
import pytest
import torch

from analog_ep import Newton, Ngspice, SquaredError, implicit_gradients, solve
from analog_ep.analyses.corners import corners
from analog_ep.analyses.noise import output_noise
from analog_ep.analyses.operating_point import operating_point
from analog_ep.analyses.power import branch_power
from analog_ep.circuit import (
    Capacitors,
    Chip,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentLaw,
    Mosfets,
    VoltageSources,
    circuit_energy,
)
from analog_ep.circuit.mosfets import Channels
from analog_ep.circuit.noise import shot_currents
from analog_ep.constants import BOLTZMANN, ELEMENTARY_CHARGE
from analog_ep.devices import EkvMosfet, Level1Mosfet, Mosfet
from analog_ep.dynamics.transient import transient
from analog_ep.errors import CircuitError, DeviceParameterError, EnergyUnavailableError
from analog_ep.netlist.deck import write_deck
from analog_ep.netlist.dialects import DialectName
from analog_ep.netlist.netlist import NetlistWriter, constant_drive
from analog_ep.ngspice.process import run_plots

POLARITIES = ("nmos", "pmos")
N = 400


def level1(polarity: str, seed: int, count: int = N, celsius: tuple[float, ...] = (27.0,)) -> Level1Mosfet:
    random = np.random.default_rng(seed)

    def drawn(low: float, high: float) -> torch.Tensor:
        return torch.from_numpy(random.uniform(low, high, count))

    sign = 1 if polarity == "nmos" else -1
    return Level1Mosfet(
        polarity,  # pyright: ignore[reportArgumentType]
        width=drawn(1e-6, 2e-5),
        length=drawn(5e-7, 3e-6),
        multiplicity=torch.from_numpy(random.integers(1, 4, count).astype(float)),
        threshold_voltage=sign * drawn(-0.3, 1.0),
        transconductance=drawn(1e-5, 2e-4),
        temperature=torch.from_numpy(random.choice(celsius, count) + 273.15),
        body_effect=drawn(0.0, 0.8) * torch.from_numpy(random.integers(0, 2, count)),
        surface_potential=drawn(0.4, 0.9),
        channel_modulation=drawn(0.0, 0.1),
        saturation_current=torch.from_numpy(10.0 ** random.uniform(-17, -13, count)),
        saturation_density=torch.from_numpy(random.choice([0.0, 1e-4], count)),
        drain_area=torch.from_numpy(random.choice([0.0, 2e-11], count)),
        source_area=torch.from_numpy(random.choice([0.0, 3e-11], count)),
    )


def ekv(polarity: str, seed: int, count: int = N, celsius: tuple[float, ...] = (27.0,)) -> EkvMosfet:
    random = np.random.default_rng(seed)

    def drawn(low: float, high: float) -> torch.Tensor:
        return torch.from_numpy(random.uniform(low, high, count))

    sign = 1 if polarity == "nmos" else -1
    return EkvMosfet(
        polarity,  # pyright: ignore[reportArgumentType]
        width=drawn(1e-6, 2e-5),
        length=drawn(5e-7, 3e-6),
        multiplicity=torch.from_numpy(random.integers(1, 4, count).astype(float)),
        threshold_voltage=sign * drawn(-0.3, 1.0),
        transconductance=drawn(1e-5, 2e-4),
        temperature=torch.from_numpy(random.choice(celsius, count) + 273.15),
        slope_factor=drawn(1.0, 1.7),
    )


def biased(device: Mosfet, volts: np.ndarray) -> Circuit:
    """Each transistor with sources of its own at drain, gate, source and bulk, `volts` (4, n_elements)."""
    builder = CircuitBuilder("biased")
    nodes = [builder.add_nodes([f"{name}{i}" for i in range(volts.shape[1])]) for name in "dgsb"]
    for name, own, values in zip("dgsb", nodes, volts, strict=True):
        builder.add(VoltageSources(name, own, 0, values))
    drain, gate, source, bulk = nodes
    builder.add(Mosfets("m", drain, gate, source, bulk, device))
    return builder.build()


def ngspice_currents(circuit: Circuit) -> np.ndarray:
    """Currents into drains, gates, sources and bulks, `(4, n_elements)`, of an operating point. [A]"""
    writer = NetlistWriter(circuit, constant_drive(np.zeros(0)))
    names = [[f"i(v_{name}_{i})" for i in range(len(circuit.group("m")))] for name in "dgsb"]
    saved = [name for row in names for name in row]
    cards = [writer.title_card(), writer.options_card(), *writer.model_cards(), *writer.element_cards()]
    cards += [".save " + " ".join(saved[k : k + 8]) for k in range(0, len(saved), 8)]
    (plot,) = run_plots("\n".join([*cards, ".op", ".end"]) + "\n")
    return -np.stack([np.real(plot.columns(row))[0] for row in names])


def own_currents(circuit: Circuit, volts: np.ndarray) -> np.ndarray:
    """The same by the laws of the transistors' parts."""
    node_volts = np.concatenate([[0.0], *volts])
    total = np.zeros(circuit.n_nodes)
    for part in circuit.with_groups([circuit.group("m")]).of_kind(CurrentLaw):
        current = part.current(*(node_volts[p] - node_volts[n] for p, n in part.controls()))
        for node, sign in zip(part.ends(), (1.0, -1.0), strict=True):
            np.add.at(total, node, sign * current)
    return total[1:].reshape(4, -1)


def drain_slopes(circuit: Circuit, volts: np.ndarray) -> np.ndarray:
    """Slope of each channel's current by the drain. [S]"""
    drain, gate, source, bulk = volts
    return circuit.of_kind(Channels)[0].slopes(gate - source, drain - source, bulk - source)[1]


def bias_points(seed: int, count: int = N) -> np.ndarray:
    """Both signs of the voltage across, zero included, and bulks from reverse to forward."""
    random = np.random.default_rng(seed)
    source, drain, gate = random.uniform(-2, 2, (3, count))
    drain[:10] = source[:10]
    drain[10:40] = source[10:40] + 10.0 ** random.uniform(-9, -2, 30)
    bulk = np.minimum(source, drain) + random.uniform(-2, 0.7, count)
    return np.stack([drain, gate, source, bulk])


@pytest.mark.ngspice
@pytest.mark.parametrize("polarity", POLARITIES)
@pytest.mark.parametrize("celsius", [(27.0,), (-20.0, 27.0, 85.0)])
def test_level_1_is_ngspices_own_model(polarity, celsius):
    device, volts = level1(polarity, 1, celsius=celsius), bias_points(2)
    volts = volts if polarity == "nmos" else -volts
    circuit = biased(device, volts)
    found, expected = own_currents(circuit, volts), ngspice_currents(circuit)
    assert not expected[1].any()
    assert not found[1].any()
    # ngspice forms v_DS as v_GS − v_GD, and so has it to the last bit of these alone.
    rounded = 8 * np.finfo(float).eps * 2 * drain_slopes(circuit, volts)
    size = np.abs(expected).max(0)
    assert (np.abs(found - expected) <= 1e-9 * size + rounded).all()
    drains = np.abs(expected[0])
    assert drains.max() > 1e10 * np.quantile(drains, 0.05) > 0


@pytest.mark.ngspice
@pytest.mark.parametrize("polarity", POLARITIES)
def test_ekv_is_its_expression_in_ngspice(polarity):
    device, volts = ekv(polarity, 1, celsius=(-20.0, 27.0, 85.0)), bias_points(2)
    volts = volts if polarity == "nmos" else -volts
    circuit = biased(device, volts)
    found, expected = own_currents(circuit, volts)[0], ngspice_currents(circuit)[0]
    # In the expression 1 + exp(x) loses what is small against 1, and the two currents cancel near 0 V across.
    rounded = 16 * np.finfo(float).eps * 4 * drain_slopes(circuit, volts)
    defined = np.abs(expected) > 1e-11 * np.abs(expected).max()
    assert (np.abs(found - expected) <= 1e-9 * np.abs(expected) + rounded)[defined].all()
    decades = np.log10(np.abs(expected[defined]))
    assert decades.max() - decades.min() > 10


@pytest.mark.parametrize("polarity", POLARITIES)
def test_ekv_is_its_equation_at_fifty_digits(polarity):
    device, volts = ekv(polarity, 3, 60, celsius=(-20.0, 27.0, 85.0)), bias_points(4, 60)
    sign = 1 if polarity == "nmos" else -1
    drain, gate, source, bulk = sign * volts
    controls = [torch.from_numpy(v - source) for v in (gate, drain, bulk)]
    found = device.current(*controls).numpy()
    slopes = [slope.numpy() for slope in device.slopes(*controls)]
    for k in range(60):
        row = {name: float(values[k]) for name, values in vars(device).items() if isinstance(values, torch.Tensor)}
        exact, at = EkvAtHighPrecision(sign, row), [float(v[k]) for v in controls]
        assert found[k] == pytest.approx(float(exact(*at)), rel=1e-12, abs=1e-300)
        # gm and gmbs are differences of the two ends' slopes.
        for slope, derivative in zip(slopes, exact.slopes(*at), strict=True):
            assert slope[k] == pytest.approx(float(derivative), rel=1e-12, abs=4e-15 * slopes[1].max())


class EkvAtHighPrecision:
    """The equation of NMOS or PMOS in mpmath."""

    def __init__(self, sign: int, row: dict[str, float]):
        mpmath.mp.dps = 50
        own = {name: mpmath.mpf(value) for name, value in row.items()}
        kelvin = own["temperature"]
        self.sign, self.n = sign, own["slope_factor"]
        self.thermal = mpmath.mpf(BOLTZMANN) * kelvin / mpmath.mpf(ELEMENTARY_CHARGE)
        self.threshold = sign * own["threshold_voltage"] - mpmath.mpf(1e-3) * (kelvin - mpmath.mpf(300.15))
        factor = own["transconductance"] * (kelvin / mpmath.mpf(300.15)) ** mpmath.mpf(-1.5)
        factor *= own["multiplicity"] * own["width"] / own["length"]
        self.specific = 2 * self.n * factor * self.thermal**2

    def slopes(self, *at: float) -> list:
        return [mpmath.diff(partial(self._along, at, i), at[i]) for i in range(3)]

    def _along(self, at, i, value):
        gate, drain, bulk = (*at[:i], value, *at[i + 1 :])
        return self(gate, drain, bulk)

    def __call__(self, gate, drain, bulk):
        gate, drain, bulk = (self.sign * mpmath.mpf(v) for v in (gate, drain, bulk))
        pinch_off = (gate - bulk - self.threshold) / self.n
        ends = (mpmath.log1p(mpmath.exp((pinch_off + bulk - v) / (2 * self.thermal))) ** 2 for v in (0, drain))
        return self.sign * self.specific * (next(ends) - next(ends))


@pytest.mark.parametrize("polarity", POLARITIES)
@pytest.mark.parametrize("drawn", [level1, ekv])
def test_slopes_are_those_of_the_current(drawn, polarity):
    device, volts = drawn(polarity, 5, celsius=(-20.0, 27.0, 85.0)), bias_points(6)
    drain, gate, source, bulk = volts if polarity == "nmos" else -volts
    controls = [torch.from_numpy(v - source) for v in (gate, drain, bulk)]
    slopes, step = device.slopes(*controls), 1e-6
    largest = torch.stack(slopes).abs().max(0).values
    for i, slope in enumerate(slopes):
        moved = [[c + (side * step if k == i else 0) for k, c in enumerate(controls)] for side in (1, -1)]
        quotient = (device.current(*moved[0]) - device.current(*moved[1])) / (2 * step)
        # Regions meet at kinks of the slopes, which a difference rounds off over its step.
        assert ((slope - quotient).abs() <= 1e-6 * largest + 1e-3 * step).all()


def test_ends_may_be_exchanged():
    volts = bias_points(7)
    drain, gate, source, bulk = volts
    for device in (level1("nmos", 8), ekv("nmos", 8)):
        there = device.current(*(torch.from_numpy(v - source) for v in (gate, drain, bulk)))
        back = device.current(*(torch.from_numpy(v - drain) for v in (gate, source, bulk)))
        torch.testing.assert_close(there, -back, rtol=1e-12, atol=1e-14 * float(there.abs().max()))


def test_ekv_meets_the_square_law_and_the_exponential():
    strong = EkvMosfet(threshold_voltage=0.5, slope_factor=1.4)
    gate, drain, bulk = (torch.tensor([v], dtype=torch.float64) for v in (5.0, 9.0, 0.0))
    assert float(strong.current(gate, drain, bulk)) == pytest.approx(2e-5 / (2 * 1.4) * 4.5**2, rel=1e-9)
    weak = [float(strong.current(gate * 0 + v, drain, bulk)) for v in (-0.5, -0.6)]
    assert weak[0] / weak[1] == pytest.approx(np.exp(0.1 / (1.4 * BOLTZMANN * 300.15 / ELEMENTARY_CHARGE)), rel=1e-6)


def graph(device, seed: int = 0, edges: int = 200, nodes: int = 60) -> Circuit:
    """NMOS edges between random nodes, with gates and bulk at sources; inputs drive two nodes through 1 kΩ."""
    random = np.random.default_rng(seed)
    builder = CircuitBuilder("NMOS edges")
    inner = builder.add_nodes([f"n{i}" for i in range(nodes)])
    gates = builder.add_nodes([f"g{i}" for i in range(edges)])
    sources = builder.add_nodes(["x0", "x1", "low"])
    builder.add(VoltageSources("x", sources[:2], 0, 0.0, [0, 1]))
    builder.add(VoltageSources("low", sources[2], 0, -1.0))
    builder.add(VoltageSources("g", gates, 0, random.uniform(0.8, 3.0, edges)))
    ring = np.stack([np.arange(nodes), (np.arange(nodes) + 1) % nodes])
    others = random.integers(0, nodes, (2, 4 * edges))
    others = others[:, others[0] != others[1]][:, : edges - nodes]
    first, second = np.concatenate([ring, others], axis=1)
    builder.add(Mosfets("m", inner[first], gates, inner[second], sources[2], device))
    builder.add(Conductances("feed", sources[:2], inner[[0, nodes // 2]], 1e-3, "feed", [0, 1]))
    builder.add(Conductances("load", inner, 0, 1e-6))
    builder.set_outputs(inner[[7, 13]], 0)
    return builder.build()


def test_the_graph_has_the_edges_that_it_says():
    assert len(graph(Level1Mosfet()).group("m")) == 200


INPUTS = torch.tensor([[0.9, -0.3], [-0.6, 0.8], [0.2, 0.1], [1.5, 1.4]], dtype=torch.float64)
PLAIN = Level1Mosfet(width=5e-6, length=1e-6, threshold_voltage=0.7, body_effect=0.4, channel_modulation=0.02)
SMOOTH = EkvMosfet(width=5e-6, length=1e-6, threshold_voltage=0.7)


@pytest.mark.ngspice
@pytest.mark.parametrize("device", [PLAIN, SMOOTH], ids=["level1", "ekv"])
def test_a_network_of_200_edges_agrees_with_ngspice(device):
    circuit = graph(device)
    own = solve(circuit, INPUTS, solver=Newton()).voltages
    spice = solve(circuit, INPUTS, solver=Ngspice()).voltages
    assert float((own - spice).abs().max()) <= 1e-8
    assert float(own[:, 1:61].std(1).min()) > 1e-3


def test_newton_with_twice_the_digits_finds_the_same():
    circuit = graph(PLAIN, edges=40, nodes=15)
    found = Newton(accuracy=1e-12).solve_circuit(circuit, INPUTS.numpy())
    assert found.converged.all()
    assert (found.error_bound < 1e-11).all()


@pytest.mark.parametrize("device", [PLAIN, SMOOTH], ids=["level1", "ekv"])
def test_gradients_through_transistors_are_those_of_differences(device):
    circuit, targets, step = graph(device, edges=40, nodes=20), torch.tensor([[0.1, 0.2]]).expand(4, 2).double(), 1e-8
    gradient = implicit_gradients(circuit, SquaredError(), INPUTS, targets)["feed"]
    for k in range(2):
        costs = []
        for side in (1, -1):
            feed = circuit.group("feed")
            siemens = np.array(feed.siemens)  # pyright: ignore[reportAttributeAccessIssue]
            siemens[k] += side * step
            groups = [replace(g, siemens=siemens) if g.label == "feed" else g for g in circuit.groups]
            outputs = solve(circuit.with_groups(groups), INPUTS, solver=Newton()).outputs
            costs.append(float(SquaredError().value(outputs, targets).mean()))
        assert float(gradient[k]) == pytest.approx((costs[0] - costs[1]) / (2 * step), rel=1e-5)


def amplifier(device: Mosfet, farads: float | None = None) -> Circuit:
    """A transistor with 50 kΩ to a supply of 3 V; the input is its gate, the output its drain."""
    builder = CircuitBuilder("common source")
    supply, gate, drain = builder.add_nodes(["supply", "gate", "drain"])
    sign = device.sign
    builder.add(VoltageSources("vdd", supply, 0, 3.0 * sign))
    builder.add(VoltageSources("vin", gate, 0, 0.0, 0, sign))
    builder.add(Conductances("load", supply, drain, 2e-5))
    builder.add(Mosfets("m", drain, gate, 0, 0, device))
    if farads is not None:
        builder.add(Capacitors("c", drain, 0, farads))
    builder.set_outputs(drain, 0)
    return builder.build()


@pytest.mark.ngspice
@pytest.mark.parametrize(("device", "polarity"), [(PLAIN, "nmos"), (SMOOTH, "pmos")])
def test_a_transient_ends_at_rest(device, polarity):
    sign = 1 if polarity == "nmos" else -1
    device = replace(device, polarity=polarity, threshold_voltage=sign * 0.7)
    circuit = amplifier(device, 1e-12)
    found = transient(circuit, np.array([1.5]), 1.2e-6, rtol=1e-6, atol=1e-9)
    rest = solve(circuit, torch.tensor([[1.5]], dtype=torch.float64), solver=Ngspice()).voltages[0]
    np.testing.assert_allclose(found.voltages[-1], rest.numpy(), rtol=0, atol=1e-7)
    # Half-way the slope is Kirchhoff's law.
    k = len(found.times) // 3
    volts = found.voltages[k]
    slope = (found.voltages[k + 1, 3] - found.voltages[k - 1, 3]) / (found.times[k + 1] - found.times[k - 1])
    current = float(own_part_current(circuit, volts))
    assert slope == pytest.approx((2e-5 * (volts[1] - volts[3]) - current) / 1e-12, rel=1e-2)


def own_part_current(circuit: Circuit, volts: np.ndarray) -> float:
    channels = circuit.of_kind(Channels)[0]
    return channels.current(*(volts[p] - volts[n] for p, n in channels.controls()))[0]


def test_power_balances_and_the_operating_point_tells_currents():
    circuit = amplifier(PLAIN)
    voltages = solve(circuit, torch.tensor([[1.5]], dtype=torch.float64), solver=Newton()).voltages.numpy()
    power = branch_power(circuit, voltages)
    current = 2e-5 * (voltages[0, 1] - voltages[0, 3])
    assert power.dissipated["m"] == pytest.approx(current * voltages[0, 3], rel=1e-9)
    assert sum(power.delivered.values()) == pytest.approx(power.total, rel=1e-12)
    found = operating_point(circuit, np.array([1.5]), solver=Newton())
    assert found.diodes["m"][0] == pytest.approx(current, rel=1e-9)


@pytest.mark.ngspice
@pytest.mark.parametrize("gate", [0.9, 2.9])
def test_noise_of_level_1_is_ngspices(gate):
    circuit = amplifier(PLAIN, 1e-12)
    found = output_noise(circuit, np.array([gate]), band=(1.0, 1e3))
    # Junctions are known to ngspice without their noise, and add hardly any here.
    np.testing.assert_allclose(found.density, found.ngspice_density, rtol=1e-6)
    voltages = solve(circuit, torch.tensor([[gate]], dtype=torch.float64), solver=Newton()).voltages[0].numpy()
    channels = circuit.of_kind(Channels)[0]
    slopes = channels.slopes(*(voltages[p] - voltages[n] for p, n in channels.controls()))
    thermal = BOLTZMANN * 300.15
    density = (4 * thermal * 2e-5 + 8 / 3 * thermal * slopes[0][0]) / (2e-5 + slopes[1][0]) ** 2
    np.testing.assert_allclose(found.ngspice_density[0, 0] ** 2, density, rtol=1e-5)


def test_noise_of_ekv_has_its_limits():
    def density(gate: float, drain: float) -> tuple[float, float, float]:
        volts = [torch.tensor([v], dtype=torch.float64) for v in (gate, drain, 0.0)]
        return (
            float(SMOOTH.noise_density(*volts)),
            float(SMOOTH.slopes(*volts)[1]),
            float(SMOOTH.current(*volts)),
        )

    noise, slope, _ = density(3.0, 0.0)
    assert noise == pytest.approx(2 * BOLTZMANN * 300.15 * slope, rel=2e-2)
    noise, _, current = density(0.2, 2.0)
    assert noise == pytest.approx(ELEMENTARY_CHARGE * current, rel=1e-3)
    noise, _, current = density(8.0, 12.0)
    source = 2 * current / ((8.0 - 0.7) / 1.3)
    assert noise == pytest.approx(2 * BOLTZMANN * 300.15 * 2 / 3 * source, rel=2e-2)


def test_shot_currents_name_all_parts():
    circuit = amplifier(PLAIN)
    voltages = solve(circuit, torch.tensor([[1.5]], dtype=torch.float64), solver=Newton()).voltages[0].numpy()
    assert len(shot_currents(circuit, voltages)) == 3


def test_there_is_no_energy_and_it_is_said():
    circuit = amplifier(PLAIN)
    with pytest.raises(EnergyUnavailableError, match="m has channels that three terminals control, which are not rec"):
        circuit_energy(circuit, np.zeros((1, circuit.n_nodes)))


@pytest.mark.ngspice
def test_corners_move_transistors_as_ngspice_does():
    circuit, inputs = amplifier(PLAIN), torch.tensor([[1.5]], dtype=torch.float64)
    own, spice = (
        corners(circuit, inputs, solver=s, celsius=(85.0,), conductance_scales=(1.2,), saturation_scales=(0.5,))
        for s in (Newton(), Ngspice())
    )
    assert own.unchanged == ()
    for first, second in zip(own.corners, spice.corners, strict=True):
        assert first.largest_change == pytest.approx(second.largest_change, abs=1e-9)
        assert first.largest_change > 1e-2


def test_a_chip_has_transistors_of_its_own():
    device = replace(PLAIN, threshold_voltage=torch.full((1,), 0.7, dtype=torch.float64))
    circuit = amplifier(device)
    chip = Chip.draw(circuit, 1, threshold_voltage=0.1)
    applied = chip.apply(circuit)
    expected = 0.7 * chip.factors["m.threshold_voltage"]
    assert applied.group("m").parameters()["threshold_voltage"] == expected
    inputs = torch.tensor([[1.5]], dtype=torch.float64)
    by_hand = amplifier(replace(PLAIN, threshold_voltage=float(expected[0])))
    found = solve(circuit, inputs, solver=Newton(), chip=chip).voltages
    torch.testing.assert_close(found, solve(by_hand, inputs, solver=Newton()).voltages, rtol=0, atol=1e-15)


LEVEL1_CARD = "NMOS(LEVEL=1.0 VTO=0.7 KP=2e-05 GAMMA=0.4 PHI=0.6 LAMBDA=0.02 IS=1e-14 JS=0.0 TNOM=27.0)"


@pytest.mark.parametrize("dialect", ["ngspice", "xyce", "ltspice", "hspice", "gnucap"])
def test_level_1_reaches_every_dialect(dialect: DialectName):
    text = write_deck(amplifier(PLAIN), np.array([1.5]), dialect=dialect)
    assert f".model nmos_0 {LEVEL1_CARD}" in text
    assert "m_m_0 drain gate 0 0 nmos_0 W=5e-06 L=1e-06 M=1.0 AD=0.0 AS=0.0" in text


def test_spectre_has_its_own_words():
    text = write_deck(amplifier(PLAIN), np.array([1.5]), dialect="spectre")
    assert "model nmos_0 mos1 type=n vto=0.7" in text
    assert "m_m_0 (drain gate 0 0) nmos_0 w=5e-06 l=1e-06 m=1.0" in text


@pytest.mark.parametrize(
    ("dialect", "word"),
    [("ngspice", "ln("), ("xyce", "ln("), ("ltspice", "ln("), ("hspice", "log("), ("spectre", "log(")],
)
def test_ekv_reaches_every_dialect_with_expressions(dialect: DialectName, word: str):
    text = write_deck(amplifier(SMOOTH), np.array([1.5]), dialect=dialect)
    assert text.count(f"{word}1+exp(-abs(") == 4


def test_a_temperature_of_its_own_stands_on_the_card():
    circuit = replace(amplifier(replace(PLAIN, temperature=350.15)), temperature=300.15)
    stated: dict[DialectName, str] = {
        "ngspice": " TEMP=77.0",
        "hspice": " DTEMP='77.0-temper'",
        "spectre": " trise=77.0-temp",
    }
    for dialect, words in stated.items():
        assert words in write_deck(circuit, np.array([1.5]), dialect=dialect)
    with pytest.raises(
        CircuitError, match=r"a NMOS transistor must be at the circuit's 300.15 K, as .* found \[350.15\] K"
    ):
        write_deck(circuit, np.array([1.5]), dialect="gnucap")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": -1e-6}, "Level1Mosfet: width must be positive, found -1e-06"),
        ({"surface_potential": 0.0}, "Level1Mosfet: surface_potential must be positive, found 0.0"),
        ({"body_effect": -0.1}, "Level1Mosfet: body_effect must not be negative, found -0.1"),
        ({"threshold_voltage": float("nan")}, "Level1Mosfet: threshold_voltage must be finite"),
        ({"polarity": "n"}, "Level1Mosfet: polarity must be 'nmos' or 'pmos', found 'n'"),
    ],
)
def test_parameters_that_cannot_be(values, message):
    with pytest.raises(DeviceParameterError, match=message):
        Level1Mosfet(**values)


def test_a_slope_factor_below_one_cannot_be():
    with pytest.raises(DeviceParameterError, match=r"EkvMosfet: slope_factor must be at least 1, found 0\.9"):
        EkvMosfet(slope_factor=0.9)


def test_a_bulk_that_is_left_open_is_named():
    builder = CircuitBuilder("open bulk")
    supply, drain, bulk = builder.add_nodes(["supply", "drain", "bulk"])
    builder.add(VoltageSources("vdd", supply, 0, 1.0))
    builder.add(Conductances("load", supply, drain, 1e-5))
    builder.add(Mosfets("m", drain, supply, 0, bulk, SMOOTH))
    builder.set_outputs(drain, 0)
    with pytest.raises(CircuitError, match=r"node needs a resistive path .* such as bulk"):
        solve(builder.build(), torch.zeros(1, 0, dtype=torch.float64), solver=Newton())
