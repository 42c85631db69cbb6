"""The projected update, with every optimiser of torch that takes gradients alone."""

import copy

import pytest
import torch

from analog_ep.devices import ShockleyDiode
from analog_ep.learning.gradients.propagation import EquilibriumPropagation
from analog_ep.learning.updates.update import Update
from analog_ep.networks import ResistiveNetwork

LOW, HIGH = 1e-6, 1e-4

OPTIMIZERS = {
    "Adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "AMSGrad": lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1),
    "Adamax": lambda p: torch.optim.Adamax(p, lr=0.1),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.1),
    "RAdam": lambda p: torch.optim.RAdam(p, lr=0.1),
    "SGD": lambda p: torch.optim.SGD(p, lr=10.0),
    "momentum": lambda p: torch.optim.SGD(p, lr=10.0, momentum=0.9),
    "Nesterov": lambda p: torch.optim.SGD(p, lr=10.0, momentum=0.9, nesterov=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.5),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.5),
    "Adadelta": lambda p: torch.optim.Adadelta(p, lr=100.0),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=0.1),
    "ASGD": lambda p: torch.optim.ASGD(p, lr=10.0),
}


def network(seed: int = 0) -> ResistiveNetwork:
    return ResistiveNetwork([2, 4, 2], diode=ShockleyDiode(1e-9), conductance_range=(LOW, HIGH), seed=seed)


def set_gradients(net: ResistiveNetwork, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=random)


def assert_in_range(net: ResistiveNetwork) -> None:
    for siemens in net.conductances.values():
        assert siemens.min().item() >= LOW * (1 - 1e-6)
        assert siemens.max().item() <= HIGH * (1 + 1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_conductances_stay_in_range_and_reach_its_ends(name):
    net = network()
    update = Update(OPTIMIZERS[name](net.parameters()), net)
    for step in range(30):
        set_gradients(net, step % 3)
        update.step()
        assert_in_range(net)
    siemens = torch.cat([value.flatten() for value in net.conductances.values()])
    assert siemens.min().item() == pytest.approx(LOW, rel=1e-6)
    assert siemens.max().item() == pytest.approx(HIGH, rel=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_inside_the_range_the_step_is_the_optimizers_own(name):
    net, twin = network(), network()
    plain, update = OPTIMIZERS[name](twin.parameters()), Update(OPTIMIZERS[name](net.parameters()), net)
    for group in (*plain.param_groups, *update.param_groups):
        group["lr"] = 1e-4
    for step in range(3):
        for each in (net, twin):
            set_gradients(each, step)
            for parameter in each.parameters():
                assert parameter.grad is not None
                parameter.grad.mul_(1e-3)
            with torch.no_grad():
                for parameter in each.parameters():
                    parameter.clamp_(0.3, 0.4)
        plain.step()
        update.step()
        for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
            assert torch.equal(ours, theirs)


def at_a_bound(net: ResistiveNetwork) -> torch.Tensor:
    """First column at the lower bound, second at the upper, the others between."""
    theta = net.theta("stage1")
    with torch.no_grad():
        theta.fill_(0.5)
        theta[:, 0], theta[:, 1] = LOW / HIGH, 1.0
    return theta


@pytest.mark.parametrize(
    ("name", "moment"), [("Adam", "exp_avg"), ("AdamW", "exp_avg"), ("momentum", "momentum_buffer")]
)
def test_first_moments_that_push_outward_are_stopped(name, moment):
    net = network()
    theta = at_a_bound(net)
    optimizer = OPTIMIZERS[name](net.parameters())
    update = Update(optimizer, net)
    for group in update.param_groups:
        group["lr"] = 1e-6
        group["weight_decay"] = 0.0
    outward = torch.zeros_like(theta)
    outward[:, 0], outward[:, 1], outward[:, 2] = 1.0, -1.0, 1.0
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    theta.grad = outward
    update.step()
    buffer = optimizer.state[theta][moment]
    assert not buffer[:, :2].any()
    assert buffer[:, 2].all()
    theta.grad = -outward
    update.step()
    assert buffer[:, :2].any()
    assert (theta[:, 0] > LOW / HIGH).all()
    assert (theta[:, 1] < 1).all()


def test_a_conductance_leaves_its_bound_as_soon_as_the_gradient_turns():
    net = network()
    theta = at_a_bound(net)
    update = Update(torch.optim.SGD([theta], lr=0.01, momentum=0.99), net)
    for _ in range(100):
        theta.grad = torch.ones_like(theta)
        update.step()
    assert theta[0, 0].item() == pytest.approx(LOW / HIGH)
    theta.grad = -torch.ones_like(theta)
    update.step()
    assert (theta > LOW / HIGH).all()


def test_maximising_optimizers_are_stopped_too():
    net = network()
    theta = at_a_bound(net)
    optimizer = torch.optim.SGD([theta], lr=1e-6, momentum=0.9, maximize=True)
    update = Update(optimizer, net)
    theta.grad = -torch.ones_like(theta)
    update.step()
    update.step()
    assert not optimizer.state[theta]["momentum_buffer"][:, 0].any()
    assert optimizer.state[theta]["momentum_buffer"][:, 1:].all()


def test_the_optimizers_own_step_projects_as_well():
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e3)
    Update(optimizer, net)
    set_gradients(net, 0)
    optimizer.step()
    assert_in_range(net)


def test_schedulers_and_parameter_groups():
    net = network()
    groups = [{"params": [net.stage1], "lr": 0.1}, {"params": [net.stage2], "lr": 0.01}]
    optimizer = torch.optim.Adam(groups)
    update = Update(optimizer, net)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    for step in range(3):
        set_gradients(net, step)
        update.step()
        scheduler.step()
    assert [group["lr"] for group in update.param_groups] == pytest.approx([0.1 / 8, 0.01 / 8])
    assert_in_range(net)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_dict_round_trip(name):
    net = network()
    update = Update(OPTIMIZERS[name](net.parameters()), net)
    for step in range(4):
        set_gradients(net, step)
        update.step()
    twin = network(seed=9)
    twin.load_state_dict(net.state_dict())
    restored = Update(OPTIMIZERS[name](twin.parameters()), twin)
    restored.load_state_dict(copy.deepcopy(update.state_dict()))
    for step in range(4, 8):
        for each, stepper in ((net, update), (twin, restored)):
            set_gradients(each, step)
            stepper.step()
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_zero_grad_forgets_the_gradients():
    net = network()
    update = Update(torch.optim.SGD(net.parameters(), lr=0.1), net)
    set_gradients(net, 0)
    update.zero_grad()
    assert all(parameter.grad is None for parameter in net.parameters())


def test_training_with_equilibrium_propagation_lowers_the_cost():
    net = network()
    inputs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    targets = torch.tensor([[0.0, 0.2], [0.2, 0.0], [0.2, 0.0], [0.0, 0.2]])
    gradient = EquilibriumPropagation(net, 1e-7)
    update = Update(torch.optim.Adam(net.parameters(), lr=0.02), net)
    costs = []
    for _ in range(40):
        update.zero_grad()
        costs.append(gradient.backward(inputs, targets).item())
        update.step()
        assert_in_range(net)
    assert costs[-1] < 0.5 * costs[0]
