"""Stages as operators: products, gradients and circuits of convolutions, local connections and averages."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

import analog_ep as aep
from analog_ep.analyses.voltage_map import changes_of_cells, voltage_map
from analog_ep.circuit import Conductances, check_circuit, circuit_energy
from analog_ep.errors import NetworkError, StimulusError
from analog_ep.learning.gradients.branch_gradient import likenesses
from analog_ep.networks import Operator

CURRENT = aep.ShockleyDiode(1e-9)
MIXED = [
    (2, 9, 8),
    aep.Convolution(4, (3, 2), stride=(2, 1), padding=(1, 0), groups=2),
    aep.AveragePooling((2, 3), conductance=3e-4),
    aep.LocallyConnected(4, 2, padding=1),
    aep.Convolution(3, 2, stride=2),
    5,
]


def network(stages=MIXED, dtype=torch.float64, **options) -> aep.ResistiveNetwork:
    return aep.ResistiveNetwork(stages, dtype=dtype, **{"diode": CURRENT, "seed": 3, **options})


def stimulus(net: aep.ResistiveNetwork, n: int = 3, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    inputs = scale * torch.randn(n, net.n_inputs, generator=random, dtype=torch.float64)
    return inputs, torch.randn(n, net.n_outputs, generator=random, dtype=torch.float64)


def test_a_convolution_is_that_of_pytorch():
    net = network([(2, 7, 6), aep.Convolution(4, 3, stride=2, padding=1), aep.Convolution(3, 2)], bias_voltage=None)
    first, last = net.stages()
    rows = 2 * 9
    kernels = (net.theta("stage1")[:rows] - net.theta("stage1")[rows:]).detach().T.reshape(
        4, 2, 3, 3
    ) * net.reference_conductance
    images = torch.randn(5, 2, 7, 6, dtype=torch.float64, requires_grad=True)
    wanted = conv2d(images, kernels, stride=2, padding=1)
    found = net.extents[1].maps(first.forward(images.detach().flatten(1)))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)
    pull = torch.randn_like(wanted)
    (back,) = torch.autograd.grad(wanted, images, pull)
    returned = first.transposed(net.extents[1].units(pull), 1.0)
    torch.testing.assert_close(returned, back.flatten(1), rtol=1e-12, atol=1e-18)
    # Outputs come channel by channel, v₊ before v₋.
    rows = 4 * 4
    kernels = (net.theta("stage2")[:rows] - net.theta("stage2")[rows:]).detach().T.reshape(
        6, 4, 2, 2
    ) * net.reference_conductance
    maps = torch.randn(5, 4, 4, 3, dtype=torch.float64)
    wanted = net.gain * conv2d(maps, kernels)
    torch.testing.assert_close(last.forward(net.extents[1].units(maps)), wanted.flatten(1), rtol=1e-12, atol=0)


def test_a_locally_connected_stage_with_the_same_kernel_everywhere_is_a_convolution():
    shape, options = (2, 6, 5), {"stride": 2, "padding": 1, "groups": 2}
    shared = network([shape, aep.Convolution(4, 3, **options), 2])
    local = network([shape, aep.LocallyConnected(4, 3, **options), 2])
    # A node's channel, at every row of its column: columns follow place by place.
    over = np.tile(np.arange(4), (shared.layouts[0].n_rows, 9))
    siemens = {"stage1": shared.conductances["stage1"].gather(1, torch.from_numpy(over)), "stage2": None}
    local.set_conductances({**siemens, "stage2": shared.conductances["stage2"]})
    inputs, targets = stimulus(shared)
    states = [aep.solve(net, inputs, solver=aep.Relaxation()) for net in (shared, local)]
    torch.testing.assert_close(states[0].outputs, states[1].outputs, rtol=1e-12, atol=0)
    gradients = [aep.SmallSignal(net).gradients(inputs, targets)[1] for net in (shared, local)]
    summed = torch.zeros_like(gradients[0]["stage1"]).scatter_add_(1, torch.from_numpy(over), gradients[1]["stage1"])
    torch.testing.assert_close(summed, gradients[0]["stage1"], rtol=1e-9, atol=1e-16)


def test_an_unloaded_average_is_that_of_pytorch():
    net = network([(3, 6, 6), aep.AveragePooling(3, stride=2), 2])
    stage = net.stages()[0]
    images = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    found = net.extents[1].maps(stage.forward(images.flatten(1)) / stage.total)
    torch.testing.assert_close(found, avg_pool2d(images, 3, 2), rtol=1e-12, atol=0)


@pytest.mark.parametrize("drive", ["differential", "single"])
def test_stages_are_those_of_the_circuit(drive):
    net = network(drive=drive)
    circuit, stages = net.circuit(), net.stages()
    check_circuit(circuit)
    layers = [circuit.layers[name] for name in ("h1", "h2", "h3", "h4", "o")]
    names = np.array(circuit.node_names)
    for s, stage in enumerate(stages):
        group = circuit.group(f"stage{s + 1}")
        assert isinstance(group, Conductances)
        between = np.zeros((circuit.n_nodes, circuit.n_nodes))
        np.add.at(between, (group.positive, group.negative), group.siemens)
        labels = net.extents[s].labels()
        ends = [f"x{label}_p" for label in labels] if s == 0 else [f"a{s}_{label}" for label in labels]
        if s and drive == "differential":
            ends = [f"{end}_p" for end in ends]
        if net.layouts[s].passive:
            ends = [f"h{s}_{label}" for label in labels]
        plus = np.array([circuit.node(end) for end in ends])
        weight, load = between[plus][:, layers[s]], between[plus].sum(1)
        if net.layouts[s].differential:
            minus = np.array([circuit.node(end[:-1] + "n") for end in ends])
            weight, load = weight - between[minus][:, layers[s]], load + between[minus].sum(1)
        np.testing.assert_allclose(stage.matrix().numpy(), weight, rtol=1e-12, atol=1e-18)
        np.testing.assert_allclose(stage.load.numpy(), load, rtol=1e-12)
        np.testing.assert_allclose(stage.total.numpy(), between[:, layers[s]].sum(0), rtol=1e-12)
        norms = np.linalg.norm(weight, axis=0).max(), np.linalg.norm(weight, axis=1)
        np.testing.assert_allclose(float(stage.column_norm(1.0)), norms[0], rtol=1e-12)
        np.testing.assert_allclose(stage.row_norms().numpy(), norms[1], rtol=1e-12)
    assert list(names[layers[0]][:5]) == ["h1_0_0_0", "h1_1_0_0", "h1_2_0_0", "h1_3_0_0", "h1_0_0_1"]


def test_solvers_agree_and_gradients_are_exact():
    net = network()
    inputs, targets = stimulus(net)
    free = aep.solve(net, inputs, solver=aep.Relaxation())
    newton = aep.solve(net, inputs, solver=aep.Newton())
    torch.testing.assert_close(free.voltages, newton.voltages, rtol=0, atol=1e-12)
    np.testing.assert_allclose(net.energy(inputs, free.layers), circuit_energy(net.circuit(), free.voltages.numpy()))
    _, exact = aep.ImplicitDifferentiation(net).gradients(inputs, targets)
    for method in (
        aep.SmallSignal(net),
        aep.EquilibriumPropagation(net, 1e-10),
        aep.EquilibriumPropagation(net, 1e-10, kind="elastic"),
        aep.AsymmetricEquilibriumPropagation(net),
        aep.AdjointNetwork(net),
    ):
        _, found = method.gradients(inputs, targets)
        assert found.keys() == exact.keys() == {"stage1", "stage3", "stage4", "stage5"}
        for name, gradient in found.items():
            assert float((gradient - exact[name]).norm() / exact[name].norm()) < 1e-9, (type(method), name)


def test_exact_gradients_by_differences():
    net = network([(1, 5, 5), aep.Convolution(2, 3, stride=2, padding=1), aep.LocallyConnected(2, 2)])
    inputs, targets = stimulus(net, 2)
    _, exact = aep.SmallSignal(net).gradients(inputs, targets)
    cost = aep.SquaredError()
    for name, places in {"stage1": [(0, 0), (9, 1), (19, 0)], "stage2": [(3, 5), (17, 2)]}.items():
        for place in places:
            theta, sides, step = net.theta(name), [], 1e-5
            with torch.no_grad():
                for sign in (1, -2):
                    theta[place] += sign * step
                    outputs = aep.solve(net, inputs, solver=aep.Newton()).outputs
                    sides.append(float(cost.value(outputs, targets).mean()))
                theta[place] += step
            assert float(exact[name][place]) == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-5, abs=1e-12)


@pytest.mark.ngspice
def test_every_node_agrees_with_ngspice():
    net = network([(1, 12, 12), aep.Convolution(2, 3, stride=2, padding=1), aep.Convolution(2, 3, padding=1), 3])
    inputs, targets = stimulus(net, 2)
    check = aep.cross_check(net, inputs, targets, nudging=1e-6)
    assert check.nodes == 2 * 144 + 2 + 3 * 72 + 3 * 72 + 6
    assert check.max_voltage_error < 1e-8
    passive = network([(1, 8, 8), aep.Convolution(3, 3), aep.AveragePooling(2), aep.LocallyConnected(2, 2), 2])
    assert aep.cross_check(passive, *stimulus(passive, 2), nudging=1e-6).max_voltage_error < 1e-8


@pytest.mark.parametrize("diode", [aep.IdealDiode(), CURRENT])
def test_float32_gradients_of_three_trained_convolutions(diode):
    stages = [(1, 12, 12), aep.Convolution(8, 3, stride=2, padding=1), aep.Convolution(8, 3, padding=1)]
    net = network([*stages, aep.Convolution(12, 3, stride=2), 4], torch.float32, diode=diode, feedback=1 / 16)
    random = torch.Generator().manual_seed(0)
    inputs = 5 * torch.rand(64, net.n_inputs, generator=random)
    targets = torch.eye(4)[torch.arange(64) % 4]
    method = aep.SmallSignal(net)
    update = aep.Update(torch.optim.Adam(net.parameters(), lr=0.02), net)
    for _ in range(30):
        update.zero_grad()
        method.backward(inputs, targets)
        update.step()
    exact_net = net.as_built() if diode is CURRENT else _with_steep_diodes(net)
    _, exact = aep.ImplicitDifferentiation(exact_net).gradients(inputs[:8].double(), targets[:8].double())
    for each in (method, aep.EquilibriumPropagation(net, 1e-6)):
        _, found = each.gradients(inputs[:8], targets[:8])
        for name, alike in likenesses(found, exact).items():
            wrong = float((found[name].double() - exact[name]).norm() / exact[name].norm())
            assert wrong < 1e-3, (type(each), name)
            assert alike.cosine > 0.9999, (type(each), name)


def _with_steep_diodes(net: aep.ResistiveNetwork) -> aep.ResistiveNetwork:
    twin = net.as_built()
    twin.clamps = tuple(clamp.for_spice(1.0) for clamp in net.clamps)
    return twin


def test_bare_diodes_alternate_from_channel_to_channel():
    net = network([(1, 4, 4), aep.Convolution(3, 3), 2], diode=aep.IdealDiode())
    state = aep.solve(net, stimulus(net, 20)[0], solver=aep.Relaxation())
    maps = net.extents[1].maps(state.layers[0])
    assert maps.shape == (20, 3, 2, 2)
    assert float(maps[:, [0, 2]].max()) == 0 == float(maps[:, 1].min())
    assert float(maps[:, [0, 2]].min()) < 0 < float(maps[:, 1].max())


def test_chips_of_operators():
    net = network()
    circuit, (inputs, targets) = net.circuit(), stimulus(net)
    chip = aep.Chip.draw(circuit, 5, siemens=0.1, gain=0.05, feedback=0.05, offset=0.01, saturation_current=0.2)
    states = [aep.solve(net, inputs, solver=solver, chip=chip) for solver in (aep.Relaxation(), aep.Newton())]
    torch.testing.assert_close(states[0].voltages, states[1].voltages, rtol=0, atol=1e-11)
    _, exact = aep.ImplicitDifferentiation(net, chip=chip).gradients(inputs, targets)
    _, found = aep.AdjointNetwork(net, chip=chip).gradients(inputs, targets)
    for name, gradient in found.items():
        assert float((gradient - exact[name]).norm() / exact[name].norm()) < 1e-9
    # Factors of a kernel are those of its shared devices, and those of an average's resistors one each.
    assert chip.factors["stage1.siemens"].shape == (net.theta("stage1").numel(),)
    assert chip.factors["stage2.siemens"].shape == (len(circuit.group("stage2")),)


@pytest.mark.parametrize("method", [aep.SmallSignal, lambda net: aep.EquilibriumPropagation(net, 1e-6)])
def test_fused_steps_are_those_of_the_optimiser(method):
    one, two = network(gain=4.0), network(gain=4.0)
    inputs, targets = stimulus(one, 4)
    optimiser = aep.Update(torch.optim.SGD(one.parameters(), lr=0.02), one)
    fused, slow = aep.FusedStep(method(two), 0.02), method(one)
    before = {name: theta.clone() for name, theta in one.named_parameters()}
    for _ in range(3):
        optimiser.zero_grad()
        cost = slow.backward(inputs, targets)
        optimiser.step()
        assert float(fused.step(inputs, targets)) == pytest.approx(float(cost), rel=1e-9)
    for name, theta in one.named_parameters():
        assert not torch.equal(theta, before[name])
        torch.testing.assert_close(two.theta(name), theta, rtol=1e-7, atol=1e-12)


def test_images_in_and_out():
    net = network([(2, 5, 4), aep.Convolution(3, 2), aep.Convolution(2, 2)])
    inputs, targets = stimulus(net, 6)
    images, wanted = inputs.reshape(3, 2, 2, 5, 4), targets.reshape(3, 2, 2, 3, 2)
    assert net.image_shapes == ((2, 5, 4), (2, 3, 2))
    nudge = aep.Nudge(1e-7, wanted, aep.SquaredError())
    found = aep.solve(net, images, nudge, solver=aep.Relaxation())
    flat = aep.solve(net, inputs, aep.Nudge(1e-7, targets, aep.SquaredError()), solver=aep.Relaxation())
    assert torch.equal(found.outputs.reshape(6, -1), flat.outputs)
    costs = [aep.SmallSignal(net).gradients(*each)[0] for each in ((images, wanted), (inputs, targets))]
    assert torch.equal(*costs)
    with pytest.raises(StimulusError, match=r"inputs must end in 40 values or in \(2, 5, 4\), found shape \(3, 5\)"):
        aep.solve(net, torch.zeros(3, 5), solver=aep.Relaxation())


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        (
            [(1, 4, 4), aep.Convolution(2, 5), 2],
            "stage1: a kernel must fit the maps before it, 4 × 4 and a pad",
        ),
        (
            [(1, 4, 4), aep.Convolution(2, 3), aep.AveragePooling(3), 2],
            "stage2: a kernel must fit the maps before",
        ),
        ([16, aep.Convolution(2, 3), 2], "stage1: Convolution needs maps before it, found a layer of 16 units"),
        ([(1, 4, 4), 9, aep.LocallyConnected(2, 3), 2], "stage2: LocallyConnected needs maps before it, found a layer"),
        ([(3, 4, 4), aep.Convolution(4, 3, groups=2), 2], "groups must divide the channels before and behind, 3 and 4"),
        ([(2, 4, 4), aep.Convolution(4, 3, groups=2)], "stage1: the last stage must have one group, found 2"),
        ([(2, 4, 4), aep.Convolution(4, 3), aep.AveragePooling(2)], "must make pairs v₊, v₋, found AveragePooling"),
        ([(2, 4), aep.Convolution(4, 3), 2], r"sizes must begin with the number of inputs or their \(channels"),
        ([(2, 4, 0), aep.Convolution(4, 3), 2], r"sizes must begin with the number of inputs or their \(channels"),
        ([(2, 4, 4), torch.nn.Conv2d(2, 4, 3), 2], "a stage must be a number of units or an operator such as Conv"),
        ([(2, 4, 4)], "sizes must be those of the inputs and of one stage at least"),
        ([(2, 4, 4), aep.Convolution(4, 3), 0], "units must be a whole number of at least 1, found 0"),
    ],
)
def test_stages_that_do_not_chain_are_refused(stages, words):
    with pytest.raises(NetworkError, match=words):
        aep.ResistiveNetwork(stages)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: aep.Convolution(0, 3), "channels must be a whole number of at least 1, found 0"),
        (lambda: aep.Convolution(2, 0), "kernel must be one or two whole numbers of at least 1, found 0"),
        (lambda: aep.Convolution(2, cast(int, [3, 3, 3])), "kernel must be one or two whole numbers of at least 1"),
        (lambda: aep.Convolution(2, 3, padding=-1), "padding must be one or two whole numbers of at least 0, found -1"),
        (
            lambda: aep.LocallyConnected(2, cast(int, 2.5)),
            "kernel must be one or two whole numbers of at least 1, found 2.5",
        ),
        (lambda: aep.AveragePooling(2, conductance=0.0), "conductance must be positive and finite, found 0.0"),
        (lambda: network(wires=aep.networks.Wires(row_resistance=1.0)), "wires need a stage in which every row meets"),
    ],
)
def test_operators_that_cannot_be_are_refused(make, words):
    with pytest.raises(NetworkError, match=words):
        make()


def test_a_stage_of_ones_own():
    """An operator is asked for its extent and its layout alone."""

    class Halved(Operator):
        def extent(self, label, before, last):
            return aep.Dense(before.size // 2).extent(label, before, last)

        def layout(self, place):
            return aep.Dense(place.behind.size).layout(place)

    net = network([8, Halved(), 2])
    assert net.sizes == (8, 4, 2)
    assert all(layout.n_in == size for layout, (size, _) in zip(net.layouts, pairwise(net.sizes), strict=True))


def test_a_voltage_map_shows_every_conductance():
    net = network()
    inputs, _ = stimulus(net, 1)
    maps, circuit = voltage_map(net, inputs[0]).crossbars, net.circuit()
    assert [each.siemens.shape for each in maps] == [(layout.n_rows, layout.n_out) for layout in net.layouts]
    for each, layout in zip(maps, net.layouts, strict=True):
        group = circuit.group(layout.label)
        assert isinstance(group, Conductances)
        np.testing.assert_allclose(np.sort(each.siemens, axis=None), np.sort(group.siemens), rtol=1e-12)


def test_no_samples_are_no_fault():
    assert aep.solve(network(), torch.zeros(0, 144), solver=aep.Relaxation()).outputs.shape == (0, 5)


def test_changes_of_shared_conductances_are_shown_at_every_cell():
    net = network()
    inputs, targets = stimulus(net)
    _, gradients = aep.SmallSignal(net).gradients(inputs, targets)
    cells = changes_of_cells(net, {name: value.numpy() for name, value in gradients.items()})
    maps = voltage_map(net, inputs[0]).with_changes(cells).crossbars
    for each, layout in zip(maps, net.layouts, strict=True):
        assert each.change is not None
        kernel = gradients[layout.label] if layout.learns else torch.zeros(1)
        assert set(each.change.ravel()) == set(kernel.ravel().tolist())
        assert layout.learns or not each.change.any()
    with pytest.raises(StimulusError, match="changes of cells need crossbars in layers"):
        changes_of_cells(aep.HopfieldNetwork([3, 2]), {})


def test_a_diagram_says_which_layers_have_no_diodes():
    assert network()._repr_html_().count("without diodes") == 1
