"""Networks whose gate voltages learn: energy, contrast and gradients of NMOS edges."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from analog_ep import (
    CoupledLearning,
    EquilibriumPropagation,
    GateNetwork,
    ImplicitDifferentiation,
    Newton,
    Ngspice,
    SmallSignal,
    SquaredError,
    Update,
    solve,
)
from analog_ep.circuit import (
    Chip,
    Circuit,
    CircuitBuilder,
    Conductances,
    FloatingGateMosfets,
    GatedMosfets,
    Mosfets,
    VoltageSources,
    circuit_energy,
    energy_weights,
)
from analog_ep.devices import EkvMosfet, Level1Mosfet, Mosfet
from analog_ep.errors import EnergyUnavailableError, NetworkError
from analog_ep.netlist.deck import write_deck
from analog_ep.networks import needs

BOUNDS = (0.8, 3.0)
LEVEL1 = Level1Mosfet(
    width=2e-5, length=1e-6, threshold_voltage=0.7, body_effect=0.4, channel_modulation=0.05, saturation_current=1e-15
)
EKV = EkvMosfet(width=2e-5, length=1e-6, threshold_voltage=0.7)
DEVICES = pytest.mark.parametrize("device", [LEVEL1, EKV], ids=["level1", "ekv"])


def edges(
    kind: type[GatedMosfets],
    device: Mosfet,
    seed: int = 0,
    count: int = 40,
    nodes: int = 14,
    outputs: tuple[int, int] = (3, 8),
) -> Circuit:
    """Trainable NMOS edges of any graph: two driven nodes, one constant one, loads, and two outputs."""
    random = np.random.default_rng(seed)
    builder = CircuitBuilder("NMOS edges")
    inner = builder.add_nodes([f"n{i}" for i in range(nodes)])
    driven = builder.add_nodes(["x0", "x1", "one", "low"])
    builder.add(VoltageSources("x", driven[:2], 0, 0.0, [0, 1]))
    builder.add(VoltageSources("one", driven[2:], 0, [0.4, -1.0]))
    every = np.concatenate([inner, driven[:3]])
    pairs = np.array([pair for pair in itertools.combinations(every, 2) if pair[0] < driven[0]])
    ring = np.stack([inner, np.roll(inner, -1)], axis=1)
    chosen = np.concatenate([ring, random.permutation(pairs)[: count - nodes]])
    others = {} if kind is FloatingGateMosfets else {"bulk": driven[3]}
    index = np.arange(count)
    gates = random.uniform(1.0, 2.8, count)
    drain, source = chosen.T
    builder.add(kind("m", drain, source, gates, device, parameter="gates", index=index, **others))
    builder.add(Conductances("load", inner, 0, 2e-6))
    builder.set_outputs(inner[list(outputs)], [0, inner[(5, 6)[outputs[1] == 5]]])
    return builder.build()


INPUTS = torch.tensor([[0.4, -0.3], [-0.35, 0.2], [0.1, 0.45]], dtype=torch.float64)
TARGETS = torch.tensor([[0.1, -0.1], [0.0, 0.1], [0.2, 0.0]], dtype=torch.float64)


CHOSEN = [0, 5, 11, 17, 22]
"""Gates whose gradient is judged by differences."""


def differences(network: GateNetwork, step: float = 1e-5) -> np.ndarray:
    """Central differences of the mean cost by some gate voltages."""
    gates = network.gate_voltages["gates"]

    def cost(volts: torch.Tensor) -> float:
        network.set_gate_voltages({"gates": volts})
        outputs = solve(network, INPUTS, solver=Newton()).outputs
        return float(SquaredError().value(outputs, TARGETS).mean())

    found = []
    for k in CHOSEN:
        change = torch.zeros_like(gates)
        change[k] = step
        found.append((cost(gates + change) - cost(gates - change)) / (2 * step))
    network.set_gate_voltages({"gates": gates})
    return np.array(found)


@DEVICES
@pytest.mark.parametrize("kind", [FloatingGateMosfets, GatedMosfets])
def test_implicit_differentiation_gives_the_gradient_by_gate_voltages(kind, device):
    network = GateNetwork(edges(kind, device, count=24, nodes=8 + 1), BOUNDS)
    _, exact = ImplicitDifferentiation(network).gradients(INPUTS, TARGETS)
    expected = differences(network)
    np.testing.assert_allclose(exact["gates"].numpy()[CHOSEN], expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


@DEVICES
def test_floating_gates_learn_by_the_exact_gradient(device):
    network = GateNetwork(edges(FloatingGateMosfets, device), BOUNDS)
    _, exact = ImplicitDifferentiation(network).gradients(INPUTS, TARGETS)
    _, small = SmallSignal(network).gradients(INPUTS, TARGETS)
    torch.testing.assert_close(small["gates"], exact["gates"], rtol=1e-8, atol=1e-12)
    errors = []
    for nudging in (2e-6, 1e-6):
        _, found = EquilibriumPropagation(network, nudging).gradients(INPUTS, TARGETS)
        errors.append(float((found["gates"] - exact["gates"]).abs().max() / exact["gates"].abs().max()))
    # Centered nudges are off by β²; kinks of level 1's slopes make it less regular.
    assert errors[1] < 2e-3
    assert errors[1] < 0.6 * errors[0]


@DEVICES
def test_the_energy_is_least_at_rest_and_its_slope_by_gates_is_the_contrast(device):
    circuit = edges(FloatingGateMosfets, device)
    network = GateNetwork(circuit, BOUNDS)
    state = solve(network, INPUTS, solver=Newton())
    volts = state.voltages.numpy()
    free = np.setdiff1d(np.arange(1, circuit.n_nodes), [circuit.node(name) for name in ("x0", "x1", "one", "low")])
    for node in free[:4]:
        moved = [volts.copy(), volts.copy()]
        for side, there in zip((1, -1), moved, strict=True):
            there[:, node] += side * 1e-4
        up, down = (circuit_energy(circuit, there) for there in moved)
        here = circuit_energy(circuit, volts)
        assert (up > here).all()
        assert (down > here).all()
        np.testing.assert_allclose((up - down) / 2e-4, 0, atol=2e-9 + 1e-4 * (up - here).max() / 1e-4)
    # dE/dV_G at a state that is none of the circuit's equilibria less that at one.
    response = 0.05 * torch.randn(state.voltages.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    response[:, [circuit.node(name) for name in ("x0", "x1", "one", "low")] + [0]] = 0.0
    contrast = network.contrast(INPUTS, state.layers, (response,))["gates"].numpy()
    group, step = circuit.group("m"), 1e-5
    for k in range(0, 40, 7):
        energies = []
        for side in (1, -1):
            gates = np.array(group.parameters()["gate_volts"])
            gates[k] += side * step
            changed = circuit.with_groups(
                [group.with_parameters({"gate_volts": gates}) if g is group else g for g in circuit.groups]
            )
            energies.append(circuit_energy(changed, volts + response.numpy()) - circuit_energy(changed, volts))
        slope = (energies[0] - energies[1]).sum() / (2 * step)
        assert contrast[k] == pytest.approx(slope, rel=1e-5, abs=1e-6 * np.abs(contrast).max())


@DEVICES
@pytest.mark.parametrize("polarity", ["nmos", "pmos"])
@pytest.mark.parametrize("bodied", [0.0, 0.6])
def test_compiled_loops_are_the_devices_equations(device, polarity, bodied):
    random, sign = np.random.default_rng(0), 1 if polarity == "nmos" else -1
    device = replace(device, polarity=polarity, threshold_voltage=sign * torch.from_numpy(random.uniform(-0.2, 1, 50)))
    if isinstance(device, Level1Mosfet):
        device = replace(device, body_effect=bodied)
    gate, volts = sign * torch.from_numpy(random.uniform(-0.5, 3, 50)), random.uniform(-3, 3, (40, 50))
    volts[0], volts[1] = 0.0, 1e-9 * volts[1]
    across = torch.from_numpy(volts)
    at = gate, device.turn * across, torch.zeros_like(across)
    expected = [device.turn * device.current(*at), device.slopes(*at)[1]]
    if junctions := device.bulk_junctions():
        expected[0] += junctions[0].current(across)
        expected[1] += junctions[0].conductance(across)
    current, slope = device.resistors(gate)(volts)
    np.testing.assert_allclose(current, expected[0].numpy(), rtol=1e-13, atol=1e-20)
    np.testing.assert_allclose(slope, expected[1].numpy(), rtol=1e-12, atol=1e-18)


@DEVICES
@pytest.mark.parametrize("polarity", ["nmos", "pmos"])
def test_the_co_content_is_the_integral(device, polarity):
    sign = 1 if polarity == "nmos" else -1
    device = replace(device, polarity=polarity, threshold_voltage=sign * 0.7)
    for gate in (0.3, 0.71, 1.2, 2.5):
        for end in (-2.5, -1.0, -0.2, 1e-3, 0.6, 2.8):
            own = [torch.tensor([sign * v], dtype=torch.float64) for v in (gate, end)]
            found = float(device.integral(device.current, own[0], 0 * own[1], own[1]))

            def current(v: float, gate: torch.Tensor = own[0]) -> float:
                at = torch.tensor([v], dtype=torch.float64)
                return float(device.current(gate, at, 0 * at))

            knees = [sign * v for v in (0.5, -0.05, -0.3, -0.4, -1.2, 1.8)]
            expected = quad(current, 0, sign * end, points=knees, limit=200, epsabs=1e-16, epsrel=1e-12)[0]
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-15)


def by_hand(circuit: Circuit) -> Circuit:
    """The same with four-terminal transistors, and sources at their gates."""
    group = circuit.group("m")
    assert isinstance(group, GatedMosfets)
    floating = isinstance(group, FloatingGateMosfets)
    names = [f"gate{i}" for i in range(len(group))]
    gates = circuit.n_nodes + np.arange(len(group))
    below = group.source if floating else group.reference
    groups = [g for g in circuit.groups if g is not group]
    groups.append(VoltageSources("gates", gates, below, group.gate_volts))
    groups.append(
        Mosfets("m", group.drain, gates, group.source, group.source if floating else group.bulk, group.device)
    )
    return replace(circuit, node_names=(*circuit.node_names, *names), groups=tuple(groups))


@DEVICES
@pytest.mark.parametrize("kind", [FloatingGateMosfets, GatedMosfets])
def test_they_are_transistors_with_sources_at_their_gates(kind, device):
    circuit = edges(kind, device, count=20, nodes=9)
    own = solve(circuit, INPUTS, solver=Newton()).voltages
    found = solve(by_hand(circuit), INPUTS, solver=Newton()).voltages[:, : circuit.n_nodes]
    torch.testing.assert_close(own, found, rtol=0, atol=1e-11)


@pytest.mark.ngspice
@DEVICES
@pytest.mark.parametrize("kind", [FloatingGateMosfets, GatedMosfets])
def test_edges_in_ngspice(kind, device):
    circuit = edges(kind, device, count=200, nodes=60)
    own = solve(circuit, INPUTS, solver=Newton()).voltages
    spice = solve(circuit, INPUTS, solver=Ngspice()).voltages
    assert float((own - spice).abs().max()) <= 1e-8
    assert float(own[:, 1:61].std(1).min()) > 1e-2


def test_netlists_hold_the_gates_sources():
    deck = write_deck(edges(FloatingGateMosfets, LEVEL1, count=20, nodes=9), INPUTS[0])
    assert "m_m_0 n0 _m_0_g n1 n1 nmos_0 W=2e-05" in deck
    assert "v_m_0_gate _m_0_g n1 2." in deck
    deck = write_deck(edges(GatedMosfets, LEVEL1, count=20, nodes=9), INPUTS[0])
    assert "m_m_0 n0 _m_0_g n1 low nmos_0 W=2e-05" in deck
    assert "v_m_0_gate _m_0_g 0 2." in deck


@DEVICES
def test_gates_held_against_ground_have_no_energy(device):
    circuit = edges(GatedMosfets, device)
    assert "three terminals" in energy_weights(circuit).reason
    network = GateNetwork(circuit, BOUNDS)
    with pytest.raises(EnergyUnavailableError, match=r"m has channels .* use AdjointNetwork, .*, FloatingGateMosfets"):
        SmallSignal(network).gradients(INPUTS, TARGETS)
    network = GateNetwork(circuit, BOUNDS, reciprocal=False)
    _, exact = ImplicitDifferentiation(network).gradients(INPUTS, TARGETS)
    _, local = SmallSignal(network).gradients(INPUTS, TARGETS)
    cosine = torch.nn.functional.cosine_similarity(exact["gates"], local["gates"], dim=0)
    assert 0.9 < float(cosine) < 1 - 1e-6


def test_the_rule_of_the_boards_is_that_of_squared_voltages():
    """Dillavou et al.: in the linear region a gate learns by the difference of squared voltages across the channel."""
    device = Level1Mosfet(width=2e-5, length=1e-6, threshold_voltage=0.1)
    network = GateNetwork(edges(GatedMosfets, device), (0.5, 4.0), reciprocal=False)
    network.set_gate_voltages({"gates": torch.linspace(2.5, 3.5, 40, dtype=torch.float64)})
    state = solve(network, INPUTS, solver=Newton())
    response = 0.1 * torch.sin(torch.arange(state.voltages.numel(), dtype=torch.float64)).reshape(state.voltages.shape)
    contrast = network.contrast(INPUTS, state.layers, (response,))["gates"]
    group = network.circuit().group("m")
    assert isinstance(group, GatedMosfets)
    drain, source = (torch.from_numpy(np.array(nodes)) for nodes in (group.drain, group.source))
    before, after = (v[:, drain] - v[:, source] for v in (state.voltages, state.voltages + response))
    torch.testing.assert_close(contrast, 4e-4 / 2 * (after**2 - before**2).sum(0), rtol=1e-9, atol=1e-15)


def xor(seed: int, kind: type[GatedMosfets] = FloatingGateMosfets) -> GateNetwork:
    """Both inputs and a constant at both signs, six hidden nodes, and an output that is the difference of two nodes."""
    random = np.random.default_rng(seed)
    builder = CircuitBuilder("XOR")
    rails = builder.add_nodes(["a", "a_n", "b", "b_n", "one", "one_n"])
    hidden = builder.add_nodes([f"h{i}" for i in range(6)])
    outputs = builder.add_nodes(["o_p", "o_n"])
    builder.add(VoltageSources("x", rails[:4], 0, 0.0, [0, 0, 1, 1], [1, -1, 1, -1]))
    builder.add(VoltageSources("one", rails[4:], 0, [0.5, -0.5]))
    ends = [np.array(list(itertools.product(*pair))) for pair in ((rails, hidden), (hidden, outputs), (rails, outputs))]
    drain, source = np.concatenate(ends).T
    gates = random.uniform(1.0, 2.0, len(drain))
    builder.add(kind("m", drain, source, gates, EKV, parameter="gates", index=np.arange(len(drain))))
    builder.add(Conductances("load", np.concatenate([hidden, outputs]), 0, 1e-6))
    builder.set_outputs(outputs[0], outputs[1])
    return GateNetwork(builder.build(), (0.5, 3.0))


TABLE = torch.tensor([[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]], dtype=torch.float64)
LABELS = torch.tensor([[-1.0], [1.0], [1.0], [-1.0]], dtype=torch.float64)


def learn(network: GateNetwork, method, steps: int, level: float, rate: float) -> torch.Tensor:
    update = Update(torch.optim.Adam(network.parameters(), lr=rate), network)
    for _ in range(steps):
        update.zero_grad()
        method.backward(TABLE, level * LABELS)
        update.step()
    return solve(network, TABLE, solver=Newton()).outputs


def test_xor_is_learnt_by_equilibrium_propagation():
    network = xor(0)
    outputs = learn(network, SmallSignal(network), 80, 0.05, 0.08)
    assert (torch.sign(outputs) == LABELS).all()
    low, high = network.parameter_range
    gates = network.gate_voltages["gates"]
    assert ((gates >= low) & (gates <= high)).all()


def test_coupled_learning_takes_gate_voltages():
    network = GateNetwork(edges(FloatingGateMosfets, EKV, count=24, nodes=9), BOUNDS)
    teacher = torch.linspace(1.2, 2.6, 24, dtype=torch.float64)
    start = network.gate_voltages
    network.set_gate_voltages({"gates": teacher})
    targets = solve(network, INPUTS, solver=Newton()).outputs
    network.set_gate_voltages(start)
    update = Update(torch.optim.Adam(network.parameters(), lr=0.1), network)
    method, costs = CoupledLearning(network, 0.1), []
    for _ in range(25):
        update.zero_grad()
        costs.append(float(method.backward(INPUTS, targets)))
        update.step()
    assert costs[-1] < 0.1 * costs[0]


def test_a_chip_moves_gate_voltages():
    circuit = edges(FloatingGateMosfets, LEVEL1)
    chip = Chip.draw(circuit, 3, gate_volts=0.05)
    applied, nominal = chip.apply(circuit).group("m"), circuit.group("m")
    expected = nominal.parameters()["gate_volts"] * chip.factors["m.gate_volts"]
    np.testing.assert_array_equal(applied.parameters()["gate_volts"], expected)


def test_what_cannot_be_a_network_of_gates():
    circuit = edges(FloatingGateMosfets, LEVEL1)
    with pytest.raises(NetworkError, match=r"gate voltages must lie in the bounds 1\.5…3\.0 V, found 1\."):
        GateNetwork(circuit, (1.5, 3.0))
    with pytest.raises(NetworkError, match="bounds must be V_min < V_max, found 3.0 and 1.0 V"):  # noqa: RUF043
        GateNetwork(circuit, (3.0, 1.0))
    plain = circuit.with_groups([g for g in circuit.groups if g.label != "m"])
    with pytest.raises(NetworkError, match="a network needs transistors that learn, found none in 'NMOS edges'"):
        GateNetwork(plain, BOUNDS)
    both = circuit.with_groups([*circuit.groups, Conductances("r", 1, 0, 1e-6, "r", 0)])
    with pytest.raises(NetworkError, match="r: a GateNetwork learns gate voltages alone, found a conductance that lea"):
        GateNetwork(both, BOUNDS)
    with pytest.raises(Exception, match="conductances here, found a GateNetwork; try another"):
        needs.conductances_of(GateNetwork(circuit, BOUNDS), "conductances here", "try another")


def test_a_state_has_the_voltages_of_every_node_of_its_circuit():
    network = GateNetwork(edges(FloatingGateMosfets, EKV, count=24, nodes=9), BOUNDS)
    state = solve(network, INPUTS, solver=Newton())
    volts = network.node_voltages(INPUTS, network.layers_of(state.voltages))
    torch.testing.assert_close(volts, state.voltages, rtol=0, atol=0)
    driven = network.circuit().node("x0")
    torch.testing.assert_close(volts[:, driven], INPUTS[:, 0], rtol=0, atol=0)
