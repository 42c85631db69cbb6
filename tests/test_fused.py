"""The fused step against `.grad`, SGD and the projection."""

import copy
from unittest.mock import patch

import numpy as np
import pytest
import torch

from analog_ep.devices import IdealDiode, ShockleyDiode
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.errors import ConvergenceError, NetworkError, StimulusError
from analog_ep.learning.gradients.propagation import EquilibriumPropagation, SmallSignal
from analog_ep.learning.updates import fused_crossbar
from analog_ep.learning.updates.fused import FusedStep
from analog_ep.learning.updates.kernels import update_crossbar
from analog_ep.learning.updates.update import Update
from analog_ep.networks import ResistiveNetwork
from analog_ep.networks.layout import Drive
from analog_ep.stimulus import CrossEntropy

COST = CrossEntropy(0.1)


def network(drive: Drive = "differential", diode=None, bias=1.0) -> ResistiveNetwork:
    diode = IdealDiode() if diode is None else diode
    return ResistiveNetwork([20, 15, 11, 5], diode=diode, drive=drive, bias_voltage=bias, dtype=torch.float64)


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = 15 * torch.rand(8, 20, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 5, (8,), generator=generator)
    return inputs, COST.encode(labels, 5, inputs)


# At the default tolerance the two may end a sweep apart, by their rounding, and differ by what that sweep is worth.
EXACT = Relaxation(rtol=1e-14, response_rtol=1e-14)
METHODS = {
    "small signal": lambda net: SmallSignal(net, COST, EXACT),
    "centered": lambda net: EquilibriumPropagation(net, 1e-7, COST, solver=EXACT),
    "positive": lambda net: EquilibriumPropagation(net, 1e-7, COST, variant="positive", solver=EXACT),
    "random": lambda net: EquilibriumPropagation(net, 1e-7, COST, variant="random", seed=3, solver=EXACT),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("drive", ["differential", "single"])
@pytest.mark.parametrize("diode", [IdealDiode(), ShockleyDiode(1e-12)], ids=["ideal", "shockley"])
@pytest.mark.parametrize("bias", [1.0, None])
def test_steps_are_those_of_the_optimiser(method, drive, diode, bias):
    ours = network(drive, diode, bias)
    theirs = copy.deepcopy(ours)
    fused, plain = FusedStep(method(ours), 3.0), method(theirs)
    update, longest = Update(torch.optim.SGD(theirs.parameters(), lr=3.0), theirs), 0.0
    for seed in range(4):
        cost = fused.step(*batch(seed))
        update.zero_grad()
        torch.testing.assert_close(cost, plain.backward(*batch(seed)), rtol=1e-12, atol=1e-12)
        longest = max(longest, *(3.0 * float(p.grad.abs().max()) for p in theirs.parameters() if p.grad is not None))
        update.step()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            # The steps are tens long before they are cut to the range: to their rounding.
            torch.testing.assert_close(a, b, rtol=0, atol=5e-15 * longest)


@pytest.mark.parametrize("drive", ["differential", "single"])
@pytest.mark.parametrize("bias", [1.0, None])
@pytest.mark.parametrize(("dtype", "digits"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_one_compiled_pass_is_many_passes(drive, bias, dtype, digits):
    one = network(drive, bias=bias).to(dtype)
    many = copy.deepcopy(one)
    steps = [FusedStep(SmallSignal(net, COST), 1.0) for net in (one, many)]
    for seed in range(2):
        inputs, targets = (part.to(dtype) for part in batch(seed))
        with patch.object(fused_crossbar, "_THREADS", torch.get_num_threads()):
            steps[0].step(inputs, targets)
        with patch.object(fused_crossbar, "_THREADS", 0), patch.object(fused_crossbar, "update_crossbar", None):
            steps[1].step(inputs, targets)
    for a, b in zip(one.parameters(), many.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=digits, atol=digits)


def test_two_of_them_may_take_turns():
    ours = network()
    twin = copy.deepcopy(ours)
    turns, alone = [FusedStep(SmallSignal(ours, COST), 1.0) for _ in range(2)], FusedStep(SmallSignal(twin, COST), 1.0)
    for seed in range(4):
        turns[seed % 2].step(*batch(seed))
        alone.step(*batch(seed))
    for a, b in zip(ours.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_a_change_that_is_no_number_is_not_cut_to_the_range():
    blocks, bias, signed, row, column = np.full((2, 3, 4), 0.5), np.empty((0, 4)), *map(np.zeros, ((3, 4), 3, 4))
    signed[1, 2], signed[0, 3] = np.nan, 7.0
    weight, total, load, factors = signed.copy(), column.copy(), row.copy(), (1.0, 1.0, 1.0, 1.0)
    update_crossbar(blocks, bias, weight, total, load, signed, row, column, column, factors, (0.1, 1.0))
    assert np.isnan(blocks[:, 1, 2]).all()
    assert np.isnan(blocks).sum() == 2
    assert blocks[:, 0, 3].tolist() == [1.0, 0.1]


def test_each_crossbar_has_its_own_rate():
    ours = network()
    theirs = copy.deepcopy(ours)
    FusedStep(SmallSignal(ours, COST), [0.5, 1.0, 2.0]).step(*batch(0))
    groups = [{"params": [p], "lr": lr} for p, lr in zip(theirs.parameters(), (0.5, 1.0, 2.0), strict=True)]
    update = Update(torch.optim.SGD(groups, lr=1.0), theirs)
    SmallSignal(theirs, COST).backward(*batch(0))
    update.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_a_change_from_outside_is_seen():
    ours = network()
    fused = FusedStep(SmallSignal(ours, COST), 1.0)
    fused.step(*batch(0))
    with torch.no_grad():
        ours.get_parameter("stage1").mul_(0.5)
    twin = copy.deepcopy(ours)
    fused.step(*batch(1))
    FusedStep(SmallSignal(twin, COST), 1.0).step(*batch(1))
    for a, b in zip(ours.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", [SmallSignal, lambda net: EquilibriumPropagation(net, 1e-4)])
def test_a_network_in_another_precision_takes_the_same_samples(method):
    net = ResistiveNetwork([6, 5, 4], diode=ShockleyDiode())
    step, x, y = FusedStep(method(net), 1e-6), torch.rand(8, 6), torch.rand(8, 4)
    single = step.step(x, y)
    double = copy.deepcopy(net).double()
    net.double()
    expected, _ = method(double).gradients(x, y)
    found = step.step(x, y)
    assert single.dtype == torch.float32
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_equations_are_formed_once_where_nothing_changes_from_outside():
    ours = network()
    step = FusedStep(SmallSignal(ours, COST), 1.0)
    with patch.object(ResistiveNetwork, "theta", autospec=True, side_effect=ResistiveNetwork.theta) as looked_up:
        for seed in range(3):
            step.step(*batch(seed))
    assert looked_up.call_count == ours.n_stages


def test_nothing_changes_where_an_equilibrium_is_not_reached():
    ours = network()
    before = copy.deepcopy(ours)
    with pytest.raises(ConvergenceError, match="did not reach rtol"):
        FusedStep(SmallSignal(ours, COST, solver=Relaxation(max_steps=1)), 1.0).step(*batch(0))
    for a, b in zip(ours.parameters(), before.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_it_cannot_do_is_refused():
    ours = network()
    with pytest.raises(StimulusError, match="needs a frozen nudge and no chip"):
        FusedStep(EquilibriumPropagation(ours, 1e-7, COST, kind="elastic"), 1.0)
    with pytest.raises(NetworkError, match="one learning rate per crossbar is needed, 3, found 2"):
        FusedStep(SmallSignal(ours, COST), [1.0, 2.0])
