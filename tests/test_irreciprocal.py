"""Circuits without an energy: said, refused unless asked for, and compared with the exact gradient."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from analog_ep import (
    CircuitNetwork,
    EquilibriumPropagation,
    ImplicitDifferentiation,
    SmallSignal,
    SquaredError,
    Update,
    cross_check,
)
from analog_ep.analyses.response import small_signal_gradient
from analog_ep.circuit import (
    Amplifiers,
    Circuit,
    CircuitBuilder,
    Conductances,
    VoltageControlledVoltageSources,
    VoltageSources,
    energy_weights,
)
from analog_ep.circuit.energy import contrast_weights, why_irreciprocal
from analog_ep.errors import EnergyUnavailableError

BOUNDS = (1e-6, 1e-3)
SIEMENS = np.array([1.0, 2.0, 0.7, 1.5, 0.9, 1.2, 2.2]) * 1e-4
ENDS = [("x", "a"), ("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("e", "c"), ("d", "0")]
GAIN, DRIVE, TARGET = 1.7, np.array([0.8, -0.4]), 0.3


def ring() -> Circuit:
    """Four nodes in a ring; a one-way source takes b's voltage and drives c."""
    builder = CircuitBuilder("one-way ring")
    builder.add_nodes(["x", "a", "b", "c", "d", "e"])
    builder.add(VoltageSources("v", "x", "0", 0.0, 0))
    builder.add(VoltageControlledVoltageSources("e", "e", "0", "b", "0", GAIN))
    first, second = zip(*ENDS, strict=True)
    builder.add(Conductances("g", list(first), list(second), SIEMENS, "g", np.arange(len(ENDS))))
    builder.set_outputs(["c"], ["a"])
    return builder.build()


def by_hand(siemens: np.ndarray, drive: float, injected: np.ndarray | None = None) -> dict[str, complex]:
    """Voltages by nodal analysis; `injected` replaces the sources by currents into a, b, c and d."""
    nodes = "abcd"
    matrix, right = np.zeros((4, 4), siemens.dtype), np.zeros(4, siemens.dtype)
    level = {"x": drive if injected is None else 0.0, "0": 0.0}
    for g, (p, n) in zip(siemens, ENDS, strict=True):
        for here, there in ((p, n), (n, p)):
            if here not in nodes:
                continue
            row = nodes.index(here)
            matrix[row, row] += g
            if there in nodes:
                matrix[row, nodes.index(there)] -= g
            elif there == "e":
                matrix[row, nodes.index("b")] -= g * GAIN
            else:
                right[row] += g * level[there]
    found = dict(zip(nodes, np.linalg.solve(matrix, right if injected is None else injected), strict=True))
    return found | {"x": level["x"], "0": 0.0, "e": GAIN * found["b"]}


def gradients_by_hand() -> tuple[np.ndarray, np.ndarray]:
    """dC/dg by complex steps, and the contrast (v_p − v_n) (d_p − d_n) with weight 1, means over the samples."""
    exact, contrast = np.zeros(len(ENDS)), np.zeros(len(ENDS))
    for drive in DRIVE:
        free = by_hand(SIEMENS, drive)
        error = free["c"] - free["a"] - TARGET
        pushed = by_hand(SIEMENS, drive, np.array([error, 0.0, -error, 0.0]))
        contrast += [np.real((free[p] - free[n]) * (pushed[p] - pushed[n])) / len(DRIVE) for p, n in ENDS]
        for k in range(len(ENDS)):
            moved = SIEMENS.astype(complex)
            moved[k] += 1e-30j
            volts = by_hand(moved, drive)
            exact[k] += np.imag(0.5 * (volts["c"] - volts["a"] - TARGET) ** 2) / 1e-30 / len(DRIVE)
    return exact, contrast


def samples() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(DRIVE[:, None]), torch.full((2, 1), TARGET, dtype=torch.float64)


def test_the_contrast_is_refused_and_both_ways_out_are_named():
    net = CircuitNetwork(ring(), BOUNDS)
    words = r"e is a one-way controlled source; use AdjointNetwork, .*, or CircuitNetwork\(.*reciprocal=False"
    with pytest.raises(EnergyUnavailableError, match=words) as refused:
        SmallSignal(net).gradients(*samples())
    assert "\n" not in str(refused.value)
    exact, _ = gradients_by_hand()
    found = ImplicitDifferentiation(net).gradients(*samples())[1]["g"] / net.reference_conductance
    np.testing.assert_allclose(found.numpy(), exact, rtol=1e-9, atol=0)


def test_on_wish_the_contrast_is_what_hardware_measures():
    net = CircuitNetwork(ring(), BOUNDS, reciprocal=False)
    _, contrast = gradients_by_hand()
    for method, rtol in ((SmallSignal(net), 1e-9), (EquilibriumPropagation(net, 1e-7), 1e-3)):
        found = method.gradients(*samples())[1]["g"] / net.reference_conductance
        np.testing.assert_allclose(found.numpy(), contrast, rtol=rtol, atol=0)
    with pytest.raises(EnergyUnavailableError):
        net.energy(samples()[0], (torch.zeros(2, net.circuit().n_nodes, dtype=torch.float64),))


@pytest.mark.ngspice
@pytest.mark.parametrize("asked_for", [False, True])
def test_its_likeness_to_the_exact_gradient_is_reported(asked_for):
    net = CircuitNetwork(ring(), BOUNDS, reciprocal=not asked_for)
    exact, contrast = gradients_by_hand()
    cosine = exact @ contrast / np.linalg.norm(exact) / np.linalg.norm(contrast)
    ratio = np.linalg.norm(contrast) / np.linalg.norm(exact)
    assert cosine < 0.99
    check = cross_check(net, *samples(), nudging=1e-7)
    assert check.passed, check.table()
    assert check.method_name == ("EquilibriumPropagation" if asked_for else "ImplicitDifferentiation")
    response = small_signal_gradient(net, SquaredError(), *samples())
    assert not response.passed
    for report, rel in ((check, 1e-4), (response, 1e-7)):
        told = json.loads(report.to_json())
        assert told["reciprocal"] is False
        assert told["irreciprocity"] == "e is a one-way controlled source"
        assert told["gradient_cosine_exact"] == pytest.approx(cosine, rel=rel)
        assert told["gradient_norm_ratio_exact"] == pytest.approx(ratio, rel=rel)


@pytest.mark.ngspice
def test_a_reciprocal_circuit_is_said_to_be_one():
    groups = [g for g in ring().groups if g.label != "e"]
    net = CircuitNetwork(ring().with_groups(groups), BOUNDS)
    told = json.loads(cross_check(net, *samples(), nudging=1e-7).to_json())
    assert told["reciprocal"] is True
    assert told["irreciprocity"] == ""
    assert told["gradient_cosine_exact"] == pytest.approx(1, abs=1e-7)
    assert told["gradient_norm_ratio_exact"] == pytest.approx(1, abs=1e-5)


@pytest.mark.ngspice
def test_a_wrong_implicit_gradient_fails_the_check():
    """Without an energy the method that trains is judged all the same."""
    net = CircuitNetwork(ring(), BOUNDS, dtype=torch.float32)
    assert cross_check(net, *samples(), nudging=1e-7).passed

    class Wrong(ImplicitDifferentiation):
        def _gradients(self, inputs, targets, free=None):
            cost, found = super()._gradients(inputs, targets, free)
            factor = 1.1 if self.network is net else 1.0
            return cost, {name: factor * gradient for name, gradient in found.items()}

    assert not cross_check(net, *samples(), nudging=1e-7, method=Wrong(net)).passed


def blocks(feedbacks: tuple[float, float]) -> Circuit:
    """Two blocks, joined by two amplifiers of gain 3."""
    builder = CircuitBuilder("two blocks")
    builder.add_nodes(["x", "a", "b", "p", "q", "c"])
    builder.add(VoltageSources("v", "x", "0", 0.0, 0))
    builder.add(Amplifiers("amp", ["a", "b"], ["p", "q"], 3.0, list(feedbacks)))
    first, second = ["x", "x", "a", "p", "q", "c"], ["a", "b", "b", "c", "c", "0"]
    builder.add(Conductances("g", first, second, 1e-4, "g", np.arange(6)))
    builder.set_outputs("c", "0")
    return builder.build()


def test_the_nearest_weights_are_the_geometric_mean_of_what_amplifiers_ask_for():
    alike, apart = blocks((0.5, 0.5)), blocks((0.5, 0.8))
    assert energy_weights(apart).nodes is None
    np.testing.assert_array_equal(contrast_weights(alike), energy_weights(alike).require())
    weights = contrast_weights(apart)
    assert weights[apart.node("c")] / weights[apart.node("a")] == pytest.approx(np.sqrt(0.5 * 0.8) / 3, rel=1e-9)
    assert np.all(contrast_weights(ring()) == 1)


def test_a_circuit_without_an_energy_learns_by_implicit_differentiation():
    inputs = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    net = CircuitNetwork(ring(), BOUNDS)
    update = Update(torch.optim.Adam(net.parameters(), lr=0.01), net)
    method, costs = ImplicitDifferentiation(net), []
    for _ in range(150):
        update.zero_grad()
        costs.append(float(method.backward(inputs, 0.2 * inputs)))
        update.step()
    assert costs[-1] < 0.01 * costs[0]


def test_a_chip_that_loses_its_energy_or_its_weights_is_told_apart():
    def joined(first: float, second: float) -> Circuit:
        builder = CircuitBuilder("two amplifiers between two blocks")
        builder.add_nodes(["x", "a", "b", "c", "d", "e", "f"])
        builder.add(VoltageSources("v", "x", "0", 0.0, 0))
        builder.add(Amplifiers("one", "a", "c", 2.0, first))
        builder.add(Amplifiers("two", "b", "d", 2.0, second))
        builder.add(Conductances("g", list("xabcdef"), list("abxef00"), 1e-4, "g", np.arange(7)))
        builder.add(Conductances("h", "e", "f", 1e-4))
        builder.set_outputs("e", "f")
        return builder.build()

    nominal = joined(0.5, 0.5)
    assert why_irreciprocal(joined(0.5, 0.5), nominal) == ""
    assert why_irreciprocal(joined(0.4, 0.4), nominal) == "its amplifiers ask for other weights than the nominal ones"
    for pair in ((0.5, 0.4), (0.4, 0.5)):
        assert "join two blocks by different k/a" in why_irreciprocal(joined(*pair), nominal)
    assert "join two blocks by different k/a" in why_irreciprocal(nominal, joined(0.5, 0.4))
