"""A node's diodes to their bias voltages, against sums of single diodes and root finding."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import lambertw

from analog_ep.constants import BOLTZMANN, ELEMENTARY_CHARGE
from analog_ep.devices import Clamp, DiodeClamp, HardClamp, IdealDiode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.errors import DeviceParameterError

INFINITY = math.inf
SHOCKLEY = ShockleyDiode(1e-9, 1.5)
PIECEWISE = PiecewiseLinearDiode((0.1, 0.3), (1e-5, 1e-3), leakage=1e-9)
REAL = pytest.mark.parametrize("diode", [SHOCKLEY, PIECEWISE, ShockleyDiode(1e-9, series_resistance=1e3)])
VOLTAGE = torch.linspace(-0.83, 0.91, 18, dtype=torch.float64)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@REAL
def test_current_is_that_of_its_two_diodes(diode):
    clamp = DiodeClamp(diode, upper=0.25, lower=-0.5)
    truth = diode.current(VOLTAGE - 0.25) - diode.current(-0.5 - VOLTAGE)
    torch.testing.assert_close(clamp.current(VOLTAGE), truth, rtol=1e-14, atol=0)
    slope = diode.conductance(VOLTAGE - 0.25) + diode.conductance(-0.5 - VOLTAGE)
    torch.testing.assert_close(clamp.conductance(VOLTAGE), slope, rtol=1e-14, atol=0)
    content = diode.cocontent(VOLTAGE - 0.25) + diode.cocontent(-0.5 - VOLTAGE)
    torch.testing.assert_close(clamp.cocontent(VOLTAGE), content, rtol=1e-14, atol=0)


@REAL
def test_current_is_the_slope_of_the_cocontent(diode):
    clamp = DiodeClamp(diode, upper=0.2501, lower=-0.5003)
    h = 1e-5
    slope = (clamp.cocontent(VOLTAGE + h) - clamp.cocontent(VOLTAGE - h)) / (2 * h)
    torch.testing.assert_close(slope, clamp.current(VOLTAGE), rtol=1e-6, atol=1e-15)


@REAL
def test_current_difference_over_large_steps(diode):
    clamp = DiodeClamp(diode, upper=0.25, lower=-0.5)
    for change in (-0.7, -0.1, 0.1, 0.7):
        truth = clamp.current(VOLTAGE + change) - clamp.current(VOLTAGE)
        difference = clamp.current_difference(VOLTAGE, torch.full_like(VOLTAGE, change))
        torch.testing.assert_close(difference, truth, rtol=1e-9, atol=1e-15)


@REAL
def test_current_difference_over_small_steps_is_linear(diode):
    clamp = DiodeClamp(diode, upper=0.2501, lower=-0.5003)
    difference = clamp.current_difference(VOLTAGE, torch.full_like(VOLTAGE, 1e-14))
    torch.testing.assert_close(difference, 1e-14 * clamp.conductance(VOLTAGE), rtol=1e-11, atol=0)


def test_infinite_bias_means_no_diode():
    clamp = DiodeClamp(SHOCKLEY, upper=tensor(0.1, INFINITY), lower=tensor(-INFINITY, -0.2))
    high, low = torch.full((2,), 0.6, dtype=torch.float64), torch.full((2,), -0.6, dtype=torch.float64)
    for quantity in (clamp.current, clamp.conductance, clamp.cocontent):
        assert quantity(high)[1].abs() < 1e-8 < quantity(high)[0]
        assert quantity(low)[0].abs() < 1e-8 < quantity(low)[1].abs()
    neither = DiodeClamp(SHOCKLEY, upper=tensor(INFINITY, 0.0))
    assert neither.current(high).tolist()[0] == 0.0
    assert neither.current_difference(high, high).tolist()[0] == 0.0


def test_alternating_bounds_even_nodes_above_and_odd_ones_below():
    clamp = Clamp.alternating(IdealDiode(), 3, upper=0.5, lower=-0.25)
    low, high = clamp.limits
    assert torch.equal(torch.as_tensor(high), tensor(0.5, INFINITY, 0.5))
    assert torch.equal(torch.as_tensor(low), tensor(-INFINITY, -0.25, -INFINITY))


def test_limits_include_the_forward_voltage_of_ideal_diodes():
    assert HardClamp(IdealDiode(forward_voltage=0.25), upper=0.5, lower=-0.5).limits == (-0.75, 0.75)
    assert HardClamp(IdealDiode(), upper=0.5).limits == (-INFINITY, 0.5)


def test_ideal_diode_has_a_stand_in_for_spice():
    clamp = HardClamp(IdealDiode(on_conductance=0.5, forward_voltage=0.25), upper=0.5)
    assert clamp.for_spice(3.0).current(tensor(0.75, 1.75)).tolist() == [0.0, 0.5]
    assert DiodeClamp(SHOCKLEY, upper=0.0).for_spice(3.0).diode is SHOCKLEY
    with pytest.raises(TypeError, match="an ideal diode has no current function; use for_spice"):
        clamp.current(VOLTAGE)


def test_conducting_share():
    clamp = DiodeClamp(PIECEWISE, upper=0.0)
    voltage = torch.tensor([[0.0, 0.2, 0.4, -1.0], [0.4, 0.4, 0.4, 0.4]], dtype=torch.float64)
    assert clamp.conducting(voltage, torch.tensor(5e-7)).tolist() == [0.5, 1.0]


def test_to_follows_precision():
    per_node = ShockleyDiode(tensor(1e-9, 1e-8))
    clamp = DiodeClamp(per_node, upper=tensor(0.0, 0.1), lower_diode=per_node, lower=tensor(-0.3, -0.2))
    single = clamp.to(torch.zeros(1))
    assert single.current(torch.zeros(2)).dtype == torch.float32
    torch.testing.assert_close(
        single.current(torch.full((2,), 0.3)).double(), clamp.current(tensor(0.3, 0.3)), rtol=1e-5, atol=0
    )


def test_lower_diode_may_differ():
    other = ShockleyDiode(1e-6)
    clamp = DiodeClamp(SHOCKLEY, upper=0.0, lower=0.0, lower_diode=other)
    v = tensor(-0.3, 0.3)
    torch.testing.assert_close(clamp.current(v), SHOCKLEY.current(v) - other.current(-v), rtol=1e-14, atol=0)


TOTALS = (1e-11, 1e-8, 1e-4)
RTOL = np.float64(1e-15)
DRIVES = torch.cat([-torch.logspace(-9, -2, 4), torch.zeros(1), torch.logspace(-9, -2, 4)]).double()


LEAKY = ShockleyDiode(1e-6, series_resistance=torch.tensor([0.0, 2e3], dtype=torch.float64))
"""Its reverse current exceeds any drive in the loads below."""


@pytest.mark.parametrize("diode", [SHOCKLEY, PIECEWISE, ShockleyDiode(1e-9, series_resistance=1e3), LEAKY])
@pytest.mark.parametrize("bounds", [{"upper": 0.25, "lower": -0.5}, {"upper": 0.05}, {"lower": -0.05}])
@pytest.mark.parametrize("total", TOTALS)
def test_node_voltage_against_root_finding(diode, bounds, total):
    clamp = DiodeClamp(diode, **bounds)
    found = clamp.solve_node(torch.full((2,), total, dtype=torch.float64), DRIVES[:, None] * torch.ones(2))
    for element, single in enumerate(diode.expand(2).select(slice(i, i + 1)) for i in range(2)):
        clamp = DiodeClamp(single, **bounds)
        for voltage, drive in zip(found[:, element].tolist(), DRIVES.tolist(), strict=True):

            def imbalance(v: float, clamp: DiodeClamp = clamp, drive: float = drive) -> float:
                value = total * v + clamp.current(tensor(v)).item() - drive
                return math.copysign(min(abs(value), 1e300), value)

            reach = 2 * abs(drive) / total + 1.0
            bound = min(reach, 1e6)
            if imbalance(-bound) * imbalance(bound) > 0:
                bound = reach
            truth = brentq(imbalance, -bound, bound, xtol=1e-17, rtol=RTOL, maxiter=2000)
            assert voltage == pytest.approx(truth, rel=1e-11, abs=1e-14)


def test_node_voltage_against_lambert_w():
    # T v + I_S (exp(v/n V_t) − 1) = J has v = (J + I_S)/T − n V_t W(I_S/(T n V_t) exp((J + I_S)/(T n V_t))).
    total, saturation, vte = 1e-4, 1e-9, 1.5 * BOLTZMANN * 300.15 / ELEMENTARY_CHARGE
    drive = np.linspace(1e-6, 2e-3, 12) * total * 10
    clamp = DiodeClamp(ShockleyDiode(saturation, 1.5, gmin=0.0), upper=0.0)
    level = (drive + saturation) / total
    truth = level - vte * lambertw(saturation / (total * vte) * np.exp(level / vte)).real
    found = clamp.solve_node(torch.full((12,), total, dtype=torch.float64), torch.from_numpy(drive))
    np.testing.assert_allclose(found.numpy(), truth, rtol=1e-12)


@pytest.mark.parametrize(
    "diode", [SHOCKLEY, PIECEWISE, ShockleyDiode(1e-6, series_resistance=1e3), ShockleyDiode(1e-6)]
)
@pytest.mark.parametrize("bounds", [{"upper": 0.25, "lower": -0.5}, {"upper": 0.05}, {"lower": -0.05}])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_change_of_a_node_keeps_its_relative_precision(diode, bounds, dtype):
    clamp = DiodeClamp(diode, **bounds)
    steps = 10 ** torch.linspace(-18, -3, 16, dtype=torch.float64)
    deep = torch.cat([VOLTAGE, 10 * VOLTAGE])
    wide = torch.meshgrid(deep[clamp.current(deep).abs() < 1], torch.cat([steps, -steps]), indexing="ij")
    voltage, drive = (t.flatten().to(dtype) for t in wide)
    total = torch.full_like(voltage, 1e-5)
    change = clamp.solve_change(total, voltage, torch.zeros_like(voltage), drive)
    balance = total * change + clamp.current_difference(voltage, change)
    torch.testing.assert_close(balance, drive, rtol={torch.float64: 1e-11, torch.float32: 1e-3}[dtype], atol=0)
    slope = total + clamp.conductance(voltage)
    small = (drive / slope).abs() < 1e-9
    linear = torch.where(small, drive / slope, change)
    torch.testing.assert_close(change, linear, rtol={torch.float64: 1e-7, torch.float32: 1e-5}[dtype], atol=0)


def test_change_of_an_ideal_node_stops_at_the_clamp_and_leaves_it():
    clamp = HardClamp(IdealDiode(), upper=0.5, lower=-0.5)
    total, voltage = torch.full((4,), 2.0, dtype=torch.float64), tensor(0.4, 0.5, 0.5, -0.5)
    excess = tensor(0.0, 0.1, 0.1, -0.1)
    drive = tensor(1.0, -0.1, -0.4, 0.1)
    assert clamp.solve_change(total, voltage, excess, drive).tolist() == pytest.approx([0.1, 0.0, -0.1, 0.0], abs=1e-15)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: DiodeClamp(SHOCKLEY), "DiodeClamp: upper or lower must be given, found neither"),
        (lambda: DiodeClamp(SHOCKLEY, upper=math.nan), "DiodeClamp: upper must be a number, found nan"),
        (
            lambda: DiodeClamp(SHOCKLEY, lower=tensor(0.0, math.nan)),
            r"DiodeClamp: lower must be a number, found tensor\(\[0., nan\]",
        ),
        (
            lambda: HardClamp(IdealDiode(), upper=-0.5, lower=0.5),
            "HardClamp: lower must be below upper, found 0.5 and -0.5",
        ),
    ],
)
def test_errors_say_what_must_hold(build, words):
    with pytest.raises(DeviceParameterError, match=words):
        build()


CLAMPS = [
    DiodeClamp(SHOCKLEY, upper=0.25, lower=-0.5),
    DiodeClamp(PIECEWISE, upper=0.25),
    HardClamp(IdealDiode(forward_voltage=0.1), upper=0.15, lower=-0.4),
]


@pytest.mark.parametrize("clamp", CLAMPS)
def test_every_clamp_solves_its_node(clamp):
    total, drive = tensor(1e-4, 1e-8), torch.linspace(-3e-4, 3e-4, 8, dtype=torch.float64)[:, None] * torch.ones(2)
    voltage = clamp.solve_node(total, drive)
    torch.testing.assert_close(clamp.solve_node(total, drive, 1 / total), voltage, rtol=1e-12, atol=1e-15)
    held = clamp.holds(voltage)
    current, slope = clamp.current_and_slope(voltage)
    left = total * voltage + current - drive
    assert (left[~held].abs() <= 1e-12 * drive.expand_as(left)[~held].abs()).all()
    assert ((left * voltage)[held] < 0).all() or not held.any()
    assert (held.any() and (~held).any()) == (not clamp.has_current)
    rise = (clamp.current_and_slope(voltage + 1e-7)[0] - current) / 1e-7 * torch.ones_like(voltage)
    torch.testing.assert_close(slope * torch.ones_like(voltage), rise, rtol=1e-3, atol=1e-12)
    expected = torch.where(held, 7.0 * total, torch.as_tensor(slope, dtype=torch.float64))
    torch.testing.assert_close(clamp.slope_at(voltage, total, 7.0), expected)


@pytest.mark.parametrize("clamp", CLAMPS)
def test_states_of_another_solver_are_made_consistent(clamp):
    total, drive = tensor(1e-4, 1e-4), torch.linspace(-1e-4, 1e-4, 6, dtype=torch.float64)[:, None] * torch.ones(2)
    exact = clamp.solve_node(total, drive)
    voltage, current = clamp.consistent(exact * (1 + 1e-9), drive, 1 / total)
    if clamp.has_current:
        assert torch.equal(current, drive)
        assert torch.equal(clamp.excess(voltage, current, 1 / total), torch.zeros_like(voltage))
    else:
        assert torch.equal(voltage, clamp.solve_node(total, current, 1 / total))
        beyond = (drive / total - exact).abs()
        torch.testing.assert_close(clamp.excess(voltage, current, 1 / total).abs(), beyond, rtol=1e-12, atol=1e-15)
    response = clamp.response_resistance(voltage, total, current, 1 / total)
    h = 1e-9
    change = clamp.solve_node(total, current + h) - clamp.solve_node(total, current - h)
    torch.testing.assert_close(response, change / (2 * h), rtol=1e-3, atol=1e-3)


def test_how_far_beyond_ideal_diodes_a_node_is():
    hard = HardClamp(IdealDiode(forward_voltage=0.25), upper=tensor(0.25, INFINITY), lower=-0.75)
    assert hard.beyond(tensor(0.75, 9.0)).tolist() == [0.25, 0.0]
    assert hard.beyond(tensor(-1.5, -1.0)).tolist() == [0.5, 0.0]
    assert hard.holds(tensor(0.45, 0.45), margin=0.1).tolist() == [True, False]
    assert DiodeClamp(SHOCKLEY, upper=0.0).beyond(tensor(9.0, -9.0)).tolist() == [0.0, 0.0]


def test_a_diode_makes_the_clamp_that_fits_it():
    assert type(SHOCKLEY.clamp(upper=0.1)) is DiodeClamp
    assert type(IdealDiode().clamp(upper=0.1)) is HardClamp
    assert type(Clamp.alternating(PIECEWISE, 2)) is DiodeClamp
    with pytest.raises(DeviceParameterError, match=r"the diode must be a Diode, found IdealDiode; write diode\.clamp"):
        DiodeClamp(IdealDiode(), upper=0.1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(DeviceParameterError, match=r"must be an IdealDiode, found ShockleyDiode; write diode\.clamp"):
        HardClamp(SHOCKLEY, upper=0.1)  # pyright: ignore[reportArgumentType]
