"""The checks of the theory hold on random networks, and fail where the theory does."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread

from analog_ep.cli import main
from analog_ep.equilibrium.layered.hopfield_layers import HopfieldLayers
from analog_ep.errors import NetworkError
from analog_ep.networks import HopfieldNetwork
from analog_ep.theory import check_theory, report, stdp
from analog_ep.theory.checks import Check, cosine, order, relative_difference
from analog_ep.theory.gradient import check_gradient, implicit_gradient
from analog_ep.theory.setting import Setting
from analog_ep.theory.stdp import check_plasticity, integrals
from analog_ep.theory.velocities import STEP, backprop_through_time, check_velocities


def misses(checks: list[Check]) -> list[str]:
    return [f"{check.figure} {check.where}: {check.value}" for check in checks if not check.passed]


@pytest.mark.parametrize("sizes", [[4, 3], [3, 5, 2]])
def test_gradient(sizes: list[int]):
    checks, _ = check_gradient(Setting.drawn(sizes, seed=1))
    assert not misses(checks)
    assert len(checks) == 2 + 4 * (len(sizes) - 1)


@pytest.mark.parametrize("sizes", [[4, 3], [4, 5, 3], [3, 5, 4, 2]])
def test_velocities(sizes: list[int]):
    checks, curves = check_velocities(Setting.drawn(sizes, seed=2))
    assert not misses(checks)
    assert all(len(values) == 10 for values in curves.differences.values())


@pytest.mark.parametrize("sizes", [[4, 3], [3, 5, 4, 2]])
def test_plasticity(sizes: list[int]):
    checks, _ = check_plasticity(Setting.drawn(sizes, seed=3), (0.1, 0.05))
    assert not [check for check in misses(checks) if check.startswith("order")]
    assert len(checks) == 4 * (len(sizes) - 1) - 1


def test_a_network_without_an_energy_fails(monkeypatch: pytest.MonkeyPatch):
    """Half of what the outputs return to the layer before them is lost, in the solver and in the dynamics."""
    force, backward = HopfieldNetwork.force, HopfieldLayers.backward

    def one_way_force(self, inputs, layers, nudge=None, free_outputs=None):
        found = list(force(self, inputs, layers, nudge, free_outputs))
        returned = self.activation.value(layers[-1]) @ self.weights[-1].T
        found[-2] = found[-2] - 0.5 * self.activation.slope(layers[-2]) * returned
        return tuple(found)

    def one_way_backward(self, k, after):
        returned = backward(self, k, after)
        return 0.5 * returned if k + 1 == self.last else returned

    monkeypatch.setattr(HopfieldNetwork, "force", one_way_force)
    monkeypatch.setattr(HopfieldLayers, "backward", one_way_backward)
    setting = Setting.drawn([4, 5, 3], seed=1)
    left = setting.network.force(setting.inputs, setting.free)
    assert max(float(rate.detach().abs().max()) for rate in left) < 1e-13
    missed = misses(check_gradient(setting)[0])
    assert any("order of the bias" in miss for miss in missed)
    assert any("backprop through time layer 1" in miss for miss in misses(check_velocities(setting)[0]))


def test_one_direction_of_plasticity_is_not_the_contrast():
    setting = Setting.drawn([4, 5, 3], seed=0)
    found = integrals(setting, 0.1)
    assert relative_difference(found["one direction"][0], found["velocity"][0]) < 1e-12
    assert relative_difference(found["one direction"][1], found["velocity"][1]) > 1e-2


def test_implicit_gradient_of_one_unit():
    # u = ρ'(u) (w x + b) and C = ½ (u − y)²: dC/db = (u − y) ρ'(u)/(1 − ρ''(u) (w x + b)).
    setting = Setting.drawn([1, 1], seed=4, n_samples=1)
    u, rho = setting.free[0], setting.network.activation
    drive = setting.inputs @ setting.network.weights[0].detach() + setting.network.biases[0].detach()
    wanted = (u - setting.targets) * rho.slope(u) / (1 - rho.curvature(u) * drive)
    found = implicit_gradient(setting)
    torch.testing.assert_close(found["bias1"], wanted[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(found["weight1"], (wanted * setting.inputs), rtol=1e-12, atol=0)


def test_backprop_through_time_of_one_unit():
    setting = Setting.drawn([1, 1], seed=4, n_samples=1)
    u, rho = setting.free[0], setting.network.activation
    drive = setting.inputs @ setting.network.weights[0].detach() + setting.network.biases[0].detach()
    factor = 1 - STEP * (1 - rho.curvature(u) * drive)
    backward, updates = backprop_through_time(setting, 3)
    for t in range(3):
        torch.testing.assert_close(backward[t][0], (setting.targets - u) * factor**t, rtol=1e-12, atol=0)
        bias = STEP * (u - setting.targets) * factor**t * rho.slope(u)
        torch.testing.assert_close(updates[t]["bias1"], bias[0], rtol=1e-12, atol=0)


def test_figures():
    assert cosine(torch.tensor([3.0, 4.0]), torch.tensor([6.0, 8.0])) == pytest.approx(1)
    assert relative_difference(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 2.0])) == pytest.approx(5**-0.5)
    assert order([4.0, 0.2, 0.1], [1.0, 4e-3, 1e-3]) == pytest.approx(2)
    assert (Check("c", "f", "w", 0.5, high=0.4).passed, Check("c", "f", "w", 0.5, low=0.4).passed) == (False, True)
    bounds = [Check("c", "f", "w", 0.0, *pair).bound for pair in ((0.9, 1.1), (-torch.inf, 1e-3), (0.9999, torch.inf))]
    assert bounds == ["0.9 … 1.1", "≤ 0.001", "≥ 0.9999"]


def test_networks_that_cannot_be():
    with pytest.raises(NetworkError, match="sizes must be at least two positive numbers"):
        check_theory([3])


@pytest.mark.pictures
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    # Coarse steps, on which a weak nudge keeps the bounds and a strong one does not.
    monkeypatch.setattr(report, "check_plasticity", partial(check_plasticity, time_steps=(0.1, 0.05)))
    monkeypatch.setattr(stdp, "NUDGING", 0.02)
    with pytest.raises(SystemExit) as ended:
        main(["theory", "--sizes", "3-4-2", "--seed", "5", "--out", str(tmp_path / "new"), "--json"])
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert not ended.value.code
    assert facts["passed"], [check for check in facts["checks"] if not check["passed"]]
    assert facts["sizes"] == [3, 4, 2]
    assert json.loads((tmp_path / "new" / "theory.json").read_text()) == facts
    for name in ("gradient", "velocities", "stdp"):
        assert imread(tmp_path / "new" / f"{name}.png").std() > 0.05
        assert f"{name}.png" in printed.err
    monkeypatch.setattr(stdp, "NUDGING", 0.5)
    with pytest.raises(SystemExit) as ended:
        main(["theory", "--sizes", "3-2", "--seed", "5"])
    assert ended.value.code == 1
    table = capsys.readouterr().out
    assert "missed" in table
    assert "3-2, seed 5" in table
    with pytest.raises(SystemExit) as ended:
        main(["theory", "--sizes", "3-x"])
    assert ended.value.code == 2
    assert "must be numbers joined by dashes" in capsys.readouterr().err
