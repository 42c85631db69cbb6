"""Analog blocks among digital modules: gradients through both, against differences and implicit differentiation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import analog_ep as aep
from analog_ep.errors import AnalogEPError
from analog_ep.networks import Wires


def block_of(stages=(6, 5, 4), nudging: float | None = None, dtype=torch.float64, **options) -> aep.EquilibriumBlock:
    torch.manual_seed(1)
    options = {"diode": aep.ShockleyDiode(), "gain": 4.0, "bias_voltage": 0.5} | options
    return aep.EquilibriumBlock(aep.ResistiveNetwork(list(stages), dtype=dtype, **options), nudging)


@pytest.mark.parametrize(
    ("stages", "options"),
    [
        ((6, 5, 4), {}),
        ((6, 5, 4), {"drive": "single", "feedback": 0.4}),
        ((6, 7, 5, 4), {"feedback": 0.1}),
        ((6, 4), {}),
        ([(1, 6, 6), aep.Convolution(2, 3, stride=2, padding=1), 3], {}),
    ],
)
def test_gradients_are_those_of_differences(stages, options):
    block = block_of(stages, **options)
    shape = stages[0] if isinstance(stages[0], tuple) else (stages[0],)
    x = torch.rand(3, *shape, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(block.network.n_outputs, dtype=torch.float64)

    def cost(inputs: torch.Tensor) -> torch.Tensor:
        return (torch.sin(block(inputs)) * weights).sum()

    cost(x).backward()
    assert x.grad is not None
    direction = torch.randn_like(x)
    step = 1e-5
    with torch.no_grad():
        slope = (cost(x + step * direction) - cost(x - step * direction)) / (2 * step)
        assert (x.grad * direction).sum().item() == pytest.approx(slope.item(), rel=1e-7)
        for parameter in block.parameters():
            change = torch.randn_like(parameter) * 1e-5 * parameter
            parameter += change
            up = cost(x)
            parameter -= 2 * change
            slope = up - cost(x)
            parameter += change
            found = torch.as_tensor(parameter.grad)
            assert (2 * found * change).sum().item() == pytest.approx(slope.item(), rel=1e-6)


def test_a_block_alone_learns_as_the_network_does():
    block = block_of()
    x, y = torch.rand(8, 6, dtype=torch.float64), torch.rand(8, 4, dtype=torch.float64)
    (0.5 * (block(x) - y).square().sum(-1).mean()).backward()
    _, exact = aep.ImplicitDifferentiation(block.network).gradients(x, y)
    for name, parameter in block.network.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, exact[name], rtol=1e-8, atol=1e-12)


def test_finite_nudges_come_near():
    x = torch.rand(8, 6, dtype=torch.float64)
    found = []
    for nudging in (None, 1e-7):
        block, inputs = block_of(nudging=nudging), x.clone().requires_grad_()
        torch.cos(block(inputs)).sum().backward()
        found.append([inputs.grad, *(parameter.grad for parameter in block.parameters())])
    for exact, nudged in zip(*found, strict=True):
        assert (nudged - exact).norm() < 1e-4 * exact.norm()


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_nudges_that_switch_no_ideal_diode_are_exact(dtype, error):
    x = torch.rand(32, 6, dtype=torch.float64)
    found = []
    for nudging, own in ((None, torch.float64), (1e-9, dtype), (1e-3, torch.float64)):
        block = block_of((6, 9, 7, 4), nudging, own, diode=aep.IdealDiode())
        inputs = x.to(own, copy=True).requires_grad_()
        torch.cos(block(inputs)).sum().backward()
        found.append([torch.as_tensor(each.grad).double() for each in (inputs, *block.parameters())])
    for exact, small, large in zip(*found, strict=True):
        assert (small - exact).norm() <= error * exact.norm()
        assert (large - exact).norm() > 1e-5 * exact.norm()


@pytest.mark.ngspice
@pytest.mark.parametrize("solver", [aep.Newton(), aep.Ngspice()], ids=["newton", "ngspice"])
def test_other_solvers_give_the_same_gradients(solver):
    x = torch.rand(4, 6, dtype=torch.float64)
    found = []
    for each in (None, solver):
        network, inputs = block_of().network, x.clone().requires_grad_()
        block = aep.EquilibriumBlock(network, solver=each)
        torch.cos(block(inputs)).sum().backward()
        found.append([inputs.grad, *(parameter.grad for parameter in block.parameters())])
    for ours, theirs in zip(*found, strict=True):
        assert (theirs - ours).norm() < 1e-7 * ours.norm()


def test_the_examples_of_the_page_run(capsys: pytest.CaptureFixture):
    page = (Path(__file__).parent.parent / "docs" / "convolution.md").read_text(encoding="utf-8")
    first, second = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    exec(compile(first, "operators", "exec"), {"__name__": "operators"})
    exec(compile(second, "blocks", "exec"), {"__name__": "blocks"})
    assert float(capsys.readouterr().out.removeprefix("loss ")) < 0.1


def test_two_blocks_learn_with_digital_modules_between():
    """What digital modules in float64 differentiate, and two analog blocks in float32, by differences of the whole."""
    torch.manual_seed(0)
    analog = [block_of((6, 8, 5), dtype=torch.float32), block_of((5, 8, 3), dtype=torch.float32)]
    model = torch.nn.Sequential(analog[0], torch.nn.BatchNorm1d(5), torch.nn.ReLU(), analog[1])
    x, labels = torch.rand(32, 6), torch.arange(32) % 3
    optimizers = [aep.Update(torch.optim.Adam(block.parameters(), lr=0.02), block.network) for block in analog]
    digital = torch.optim.Adam(model[1].parameters(), lr=0.02)
    costs = []
    for _ in range(40):
        for each in (*optimizers, digital):
            each.zero_grad()
        cost = torch.nn.functional.cross_entropy(model(x) / 0.1, labels)
        cost.backward()
        for each in (*optimizers, digital):
            each.step()
        costs.append(cost.item())
    assert costs[-1] < 0.5 * costs[0]
    for block in analog:
        low, high = block.network.conductance_range
        theta = torch.cat([p.detach().flatten() for p in block.parameters()]) * block.network.parameter_scale
        assert theta.min() >= low * (1 - 1e-6)
        assert theta.max() <= high * (1 + 1e-6)
    once = torch.autograd.grad(analog[0](x).sum(), analog[0].network.get_parameter("stage1"), create_graph=True)[0]
    with pytest.raises(RuntimeError, match=r"once_differentiable|does not require grad"):
        once.sum().backward()


def test_what_is_no_block_is_refused():
    with pytest.raises(AnalogEPError, match="a block needs a ResistiveNetwork"):
        aep.EquilibriumBlock(aep.HopfieldNetwork([3, 4, 2]))
    wires = aep.ResistiveNetwork([3, 4, 2]).rewired(Wires(1.0))
    with pytest.raises(AnalogEPError, match="a block needs crossbars without wires"):
        aep.EquilibriumBlock(wires)
    with pytest.raises(AnalogEPError, match="nudging must be positive"):
        block_of(nudging=-1.0)
    block = block_of()
    with pytest.raises(AnalogEPError, match="on the network's device, cpu, found meta"):
        block(torch.rand(2, 6, device="meta"))
    with pytest.raises(AnalogEPError, match="inputs must end in 6 values"):
        block(torch.rand(2, 5))
    outputs = block(torch.rand(2, 6, dtype=torch.float64))
    with torch.no_grad():
        block.network.get_parameter("stage1").mul_(1.1)
    with pytest.raises(AnalogEPError, match="backward needs the conductances of the forward pass"):
        outputs.sum().backward()
