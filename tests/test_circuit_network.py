"""Any circuit as a network: against layered networks, implicit differentiation and ngspice."""

# Scalars for element values are spread over the elements, which the annotations do not say.
# pyright: reportArgumentType=false

import re
import subprocess

import numpy as np
import pytest
import torch
from plain_ngspice import run_plain

from analog_ep import (
    CoupledLearning,
    EquilibriumPropagation,
    ImplicitDifferentiation,
    Newton,
    Ngspice,
    Nudge,
    Relaxation,
    ResistiveNetwork,
    ShockleyDiode,
    SmallSignal,
    SquaredError,
    Update,
    cross_check,
    solve,
    write_netlist,
    write_transient_netlist,
)
from analog_ep.circuit import (
    Amplifiers,
    Chip,
    Circuit,
    CircuitBuilder,
    Conductances,
    VoltageControlledCurrentSources,
    VoltageSources,
)
from analog_ep.errors import EnergyUnavailableError, NetworkError
from analog_ep.learning.gradients.implicit import implicit_gradients
from analog_ep.learning.updates.held_cells import HeldCells
from analog_ep.networks import CircuitNetwork
from analog_ep.ngspice.process import find_ngspice

BOUNDS = (1e-7, 1e-3)


def graph(seed: int = 0, nodes: int = 12) -> Circuit:
    """A random graph with diodes, an amplifier into a second block, three inputs and two outputs."""
    random = np.random.default_rng(seed)
    builder = CircuitBuilder("graph")
    inputs = builder.add_nodes(f"x{i}" for i in range(3))
    first = builder.add_nodes(f"a{i}" for i in range(nodes))
    driven = builder.add_nodes(["driven"])
    second = builder.add_nodes(f"b{i}" for i in range(nodes))
    builder.add(VoltageSources("inputs", inputs, 0, 0.0, np.arange(3)))
    for label, members, sources in (("near", first, inputs), ("far", second, driven)):
        ring = np.stack([members, np.roll(members, 1)])
        chords = random.choice(members, (2, 2 * nodes))
        feeds = np.stack([random.choice(sources, 4), members[:4]])
        ends = np.concatenate([ring, chords[:, chords[0] != chords[1]], feeds], axis=1)
        siemens = random.uniform(1e-5, 5e-4, ends.shape[1])
        builder.add(Conductances(label, ends[0], ends[1], siemens, f"g_{label}", np.arange(len(siemens))))
    builder.add(Conductances("leak", np.concatenate([first, second]), 0, 1e-5))
    builder.add_diodes("clamp", first[::3], np.zeros(len(first[::3]), int), ShockleyDiode(1e-9))
    builder.add(Amplifiers("amp", first[5], driven, 3.0, 0.5))
    builder.set_outputs(second[[1, 4]], second[[7, 9]])
    return builder.build()


def samples(n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.rand((n, k), generator=generator, dtype=torch.float64) for k in (3, 2))
    return x, 0.1 * y


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_the_gradient_of_a_graph_is_exact():
    net, (x, y) = CircuitNetwork(graph(), BOUNDS), samples()
    cost, gradients = SmallSignal(net).gradients(x, y)
    exact = implicit_gradients(net.circuit(), SquaredError(), x, y)
    assert exact.keys() == gradients.keys() == {"g_near", "g_far"}
    for name, gradient in gradients.items():
        assert relative(gradient, exact[name] * net.reference_conductance) < 1e-9, name
    outputs = solve(net, x, solver=Newton()).outputs
    torch.testing.assert_close(cost, 0.5 * (outputs - y).square().sum(-1).mean(), rtol=1e-12, atol=0)


def test_finite_nudges_tend_to_it():
    net, (x, y) = CircuitNetwork(graph(), BOUNDS), samples()
    _, wanted = SmallSignal(net).gradients(x, y)
    for kind in ("frozen", "elastic"):
        _, found = EquilibriumPropagation(net, 1e-6, variant="positive", kind=kind).gradients(x, y)
        for name, gradient in found.items():
            assert relative(gradient, wanted[name]) < 1e-2, (kind, name)


@pytest.mark.ngspice
def test_ngspice_gives_the_same_gradient():
    net, (x, y) = CircuitNetwork(graph(), BOUNDS), samples(2)
    _, ours = SmallSignal(net).gradients(x, y)
    _, theirs = SmallSignal(net, solver=Ngspice()).gradients(x, y)
    for name, gradient in ours.items():
        assert relative(theirs[name], gradient) < 1e-7, name


@pytest.mark.parametrize("drive", ["differential", "single"])
def test_a_layered_network_as_a_circuit_learns_alike(drive):
    layered = ResistiveNetwork([4, 5, 3], diode=ShockleyDiode(1e-9), gain=3.0, drive=drive, dtype=torch.float64)
    net = CircuitNetwork(layered.circuit(), layered.conductance_range)
    generator = torch.Generator().manual_seed(2)
    x, y = (torch.rand((6, n), generator=generator, dtype=torch.float64) for n in (4, 3))
    for method in (SmallSignal, lambda n: CoupledLearning(n, 0.3)):
        _, wanted = method(layered).gradients(x, y)
        _, found = method(net).gradients(x, y)
        for name, gradient in found.items():
            assert relative(gradient, wanted[name].reshape(-1)) < 1e-8, name
    free = solve(layered, x, solver=Relaxation())
    state = solve(net, x, solver=Newton())
    torch.testing.assert_close(net.energy(x, state.layers), layered.energy(x, free.layers), rtol=1e-9, atol=0)


def test_shared_elements_add_up():
    builder = CircuitBuilder("shared")
    top, a, b = builder.add_nodes(["top", "a", "b"])
    builder.add(VoltageSources("v", top, 0, 0.0, 0))
    # The same conductance from the source to a and from a to b: two elements of one parameter, in two groups.
    builder.add(Conductances("g1", top, a, 1e-4, "g", 0))
    builder.add(Conductances("g2", a, b, 1e-4, "g", 0))
    builder.add(Conductances("load", [a, b], 0, [2e-4, 3e-4]))
    builder.set_outputs(b, 0)
    net = CircuitNetwork(builder.build(), BOUNDS)
    x, y = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)

    def cost(g: float) -> float:
        matrix = np.array([[2 * g + 2e-4, -g], [-g, g + 3e-4]])
        return 0.5 * np.linalg.solve(matrix, [g, 0.0])[1] ** 2

    _, gradients = SmallSignal(net).gradients(x, y)
    wanted = (cost(1e-4 + 1e-9) - cost(1e-4 - 1e-9)) / 2e-9 * net.reference_conductance
    assert float(gradients["g"][0]) == pytest.approx(wanted, rel=1e-6)


def test_a_graph_trains_within_its_bounds_and_is_restored():
    net, (x, y) = CircuitNetwork(graph(), BOUNDS), samples()
    method = SmallSignal(net)
    update = Update(torch.optim.Adam(net.parameters(), lr=0.02), net)
    costs = []
    for _ in range(40):
        update.zero_grad()
        costs.append(float(method.backward(x, y)))
        update.step()
    assert costs[-1] < 0.1 * costs[0]
    low, high = BOUNDS
    assert all(bool(((g >= 0.999 * low) & (g <= 1.001 * high)).all()) for g in net.conductances.values())
    other = CircuitNetwork(graph(), BOUNDS)
    other.load_state_dict(net.state_dict())
    for a, b in zip(solve(net, x, solver=Newton()).layers, solve(other, x, solver=Newton()).layers, strict=True):
        assert torch.equal(a, b)


def test_a_one_way_source_leaves_no_energy_and_it_is_said():
    circuit = graph()
    one_way = VoltageControlledCurrentSources("g_m", 0, circuit.node("a1"), circuit.node("b2"), 0, 1e-6)
    net = CircuitNetwork(circuit.with_groups([*circuit.groups, one_way]), BOUNDS)
    with pytest.raises(EnergyUnavailableError, match="g_m is a one-way controlled source"):
        SmallSignal(net).gradients(*samples())


@pytest.mark.ngspice
def test_a_graph_is_checked_and_exported(tmp_path):
    net, (x, y) = CircuitNetwork(graph(), BOUNDS), samples(3)
    check = cross_check(net, x, y, nudging=1e-6)
    assert check.passed, check.table()
    assert check.max_voltage_error < 1e-9
    nudge = Nudge(1e-5, y[0], SquaredError())
    printed = run_plain(write_netlist(net, x[0], nudge, path=tmp_path / "graph.cir"))
    free = solve(net, x[:1], solver=Newton())
    nudged = solve(net, x[:1], Nudge(1e-5, y[:1], SquaredError()), solver=Newton(), start=free)
    pairs = [("b1", "b7"), ("b4", "b9")]
    for output, (p, n) in enumerate(pairs):
        found = printed[f"v({p})-v({n})"]
        expected = [float(state.outputs[0, output]) for state in (free, nudged)]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    energy = [float(net.energy(x[:1], state.layers)) for state in (free, nudged)]
    np.testing.assert_allclose(printed["v(energy)"], energy, rtol=1e-6)


@pytest.mark.ngspice
def test_the_cycle_of_a_graph_in_one_transient(tmp_path):
    net, (x, y) = CircuitNetwork(graph(nodes=10), BOUNDS), samples(1)
    nudge = Nudge(1e-5, y, SquaredError())
    path = write_transient_netlist(net, x, nudge, path=tmp_path / "cycle.cir", rate=1.0)
    done = subprocess.run([find_ngspice(), "-b", path], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    found = {k: float(v) for k, v in re.findall(r"^(delta_\w+)_0\s+=\s+(\S+)", done.stdout, re.MULTILINE)}
    _, gradients = EquilibriumPropagation(net, 1e-5, variant="positive").gradients(x, y)
    assert len(found) == sum(len(gradient) for gradient in gradients.values()), done.stdout[-2000:]
    for name, gradient in gradients.items():
        label = name.removeprefix("g_")
        measured = [found[f"delta_{label}_{i}"] for i in range(len(gradient))]
        wanted = (-gradient / net.reference_conductance).numpy()
        np.testing.assert_allclose(measured, wanted, rtol=0, atol=1e-3 * np.abs(wanted).max())


def described(**changes) -> Circuit:
    builder = CircuitBuilder("small")
    top, a = builder.add_nodes(["top", "a"])
    builder.add(VoltageSources("v", top, 0, 1.0))
    values = {"siemens": [1e-4, 2e-4], "parameter": "g", "index": [0, 1]} | changes
    builder.add(Conductances("g", [top, a], [a, 0], **values))
    builder.set_outputs(a, 0)
    return builder.build()


@pytest.mark.parametrize(
    ("circuit", "bounds", "words"),
    [
        (described(), (1e-3, 1e-3), "bounds must be 0 < g_min < g_max, found 0.001 and 0.001 S"),
        (described(parameter=None, index=None), BOUNDS, "needs trainable conductances, found none in 'small'"),
        (described(index=[0, 0]), BOUNDS, "elements of one index must have one conductance, found 0.0002 and 0.0001 S"),
        (described(index=[0, 2]), BOUNDS, "indices must run without a gap from 0 to 2, found none at 1"),
        (described(siemens=[1e-4, 2.0]), BOUNDS, "must lie in the bounds 1e-07…0.001 S, found 2.0 S; widen them"),
    ],
)
def test_what_is_no_network_is_named(circuit, bounds, words):
    with pytest.raises(NetworkError, match=words):
        CircuitNetwork(circuit, bounds)


def test_a_circuit_without_outputs_is_named():
    circuit = described()
    with pytest.raises(NetworkError, match="a network needs outputs, found none in 'small'"):
        CircuitNetwork(Circuit(circuit.title, circuit.node_names, circuit.groups), BOUNDS)


def test_a_parameter_called_as_what_a_network_has_is_refused():
    builder = CircuitBuilder("collision")
    builder.add_nodes(["a", "b"])
    builder.add(VoltageSources("v", "a", "0", 1.0))
    builder.add(Conductances("r", ["a", "b"], ["b", "0"], 1e-4, "energy", [0, 1]))
    builder.set_outputs("b", "0")
    with pytest.raises(NetworkError, match="must not be called as what every network has, found 'energy'"):
        CircuitNetwork(builder.build(), (1e-6, 1e-3))


def test_outputs_before_and_behind_an_amplifier_have_no_gradient_of_phases():
    """Weights 1 and k/a = 1/4: what phases give differs from the cost's gradient by its own size."""
    builder = CircuitBuilder("two blocks")
    builder.add_nodes(["x", "a", "b", "c"])
    builder.add(VoltageSources("v", "x", "0", 0.0, 0))
    builder.add(Conductances("r", ["x", "a", "b", "c"], ["a", "0", "c", "0"], 1e-4, "g", [0, 1, 2, 3]))
    builder.add(Amplifiers("amp", "a", "b", 2.0, 0.5))
    builder.set_outputs(["a", "c"], "0")
    network = CircuitNetwork(builder.build(), (1e-6, 1e-3))
    x, y = torch.tensor([[1.0]], dtype=torch.float64), torch.tensor([[0.1, 0.9]], dtype=torch.float64)
    with pytest.raises(EnergyUnavailableError, match=r"outputs have different energy weights, 1 at a and 0\.25 at c"):
        SmallSignal(network).gradients(x, y)
    exact = ImplicitDifferentiation(network).gradients(x, y)[1]["g"]
    wished = CircuitNetwork(builder.build(), (1e-6, 1e-3), reciprocal=False)
    measured = SmallSignal(wished).gradients(x, y)[1]["g"]
    assert float((measured - exact).abs().max() / exact.abs().max()) > 0.1


def test_cells_are_found_by_their_parameter_whatever_their_group_is_called():
    builder = CircuitBuilder("two groups")
    top, middle = builder.add_nodes(["top", "middle"])
    builder.add(VoltageSources("v", top, 0, 0.0, 0))
    builder.add(Conductances("ra", [top, top], [middle, middle], 1e-5, "p", [0, 1]))
    builder.add(Conductances("rb", [middle, middle], [0, 0], 1e-5, "p", [1, 2]))
    builder.set_outputs(middle, 0)
    network = CircuitNetwork(builder.build(), bounds={"p": (1e-6, 1e-4)})
    values = {"ra.siemens": np.array([2e-6, 2e-6]), "rb.siemens": np.array([np.nan, np.nan, 3e-6])}
    stuck = HeldCells(network, Chip({}, values)).stuck["p"]
    # The second is one number with a branch of the other group, which can be moved.
    assert stuck.tolist() == pytest.approx([2e-6, np.nan, 3e-6], nan_ok=True)
    with pytest.raises(NetworkError, match="bounds must be given for each of p, found none or others: 'q'"):
        CircuitNetwork(builder.build(), bounds={"p": (1e-6, 1e-4), "q": (1e-6, 1e-4)})


def test_conductances_at_their_bounds_but_for_rounding_are_taken():
    network = CircuitNetwork(graph(), BOUNDS)
    for bound, beyond in zip(BOUNDS, (-1, 1), strict=True):
        for relative_excess, taken in ((1e-14, True), (1e-10, False)):
            value = bound * (1 + beyond * relative_excess)
            assert value != bound
            wanted = {name: torch.full_like(old, value) for name, old in network.conductances.items()}
            if taken:
                network.set_conductances(wanted)
                torch.testing.assert_close(network.conductances, wanted, rtol=1e-12, atol=0)
            else:
                with pytest.raises(NetworkError, match="conductances must lie in"):
                    network.set_conductances(wanted)
