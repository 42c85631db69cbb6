"""The layered network against sums over the branches of its circuit."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from layered_networks import Case, cases, examples

from analog_ep.circuit import (
    Amplifiers,
    Chip,
    Circuit,
    Conductances,
    Diodes,
    VoltageSources,
    check_circuit,
    circuit_energy,
    energy_weights,
)
from analog_ep.devices import Clamp, DiodeClamp, HardClamp, IdealDiode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.errors import CircuitError, NetworkError
from analog_ep.networks import ResistiveNetwork

SETTINGS = examples(25)
REAL = ("shockley", "piecewise")


def random_layers(case: Case, seed: int, scale: float = 0.4) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(seed)
    sizes = [layout.n_out for layout in case.network.layouts]
    n_samples = len(case.inputs)
    return tuple(scale * torch.randn(n_samples, size, dtype=torch.float64, generator=random) for size in sizes)


def small(**options) -> ResistiveNetwork:
    options = {"diode": ShockleyDiode(1e-9), "dtype": torch.float64, **options}
    return ResistiveNetwork([2, 2, 1], **options)


def test_node_names_and_branches_of_a_differential_network():
    circuit = small().circuit()
    names = "0 x0_p x1_p x0_n x1_n bias_p bias_n h1_0 h1_1 a1_0_p a1_1_p a1_0_n a1_1_n o0_p o0_n"
    assert circuit.node_names == tuple(names.split())
    groups = {group.label: len(group) for group in circuit.groups}
    assert groups == {
        "inputs": 4,
        "bias": 2,
        "stage1": 12,
        "clamp1_upper": 1,
        "clamp1_lower": 1,
        "amplifier1": 2,
        "stage2": 12,
    }
    check_circuit(circuit)


def test_node_names_and_branches_of_a_single_ended_network():
    pair = DiodeClamp(ShockleyDiode(1e-9, series_resistance=10.0), upper=0.3, lower=-0.3)
    circuit = small(drive="single", bias_voltage=None, diode=pair).circuit()
    names = (
        "0 x0_p x1_p x0_n x1_n h1_0 h1_1 clamp1_upper_rail0 clamp1_upper_j0 clamp1_upper_j1 "
        "clamp1_lower_rail0 clamp1_lower_j0 clamp1_lower_j1 a1_0 a1_1 o0_p o0_n"
    )
    assert circuit.node_names == tuple(names.split())
    groups = {group.label: len(group) for group in circuit.groups}
    assert (groups["stage1"], groups["stage2"], groups["clamp1_upper_rs"]) == (8, 4, 2)
    check_circuit(circuit)


def test_a_network_without_hidden_layers():
    circuit = ResistiveNetwork([3, 2]).circuit()
    assert {group.label: len(group) for group in circuit.groups} == {"inputs": 6, "bias": 2, "stage1": 32}


def test_parameters_are_conductances_over_their_reference():
    network = small(reference_conductance=2e-5, conductance_range=(1e-6, 1e-4), initial_range=(2e-6, 3e-6), seed=3)
    for label, siemens in network.conductances.items():
        assert ((siemens >= 2e-6) & (siemens <= 3e-6)).all()
        torch.testing.assert_close(network.theta(label).detach() * 2e-5, siemens)
    assert [tuple(p.shape) for p in network.parameters()] == [(6, 2), (6, 2)]
    again = small(reference_conductance=2e-5, conductance_range=(1e-6, 1e-4), initial_range=(2e-6, 3e-6), seed=3)
    assert torch.equal(again.theta("stage1"), network.theta("stage1"))


@pytest.mark.parametrize("feedback", [None, 4.0, 0.5])
def test_weight_ratios_are_those_that_the_graph_gives(feedback):
    network = ResistiveNetwork([2, 2, 3, 1], gain=4.0, feedback=feedback)
    circuit = network.circuit()
    weights = energy_weights(circuit).require()
    blocks = [weights[circuit.layers[name][0]] for name in ("h1", "h2", "o")]
    assert network.weight_ratios == pytest.approx([w / blocks[-1] for w in blocks], rel=1e-9)


@SETTINGS
@given(case=cases(kinds=REAL), seed=st.integers(0, 1000))
def test_energy_is_that_of_the_circuit(case, seed):
    layers = random_layers(case, seed)
    voltages = case.network.node_voltages(case.inputs, layers)
    truth = circuit_energy(case.network.circuit(), voltages.numpy())
    np.testing.assert_allclose(case.network.energy(case.inputs, layers).numpy(), truth, rtol=1e-10)


@SETTINGS
@given(case=cases(), seed=st.integers(0, 1000))
def test_node_voltages_are_those_of_sources_layers_and_amplifiers(case, seed):
    network, circuit = case.network, case.network.circuit()
    layers = random_layers(case, seed)
    voltages = network.node_voltages(case.inputs, layers)
    assert voltages.shape == (len(case.inputs), circuit.n_nodes)
    for found, layer in zip(network.layers_of(voltages), layers, strict=True):
        assert torch.equal(found, layer)
    for group in circuit.of_kind(VoltageSources):
        across = voltages.numpy()[:, group.positive] - voltages.numpy()[:, group.negative]
        np.testing.assert_allclose(across, group.source_values(case.inputs.numpy()), rtol=1e-14)
    for group in circuit.of_kind(Amplifiers):
        element, nodes, sign = group.outputs()
        driven = sign * group.gain[element] * voltages.numpy()[:, group.input[element]]
        np.testing.assert_allclose(voltages[:, nodes].numpy(), driven, rtol=1e-14)
    outputs = network.outputs_of(layers)
    assert circuit.outputs is not None
    positive, negative = circuit.outputs
    assert torch.equal(outputs, voltages[:, positive] - voltages[:, negative])


def branch_sum(circuit: Circuit, voltages: np.ndarray, change: np.ndarray, linear: bool) -> dict[str, np.ndarray]:
    """Σ over the batch of (w/w_L) ½ [(v + d)² − v²], or d v, branch by branch, at each parameter's place."""
    weights = energy_weights(circuit).require()
    assert circuit.outputs is not None
    result = {}
    for name, group in circuit.trainable().items():
        weight = weights[group.negative] / weights[circuit.outputs[0][0]]
        v, d = (array[:, group.positive] - array[:, group.negative] for array in (voltages, change))
        per_branch = weight * (v * d if linear else 0.5 * ((v + d) ** 2 - v**2)).sum(0)
        assert group.index is not None
        result[name] = np.zeros(len(group))
        np.add.at(result[name], group.index, per_branch)
    return result


@pytest.mark.parametrize("linear", [False, True])
@SETTINGS
@given(case=cases(), seed=st.integers(0, 1000))
def test_contrast_is_the_sum_over_branches(linear, case, seed):
    network = case.network
    layers, response = random_layers(case, seed), random_layers(case, seed + 1, scale=0.1)
    moved = tuple(v + d for v, d in zip(layers, response, strict=True))
    free, nudged = (network.node_voltages(case.inputs, state).numpy() for state in (layers, moved))
    truth = branch_sum(network.circuit(), free, nudged - free, linear)
    found = network.contrast(case.inputs, layers, response, linear=linear)
    assert found.keys() == truth.keys()
    for name, expected in truth.items():
        flat = found[name].flatten().numpy()
        np.testing.assert_allclose(flat, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_contrast_of_a_tiny_response_keeps_its_precision_in_single_precision():
    network = small()
    inputs = torch.tensor([[0.7, -0.3]], dtype=torch.float64)
    layers = (torch.tensor([[0.1, -0.2]]).double(), torch.tensor([[0.3, 0.25]]).double())
    response = tuple(1e-12 * layer.flip(-1) for layer in layers)
    exact = network.contrast(inputs, layers, response)
    single = small(dtype=torch.float32).contrast(
        inputs.float(), tuple(v.float() for v in layers), tuple(d.float() for d in response)
    )
    for name in exact:
        torch.testing.assert_close(
            single[name].double(), exact[name], rtol=1e-4, atol=1e-6 * exact[name].abs().max().item()
        )


@pytest.mark.parametrize("drive", ["single", "differential"])
def test_stages_of_a_chip_are_those_of_its_circuit(drive):
    network = ResistiveNetwork([2, 3, 2], diode=ShockleyDiode(1e-9), drive=drive, dtype=torch.float64)
    nominal = network.circuit()
    chip = Chip.draw(nominal, seed=1, siemens=0.3, gain=0.2, feedback=0.1)
    circuit = chip.apply(nominal)
    amplifiers = circuit.of_kind(Amplifiers)[0]
    for s, stage in enumerate(network.stages(chip)):
        group = circuit.group(f"stage{s + 1}")
        assert isinstance(group, Conductances)
        between = np.zeros((circuit.n_nodes, circuit.n_nodes))
        np.add.at(between, (group.positive, group.negative), group.siemens)
        columns = circuit.layers["h1"] if s == 0 else circuit.layers["o"]
        plus = amplifiers.output if s else np.array([circuit.node("x0_p"), circuit.node("x1_p")])
        minus = amplifiers.inverted if s else np.array([circuit.node("x0_n"), circuit.node("x1_n")])
        weight, load = between[plus][:, columns], between[plus].sum(1)
        if s == 0 or drive == "differential":
            weight, load = weight - between[minus][:, columns], load + between[minus].sum(1)
        bias = between[circuit.node("bias_p")] - between[circuit.node("bias_n")]
        np.testing.assert_allclose(stage.matrix().numpy(), weight, rtol=1e-12)
        np.testing.assert_allclose(stage.load.numpy(), load, rtol=1e-12)
        np.testing.assert_allclose(stage.total.numpy(), between[:, columns].sum(0), rtol=1e-12)
        np.testing.assert_allclose(stage.bias.numpy(), bias[columns], rtol=1e-10)
        if s:
            np.testing.assert_allclose(torch.as_tensor(stage.gain).numpy(), amplifiers.gain, rtol=1e-12)
            np.testing.assert_allclose(torch.as_tensor(stage.feedback).numpy(), amplifiers.feedback, rtol=1e-12)


@pytest.mark.parametrize(
    ("diode", "spread"),
    [
        (ShockleyDiode(1e-9), {"saturation_current": 0.5, "ideality": 0.05}),
        (PiecewiseLinearDiode((0.1, 0.3), (1e-5, 1e-3), leakage=1e-6, offset=0.02), {"leakage": 0.5, "offset": 0.3}),
    ],
)
@pytest.mark.parametrize("shape", ["alternating", "pair"])
def test_clamps_of_a_chip_are_those_of_its_circuit(diode, spread, shape):
    clamp = DiodeClamp(diode, upper=0.2, lower=-0.1) if shape == "pair" else Clamp.alternating(diode, 3, 0.1, -0.2)
    network = ResistiveNetwork([2, 3, 1], diode=clamp, dtype=torch.float64)
    chip = Chip.draw(network.circuit(), seed=2, **spread)
    circuit = network.circuit(chip)
    layer = torch.tensor([[0.6, -0.5, 0.4], [-0.7, 0.3, 0.25]], dtype=torch.float64)
    inputs = torch.zeros(2, 2, dtype=torch.float64)
    outputs = torch.zeros(2, 2, dtype=torch.float64)
    voltages = network.node_voltages(inputs, (layer, outputs), chip).numpy()
    current = np.zeros_like(voltages)
    for group in circuit.of_kind(Diodes):
        through = group.device.current(torch.from_numpy(voltages[:, group.anode] - voltages[:, group.cathode])).numpy()
        np.add.at(current.T, group.anode, through.T)
        np.add.at(current.T, group.cathode, -through.T)
    of_chip = network.layer_clamps(layer, chip)[0]
    assert of_chip is not None
    np.testing.assert_allclose(of_chip.current(layer).numpy(), current[:, circuit.layers["h1"]], rtol=1e-12, atol=1e-25)


def test_a_chip_of_another_network_is_refused():
    chip = Chip.draw(small().circuit(), seed=0, siemens=0.1)
    other = ResistiveNetwork([2, 3, 1])
    with pytest.raises(CircuitError, match="this chip has 12 elements in stage1, the circuit 18"):
        other.stages(chip)


def test_series_resistance_of_some_diodes_only():
    diode = ShockleyDiode(1e-9, series_resistance=torch.tensor([0.0, 1e3], dtype=torch.float64))
    network = small(diode=DiodeClamp(diode, upper=0.1))
    layers = (torch.tensor([[0.5, 0.6]], dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64))
    voltages = network.node_voltages(torch.zeros(1, 2, dtype=torch.float64), layers)
    circuit = network.circuit()
    assert [name for name in circuit.node_names if "_j" in name] == ["clamp1_upper_j1"]
    junction = voltages[0, circuit.node("clamp1_upper_j1")]
    through = (0.6 - junction) / 1e3
    assert through.item() == pytest.approx(ShockleyDiode(1e-9).current(junction - 0.1).item(), rel=1e-9)


def test_set_conductances():
    network = small(conductance_range=(1e-6, 1e-4))
    wanted = {name: torch.full_like(value, 3e-5) for name, value in network.conductances.items()}
    network.set_conductances(wanted)
    torch.testing.assert_close(network.conductances, wanted)
    group = network.circuit().group("stage1")
    assert isinstance(group, Conductances)
    np.testing.assert_allclose(group.siemens, 3e-5, rtol=1e-12)
    bounds = {name: torch.where(torch.arange(2) == 0, 1e-6, 1e-4).expand(6, 2) for name in wanted}
    network.set_conductances(bounds)


def test_set_conductances_refuses_and_leaves_everything_as_it_was():
    network = small(conductance_range=(1e-6, 1e-4))
    before = network.conductances
    good = {name: torch.full_like(value, 3e-5) for name, value in before.items()}
    for wrong, words in [
        ({"stage2": torch.full((6, 2), 2e-4)}, r"stage2: conductances must lie in 1e-06…0.0001 S, found 0.0002"),
        ({"stage2": torch.full((6, 2), math.nan)}, r"stage2: conductances must lie in 1e-06…0.0001 S, found nan"),
        ({"stage1": torch.full((2, 6), 3e-5)}, r"stage1 needs conductances of shape \(6, 2\), found shape \(2, 6\)"),
    ]:
        with pytest.raises(NetworkError, match=words):
            network.set_conductances({**good, **wrong})
        torch.testing.assert_close(network.conductances, before, rtol=0, atol=0)
    with pytest.raises(NetworkError, match=r"stage2 needs conductances of shape \(6, 2\), found nothing"):
        network.set_conductances({"stage1": good["stage1"]})


@pytest.mark.parametrize(
    ("sizes", "options", "words"),
    [
        ([2], {}, r"sizes must be at least two positive numbers, found \[2\]"),
        ([2, 0, 1], {}, r"sizes must be at least two positive numbers, found \[2, 0, 1\]"),
        ([2, 1], {"gain": 0.0}, "gain must be positive and finite, found 0.0"),
        ([2, 1], {"feedback": -1.0}, "feedback must be positive and finite, found -1.0"),
        ([2, 1], {"bias_voltage": math.inf}, "bias_voltage must be positive and finite, found inf"),
        ([2, 1], {"reference_conductance": 0.0}, "reference_conductance must be positive and finite, found 0.0"),
        ([2, 1], {"drive": "both"}, 'drive must be "single" or "differential", found \'both\''),
        (
            [2, 1],
            {"conductance_range": (1e-4, 1e-6)},
            r"conductance_range must be 0 < low ≤ high, found \(0.0001, 1e-06\)",
        ),
        ([2, 1], {"conductance_range": (0.0, 1e-6)}, r"conductance_range must be 0 < low ≤ high, found \(0.0, 1e-06\)"),
        (
            [2, 1],
            {"initial_range": (1e-8, 1e-5)},
            r"initial_range must lie in \(1e-07, 0.0001\) S, found \(1e-08, 1e-05\)",
        ),
        (
            [2, 3, 3, 1],
            {"diode": [HardClamp(IdealDiode(), upper=0.0)]},
            "one clamp per hidden layer is needed, 2, found 1",
        ),
        (
            [2, 3, 1],
            {"diode": Clamp.alternating(IdealDiode(), 2)},
            "a clamp of a layer of 3 needs 3 voltages, found 2",
        ),
    ],
)
def test_errors_say_what_must_hold(sizes, options, words):
    with pytest.raises(NetworkError, match=words):
        ResistiveNetwork(sizes, **options)


def test_it_is_the_range_over_the_reference_that_a_precision_must_hold():
    # Smallest normal number of float32: 1.2e-38.
    for siemens, reference in ((1e-20, 1e17), (1e-42, 1e-40)):
        network = ResistiveNetwork([2, 2], conductance_range=(siemens, 10 * siemens), reference_conductance=reference)
        share = torch.tensor([1.0, 10.0]) * (siemens / reference)
        theta = network.theta("stage1")
        assert bool(((theta >= 0.999 * share[0]) & (theta <= 1.001 * share[1])).all())
    with pytest.raises(NetworkError, match=r"over the reference must lie within torch\.float32"):
        ResistiveNetwork([2, 2], conductance_range=(1e-20, 1e-4), reference_conductance=1e19)
