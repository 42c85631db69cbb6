"""Costs and nudges against 50-digit arithmetic and finite differences."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from layered_networks import examples

from analog_ep.errors import StimulusError
from analog_ep.stimulus import CrossEntropy, Nudge, SquaredError

mpmath.mp.dps = 50
OUTPUTS = torch.tensor([[0.3, -0.2, 0.1], [1.2, 0.0, -0.7]], dtype=torch.float64)
TARGETS = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.5, 0.3]], dtype=torch.float64)
COSTS = pytest.mark.parametrize("cost", [SquaredError(), CrossEntropy(), CrossEntropy(0.25)])


def exact_softmax(outputs: list, logit_scale: float) -> list:
    powers = [mpmath.exp(mpmath.mpf(o) / mpmath.mpf(logit_scale)) for o in outputs]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@examples(100)
@given(
    outputs=st.lists(st.floats(-1.5, 1.5), min_size=2, max_size=4),
    exponent=st.floats(-15, 1),
    seed=st.integers(0, 1000),
    logit_scale=st.sampled_from([0.0625, 1.0]),
)
def test_cross_entropy_gradient_change_keeps_its_relative_precision(dtype, outputs, exponent, seed, logit_scale):
    o = torch.tensor(outputs, dtype=dtype)
    random = torch.Generator().manual_seed(seed)
    d = (10.0**exponent * torch.empty(len(o), dtype=torch.float64).uniform_(-1, 1, generator=random)).to(dtype)
    before = exact_softmax(o.tolist(), logit_scale)
    after = exact_softmax(
        [mpmath.mpf(a) + mpmath.mpf(b) for a, b in zip(o.tolist(), d.tolist(), strict=True)], logit_scale
    )
    truth = np.array([float((b - a) / mpmath.mpf(logit_scale)) for a, b in zip(before, after, strict=True)])
    found = CrossEntropy(logit_scale).gradient_change(o, d).double().numpy()
    # Judged against the change that a flat softmax would see: what a nudge adds to the outputs' own conductance.
    scale = min(float(d.abs().max()) / logit_scale, 1.0) / logit_scale
    tolerance = {torch.float64: 1e-14, torch.float32: 1e-5}[dtype]
    np.testing.assert_allclose(found, truth, rtol=0, atol=tolerance * scale)


def test_cross_entropy_against_mpmath():
    cost = CrossEntropy(0.25)
    for o, y, value, gradient in zip(
        OUTPUTS, TARGETS, cost.value(OUTPUTS, TARGETS), cost.gradient(OUTPUTS, TARGETS), strict=True
    ):
        p = exact_softmax(o.tolist(), 0.25)
        truth = -sum(float(t) * mpmath.log(q) for t, q in zip(y.tolist(), p, strict=True))
        assert value.item() == pytest.approx(float(truth), rel=1e-13)
        slopes = [float((q - t) / 0.25) for q, t in zip(p, y.tolist(), strict=True)]
        assert gradient.tolist() == pytest.approx(slopes, rel=1e-12)


def test_squared_error():
    assert SquaredError().value(OUTPUTS, TARGETS).tolist() == pytest.approx(
        [0.5 * (0.49 + 0.04 + 0.01), 0.5 * (1.0 + 0.25 + 1.0)]
    )
    assert torch.equal(SquaredError().gradient_change(OUTPUTS, TARGETS), TARGETS)


@COSTS
def test_gradient_and_hessian_against_finite_differences(cost):
    h = 1e-5
    for direction in torch.eye(3, dtype=torch.float64):
        step = h * direction
        slope = (cost.value(OUTPUTS + step, TARGETS) - cost.value(OUTPUTS - step, TARGETS)) / (2 * h)
        torch.testing.assert_close(cost.gradient(OUTPUTS, TARGETS) @ direction, slope, rtol=1e-7, atol=1e-9)
        curve = (cost.gradient(OUTPUTS + step, TARGETS) - cost.gradient(OUTPUTS - step, TARGETS)) / (2 * h)
        torch.testing.assert_close(cost.hessian(OUTPUTS) @ direction, curve, rtol=1e-7, atol=1e-8)


@COSTS
def test_value_and_gradient_are_those_of_each(cost):
    value, gradient = cost.value_and_gradient(OUTPUTS, TARGETS)
    torch.testing.assert_close(value, cost.value(OUTPUTS, TARGETS), rtol=1e-14, atol=0)
    torch.testing.assert_close(gradient, cost.gradient(OUTPUTS, TARGETS), rtol=1e-13, atol=1e-16)


@COSTS
def test_curvature_bound_holds_and_is_reached(cost):
    random = torch.Generator().manual_seed(1)
    outputs = 3 * torch.randn(500, 3, dtype=torch.float64, generator=random)
    balanced = torch.tensor([[0.0, 0.0, -40.0]], dtype=torch.float64)
    largest = torch.linalg.eigvalsh(cost.hessian(torch.cat([outputs, balanced])))[:, -1]
    assert largest.max().item() == pytest.approx(cost.curvature_bound, rel=1e-12)
    assert (largest <= cost.curvature_bound * (1 + 1e-12)).all()


@COSTS
def test_shapes_without_and_with_batch_dimensions(cost):
    for batch in [(), (2,), (4, 2)]:
        outputs, targets = (t[0].expand(*batch, 3) for t in (OUTPUTS, TARGETS))
        assert cost.value(outputs, targets).shape == batch
        assert cost.gradient(outputs, targets).shape == (*batch, 3)
        assert cost.gradient_change(outputs, targets).shape == (*batch, 3)
        assert cost.hessian(outputs).shape == (*batch, 3, 3)


def test_encoding_of_labels():
    labels = torch.tensor([2, 0])
    assert SquaredError(0.5).encode(labels, 3, like=torch.zeros(1)).tolist() == [[0, 0, 0.5], [0.5, 0, 0]]
    assert CrossEntropy().encode(labels, 3, like=OUTPUTS).dtype == torch.float64


def test_nudge_current_drives_the_outputs_towards_the_targets():
    nudge = Nudge(1e-3, TARGETS, SquaredError())
    torch.testing.assert_close(nudge.current(OUTPUTS), 1e-3 * (TARGETS - OUTPUTS), rtol=1e-15, atol=0)
    assert nudge.scaled(-2e-3).strength == -2e-3
    assert nudge.scaled(-2e-3).target is nudge.target


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: CrossEntropy(0.0), "CrossEntropy: logit_scale must be positive and finite, found 0.0"),
        (lambda: CrossEntropy(math.inf), "CrossEntropy: logit_scale must be positive and finite, found inf"),
        (
            lambda: Nudge(1.0, TARGETS, SquaredError(), "soft"),  # pyright: ignore[reportArgumentType]
            "a nudge is frozen or elastic, found 'soft'",
        ),
        (lambda: Nudge(math.nan, TARGETS, SquaredError()), "the nudging strength must be finite, found nan"),
        (
            lambda: Nudge(1.0, TARGETS * math.inf, SquaredError()),
            "the targets of a nudge must be finite, found NaN or infinity",
        ),
        (
            lambda: SquaredError().encode(torch.tensor([0, 3]), 3, like=OUTPUTS),
            "labels must lie in 0…2, found 0…3; the network has 3 outputs",
        ),
        (
            lambda: CrossEntropy().encode(torch.tensor([-1, 1]), 3, like=OUTPUTS),
            "labels must lie in 0…2, found -1…1; the network has 3 outputs",
        ),
    ],
)
def test_errors_say_what_must_hold(build, words):
    with pytest.raises(StimulusError, match=words):
        build()
