"""Equilibrium propagation against finite differences of the solved cost, and its bias against theory."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from layered_networks import Case, cases, dense_hessian, examples

from analog_ep.circuit import Chip
from analog_ep.devices import HardClamp, IdealDiode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.equilibrium.equilibrium import Equilibrium, solve
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.errors import ConvergenceError, StimulusError, UnstableNudgeError
from analog_ep.learning.gradients.propagation import EquilibriumPropagation, SmallSignal
from analog_ep.networks import ResistiveNetwork
from analog_ep.stimulus import CrossEntropy, SquaredError

SOLVER = Relaxation(max_steps=300)
COSTS = (SquaredError(), CrossEntropy(0.5))
STEP = 1e-4
"""Relative step of the conductances: truncation and rounding of the central difference are both near 1e-8."""
TINY = 1e-20
"""Nudging [S] at which the bias in β is far below the tolerances."""

variants = st.sampled_from(["positive", "negative", "centered", "random"])
kinds = st.sampled_from(["frozen", "elastic"])


@contextmanager
def scaled(network: ResistiveNetwork, label: str, factor: torch.Tensor) -> Iterator[None]:
    """The network with one crossbar's conductances multiplied."""
    theta = network.theta(label)
    before = theta.detach().clone()
    with torch.no_grad():
        theta.mul_(factor)
        yield
        theta.copy_(before)


def conducting_set(network: ResistiveNetwork, state: Equilibrium) -> list[torch.Tensor]:
    """On which linear piece each diode is, where diodes have pieces."""
    pieces = []
    for clamp, layer in zip(network.clamps, state.layers, strict=False):
        if isinstance(clamp, HardClamp):
            low, high = (torch.as_tensor(bound, dtype=layer.dtype) for bound in clamp.limits)
            pieces.append((layer >= high).double() - (layer <= low).double())
        elif isinstance(clamp.diode, PiecewiseLinearDiode):
            pieces.append(clamp.conductance(layer))
    return pieces


def slope_by_finite_differences(case: Case, cost, label: str, direction: torch.Tensor) -> float:
    """Derivative of the mean cost along relative changes of one crossbar; the example is left where a piece changes."""
    network, costs, sets = case.network, [], []
    for sign in (1, -1):
        with scaled(network, label, 1 + sign * STEP * direction):
            state = solve(network, case.inputs, solver=SOLVER, throw=False)
        assume(state.converged.all())
        costs.append(cost.value(state.outputs, case.targets).mean().item())
        sets.append(conducting_set(network, state))
    assume(all(torch.equal(a, b) for a, b in zip(*sets, strict=True)))
    return (costs[0] - costs[1]) / (2 * STEP)


@examples(20)
@given(
    case=cases(n_samples=2, scales=(0.3, 1.0, 3.0)),
    cost=st.sampled_from(COSTS),
    variant=variants,
    kind=kinds,
    seed=st.integers(0, 100),
)
def test_gradients_against_finite_differences(case, cost, variant, kind, seed):
    network = case.network
    assume(solve(network, case.inputs, solver=SOLVER, throw=False).converged.all())
    method = EquilibriumPropagation(network, TINY, cost, variant, kind, solver=Relaxation(max_steps=1000))
    value, gradients = method.gradients(case.inputs, case.targets)
    _, limit = SmallSignal(network, cost, solver=Relaxation(max_steps=1000)).gradients(case.inputs, case.targets)
    random = torch.Generator().manual_seed(seed)
    for label, gradient in gradients.items():
        theta = network.theta(label).detach()
        direction = torch.rand(theta.shape, dtype=torch.float64, generator=random) * 2 - 1
        truth = slope_by_finite_differences(case, cost, label, direction)
        # Rounding of the cost, over the step.
        tolerance = 1e-12 * max(value.item(), 1.0) / STEP + 1e-5 * (gradient * theta * direction).abs().sum().item()
        assert (gradient * theta * direction).sum().item() == pytest.approx(truth, rel=0, abs=tolerance)
        # Without bias and with one amplifier both outputs are alike: the gradient is zero but for rounding.
        largest = limit[label].abs().max().item()
        torch.testing.assert_close(gradient, limit[label], rtol=0, atol=1e-6 * largest + 1e-8 * value.item())


def small_network(dtype: torch.dtype = torch.float64, **options) -> ResistiveNetwork:
    options = {"diode": ShockleyDiode(1e-9, 1.3), "seed": 4, **options}
    return ResistiveNetwork([2, 4, 3, 2], dtype=dtype, **options)


def samples(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.randn(4, 2, generator=random).to(dtype), torch.eye(2, dtype=dtype)[[0, 1, 1, 0]]


def flat_gradient(method) -> torch.Tensor:
    _, gradients = method.gradients(*samples())
    return torch.cat([gradient.flatten() for gradient in gradients.values()])


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("kind", ["frozen", "elastic"])
@pytest.mark.parametrize(("variant", "order"), [("positive", 1), ("negative", 1), ("centered", 2)])
def test_order_of_the_bias(variant, order, kind, cost):
    network = small_network()
    truth = flat_gradient(SmallSignal(network, cost))
    errors = [
        (flat_gradient(EquilibriumPropagation(network, b, cost, variant, kind)) - truth).norm().item()
        for b in (2e-7, 1e-7, 5e-8)
    ]
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(2**order, rel=0.05)


@pytest.mark.parametrize("cost", COSTS)
def test_small_signal_is_the_limit(cost):
    network = small_network()
    truth = flat_gradient(SmallSignal(network, cost))
    for kind in ("frozen", "elastic"):
        found = flat_gradient(EquilibriumPropagation(network, 1e-18, cost, "positive", kind))
        torch.testing.assert_close(found, truth, rtol=0, atol=1e-9 * truth.abs().max().item())


@pytest.mark.parametrize("drive", ["single", "differential"])
def test_gradients_in_single_precision_keep_their_direction_in_every_layer(drive):
    gradients = {}
    for dtype in (torch.float32, torch.float64):
        network = small_network(dtype, drive=drive)
        _, gradients[dtype] = EquilibriumPropagation(network, 1e-12).gradients(*samples(dtype))
    for label, single in gradients[torch.float32].items():
        double = gradients[torch.float64][label]
        assert single.dtype == torch.float32
        assert (single.double() - double).norm() <= 1e-3 * double.norm()


def test_centered_is_the_mean_of_positive_and_negative():
    network = small_network()
    positive, negative, centered = (
        flat_gradient(EquilibriumPropagation(network, 1e-7, variant=variant))
        for variant in ("positive", "negative", "centered")
    )
    torch.testing.assert_close(0.5 * (positive + negative), centered, rtol=1e-9, atol=1e-18)
    assert (positive - negative).norm() > 1e-6 * centered.norm()


def test_random_signs_follow_the_seed():
    network = small_network()
    positive, negative = (
        flat_gradient(EquilibriumPropagation(network, 1e-7, variant=variant)) for variant in ("positive", "negative")
    )

    def signs(seed: int) -> list[bool]:
        method = EquilibriumPropagation(network, 1e-7, variant="random", seed=seed)
        drawn = []
        for _ in range(12):
            gradient = flat_gradient(method)
            assert torch.equal(gradient, positive) != torch.equal(gradient, negative)
            drawn.append(torch.equal(gradient, positive))
        return drawn

    assert signs(0) == signs(0)
    assert signs(0) != signs(1)
    assert set(signs(0)) == {True, False}


def test_backward_adds_to_grad_and_returns_the_mean_cost():
    network, (inputs, targets) = small_network(), samples()
    method = EquilibriumPropagation(network, 1e-7)
    cost, gradients = method.gradients(inputs, targets)
    free = solve(network, inputs, solver=Relaxation())
    assert method.backward(inputs, targets).item() == cost.item()
    assert cost.item() == pytest.approx(SquaredError().value(free.outputs, targets).mean().item(), rel=1e-12)
    method.backward(inputs, targets)
    for label, gradient in gradients.items():
        torch.testing.assert_close(network.theta(label).grad, 2 * gradient, rtol=1e-13, atol=0)


@pytest.mark.parametrize("batch", [(), (1,), (2, 2)])
def test_gradients_are_means_over_all_batch_dimensions(batch):
    network, (inputs, targets) = small_network(), samples()
    n_samples = max(1, torch.Size(batch).numel())
    inputs, targets = inputs[:n_samples], targets[:n_samples]
    for method in (EquilibriumPropagation(network, 1e-7, solver=Relaxation()), SmallSignal(network)):
        cost, gradients = method.gradients(inputs.reshape(*batch, 2), targets.reshape(*batch, 2))
        parts = [method.gradients(x, y) for x, y in zip(inputs, targets, strict=True)]
        assert cost.shape == ()
        assert cost.item() == pytest.approx(sum(part.item() for part, _ in parts) / n_samples, rel=1e-11)
        for label, gradient in gradients.items():
            mean = torch.stack([part[label] for _, part in parts]).mean(0)
            torch.testing.assert_close(gradient, mean, rtol=0, atol=1e-9 * mean.abs().max().item())


def test_gradients_with_newton_by_subtraction():
    network = small_network()
    truth = flat_gradient(SmallSignal(network))
    found = flat_gradient(EquilibriumPropagation(network, 1e-8, solver=Newton()))
    assert (found - truth).norm() <= 1e-5 * truth.norm()


def test_a_chip_is_nudged_as_itself():
    network = small_network()
    chip = Chip.draw(network.circuit(), seed=0, siemens=0.2, saturation_current=0.5)
    twin = small_network()
    twin.load_state_dict(network.state_dict())
    clamps = network.layer_clamps(twin.theta("stage1").detach(), chip)
    drawn = {
        group.label: torch.from_numpy(chip.factors[f"{group.label}.siemens"].reshape(shape))
        for group, shape in zip(
            network.circuit().trainable().values(), (p.shape for p in network.parameters()), strict=True
        )
    }
    twin.clamps = tuple(clamp for clamp in clamps if clamp is not None)
    with torch.no_grad():
        for label, factor in drawn.items():
            twin.theta(label).mul_(factor)
    for method in (
        lambda net, chip: EquilibriumPropagation(net, 1e-7, chip=chip),
        lambda net, chip: SmallSignal(net, chip=chip),
    ):
        torch.testing.assert_close(
            flat_gradient(method(network, chip)), flat_gradient(method(twin, None)), rtol=1e-8, atol=1e-15
        )


def linear_network() -> ResistiveNetwork:
    clamp = HardClamp(IdealDiode(), upper=90.0, lower=-90.0)
    return ResistiveNetwork([2, 3, 2], diode=clamp, dtype=torch.float64)


@pytest.mark.parametrize("variant", ["negative", "centered"])
def test_a_negative_elastic_nudge_is_accepted_below_the_bound_and_refused_at_it(variant):
    network, (inputs, targets) = linear_network(), samples()
    free = solve(network, inputs, solver=Relaxation())
    hessian, across, weight = dense_hessian(network.circuit(), free.voltages[0].numpy())
    impedance = torch.from_numpy(weight * across) @ torch.linalg.solve(
        *map(torch.from_numpy, (hessian, across.T.copy()))
    )
    b = 1 / torch.linalg.eigvalsh(impedance).max().item()
    EquilibriumPropagation(network, 0.95 * b, variant=variant, kind="elastic").gradients(inputs, targets)
    with pytest.raises(UnstableNudgeError, match=r"a negative elastic nudge must be weaker than \S+ here, found"):
        EquilibriumPropagation(network, 1.001 * b, variant=variant, kind="elastic").gradients(inputs, targets)
    EquilibriumPropagation(network, 2 * b, variant="positive", kind="elastic").gradients(inputs, targets)
    EquilibriumPropagation(network, 2 * b, variant=variant, kind="frozen").gradients(inputs, targets)


def test_errors_say_what_must_hold():
    network = small_network()
    for nudging in (0.0, -1e-6, float("inf"), float("nan")):
        with pytest.raises(StimulusError, match=f"nudging must be positive and finite, found {nudging}; the variant"):
            EquilibriumPropagation(network, nudging)
    with pytest.raises(StimulusError, match="variant must be positive, negative, centered or random, found 'both'"):
        EquilibriumPropagation(network, 1e-6, variant="both")  # pyright: ignore[reportArgumentType]
    with pytest.raises(StimulusError, match="a nudge is frozen or elastic, found 'soft'"):
        EquilibriumPropagation(network, 1e-6, kind="soft").gradients(*samples())  # pyright: ignore[reportArgumentType]
    for method in (
        EquilibriumPropagation(network, 1e-6, solver=Relaxation(max_steps=2)),
        SmallSignal(network, solver=Relaxation(max_steps=2)),
    ):
        with pytest.raises(ConvergenceError, match="4 samples did not reach rtol 1e-13 in 2 sweeps"):
            method.gradients(*samples())
