"""Devices against 50-digit arithmetic, quadrature, root finding and ngspice."""

import math
from itertools import pairwise, product

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from layered_networks import examples
from plain_ngspice import run_plain
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import lambertw

from analog_ep.constants import BOLTZMANN, ELEMENTARY_CHARGE, SIMULATION_GMIN
from analog_ep.devices import Diode, IdealDiode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.devices.roots import bracketed_newton
from analog_ep.errors import DeviceParameterError

mpmath.mp.dps = 50
FLOATS = {torch.float64: 1e-13, torch.float32: 1e-5}
THERMAL_VOLTAGE = BOLTZMANN * 300.15 / ELEMENTARY_CHARGE
EXAMPLES = examples(150)

# Parameters that both precisions hold exactly, so that the truth is one and the same.
SHOCKLEY = ShockleyDiode(saturation_current=2.0**-40, ideality=1.25, gmin=2.0**-50)
PIECEWISE = PiecewiseLinearDiode((-0.5, 0.25, 0.375), (2.0**-20, 2.0**-12, 2.0**-7), leakage=2.0**-30)


def exact_shockley(diode: ShockleyDiode, voltage):
    """i(v) in 50 digits, at the nominal temperature and without series resistance."""
    v, vte = mpmath.mpf(voltage), mpmath.mpf(diode.ideality) * mpmath.mpf(THERMAL_VOLTAGE)
    scale = mpmath.mpf(diode.saturation_current)
    shape = mpmath.expm1(v / vte) if v >= -3 * vte else -1 - (3 * vte / (mpmath.e * v)) ** 3
    return scale * shape + mpmath.mpf(diode.gmin) * v


def exact_current(voltage: float, saturation: float) -> float:
    """i(v) without g_min in double precision, for root finding."""
    u = voltage / THERMAL_VOLTAGE
    return saturation * (math.expm1(min(u, 700.0)) if u >= -3 else -1 - (3 / (math.e * u)) ** 3)


def exact_piecewise(diode: PiecewiseLinearDiode, voltage):
    v, total = mpmath.mpf(voltage), mpmath.mpf(diode.leakage) * mpmath.mpf(voltage)
    for threshold, increment in zip(diode.thresholds, diode.increments, strict=True):
        t = mpmath.mpf(threshold) + mpmath.mpf(diode.offset)
        total += increment * (max(v - t, mpmath.mpf(0)) - max(-t, mpmath.mpf(0)))
    return total


EXACT = {"shockley": (SHOCKLEY, exact_shockley), "piecewise": (PIECEWISE, exact_piecewise)}

TAIL = -3 * 1.25 * THERMAL_VOLTAGE
NEAR_CORNERS = [corner + shift for corner in (TAIL, -0.5, 0.25, 0.375) for shift in (-1e-3, -1e-9, 0.0, 1e-9, 1e-3)]
voltages = st.sampled_from(NEAR_CORNERS) | st.floats(-1.5, 0.75)
changes = st.builds(lambda e, sign: sign * 10.0**e, st.floats(-15, 0), st.sampled_from([-1.0, 1.0]))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", EXACT)
@EXAMPLES
@given(voltage=voltages, change=changes)
def test_current_difference_keeps_its_relative_precision(kind, dtype, voltage, change):
    diode, exact = EXACT[kind]
    v, d = torch.tensor(voltage, dtype=dtype), torch.tensor(change, dtype=dtype)
    truth = exact(diode, mpmath.mpf(v.item()) + mpmath.mpf(d.item())) - exact(diode, v.item())
    assert diode.current_difference(v, d).dtype == dtype
    assert diode.current_difference(v, d).item() == pytest.approx(float(truth), rel=FLOATS[dtype], abs=0)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", EXACT)
@EXAMPLES
@given(voltage=voltages)
def test_current_and_conductance(kind, dtype, voltage):
    diode, exact = EXACT[kind]
    v = torch.tensor(voltage, dtype=dtype)
    current, conductance = diode.current(v).item(), diode.conductance(v).item()
    assert current == pytest.approx(float(exact(diode, v.item())), rel=FLOATS[dtype], abs=FLOATS[dtype] * 2.0**-20)
    slope = mpmath.diff(lambda x: exact(diode, x), v.item(), direction=1, h=mpmath.mpf(10) ** -25)
    assert conductance == pytest.approx(float(slope), rel=FLOATS[dtype], abs=0)


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("voltage", [-2.0, -0.5, -0.11, -1e-3, 0.0, 0.2, 0.3, 0.6])
def test_cocontent_is_the_integral_of_the_current(kind, voltage):
    diode, exact = EXACT[kind]
    corners = sorted({c for c in (TAIL, -0.5, 0.25, 0.375) if min(0, voltage) < c < max(0, voltage)})
    ends = [0.0, *(corners if voltage > 0 else corners[::-1]), voltage]
    truth = sum(quad(lambda v: float(exact(diode, v)), a, b, epsabs=0, epsrel=1e-12)[0] for a, b in pairwise(ends))
    found = diode.cocontent(torch.tensor(voltage, dtype=torch.float64)).item()
    assert found == pytest.approx(truth, rel=1e-11, abs=1e-30)


def test_tail_meets_the_exponential_smoothly():
    v = torch.tensor([TAIL * (1 - 1e-12), TAIL * (1 + 1e-12)], dtype=torch.float64)
    for quantity in (SHOCKLEY.current, SHOCKLEY.conductance, SHOCKLEY.cocontent):
        below, above = quantity(v).tolist()
        assert below == pytest.approx(above, rel=1e-11)


@pytest.mark.parametrize("dtype", FLOATS)
def test_extreme_voltages_stay_finite_in_reverse(dtype):
    v = torch.tensor([-1e3, -30.0, -1.0], dtype=dtype)
    for quantity in (SHOCKLEY.current, SHOCKLEY.conductance, SHOCKLEY.cocontent):
        assert torch.isfinite(quantity(v)).all()
    assert SHOCKLEY.current(v).tolist() == pytest.approx([float(exact_shockley(SHOCKLEY, x)) for x in v.tolist()])


def per_element(dtype):
    """Three different diodes in one, and each of them alone."""
    saturation, ideality = [2.0**-40, 2.0**-30, 2.0**-20], [1.0, 1.25, 1.75]
    stacked = ShockleyDiode(torch.tensor(saturation, dtype=dtype), torch.tensor(ideality, dtype=dtype))
    return stacked, [ShockleyDiode(s, n) for s, n in zip(saturation, ideality, strict=True)]


@pytest.mark.parametrize("dtype", FLOATS)
def test_per_element_parameters_broadcast_over_the_batch(dtype):
    stacked, singles = per_element(dtype)
    random = torch.Generator().manual_seed(0)
    v = torch.empty(4, 2, 3, dtype=dtype).uniform_(-0.5, 0.5, generator=random)
    d = 10 ** torch.empty(4, 2, 3, dtype=dtype).uniform_(-12, -1, generator=random)
    difference = stacked.current_difference(v, d)
    assert difference.shape == v.shape
    for element, single in enumerate(singles):
        for index in np.ndindex(4, 2):
            at, step = (mpmath.mpf(t[(*index, element)].item()) for t in (v, d))
            truth = exact_shockley(single, at + step) - exact_shockley(single, at)
            assert difference[(*index, element)].item() == pytest.approx(float(truth), rel=FLOATS[dtype], abs=0)
    assert torch.equal(stacked.current(v)[..., 1], stacked.select(slice(1, 2)).current(v[..., 1:2])[..., 0])


@pytest.mark.parametrize("diode", [SHOCKLEY, PIECEWISE, ShockleyDiode(1e-9, series_resistance=50.0)])
def test_elements_in_parallel_share_the_voltage(diode):
    voltage = torch.linspace(-1.0, 0.7, 35, dtype=torch.float64)
    torch.testing.assert_close(
        diode.in_parallel(7.5).current(voltage), 7.5 * diode.current(voltage), rtol=1e-11, atol=1e-24
    )


@pytest.mark.parametrize("dtype", FLOATS)
def test_loaded_junction_against_root_finding_over_all_orders(dtype):
    """From loads that short the junction to reverse currents far beyond the drive; both precisions hold the problem."""
    diode, drives = ShockleyDiode(2.0**-30, gmin=0.0), [s * 2.0**e for e in range(-50, 11, 6) for s in (-1, 0, 1)]
    loads = [2.0**e for e in range(-60, 3, 2)]
    total, drive = (torch.tensor(values, dtype=dtype) for values in zip(*product(loads, drives), strict=True))
    found = diode.solve_loaded(total, drive).double()
    for g, i, voltage in zip(total.tolist(), drive.tolist(), found.tolist(), strict=True):
        low = 0.0 if i > 0 else -1.001 * (abs(i) + 2.0**-29) / g
        high = 0.0 if i <= 0 else 1.001 * THERMAL_VOLTAGE * math.log1p(i / 2.0**-30)
        truth = brentq(lambda v, g=g, i=i: g * v + exact_current(v, 2.0**-30) - i, low, high, xtol=1e-300)
        assert voltage == pytest.approx(truth, rel=2 * FLOATS[dtype], abs=1e-14)


def test_expand_select_and_to():
    stacked, singles = per_element(torch.float64)
    v = torch.linspace(-0.4, 0.4, 3, dtype=torch.float64)
    torch.testing.assert_close(stacked.expand(3).current(v), stacked.current(v), rtol=1e-13, atol=0)
    torch.testing.assert_close(singles[0].expand(3).current(v), singles[0].current(v), rtol=1e-13, atol=0)
    assert stacked.select(torch.tensor([2])).current(v[2:]).item() == pytest.approx(stacked.current(v)[2].item())
    assert stacked.to(torch.zeros(1)).current(v.float()).dtype == torch.float32
    shifted = PiecewiseLinearDiode((0.25,), (1e-3,), offset=torch.tensor([0.0, 0.125], dtype=torch.float64))
    assert shifted.current(torch.tensor([0.5, 0.5], dtype=torch.float64)).tolist() == pytest.approx([2.5e-4, 1.25e-4])
    assert shifted.expand(2).current_difference(v[:2], v[:2]).shape == (2,)


@pytest.mark.parametrize("resistance", [1.0, 2e3, 1e6])
@pytest.mark.parametrize("voltage", [-1.0, -0.05, 1e-9, 0.3, 0.7, 5.0])
def test_series_resistance_against_root_finding(resistance, voltage):
    diode = ShockleyDiode(1e-9, 1.5, series_resistance=resistance)
    bare = ShockleyDiode(1e-9, 1.5)
    v = torch.tensor(voltage, dtype=torch.float64)
    low, high = min(0.0, voltage), max(0.0, voltage)
    junction = brentq(
        lambda j: float(j + resistance * exact_shockley(bare, j) - voltage),
        low,
        high,
        xtol=1e-300,
        rtol=np.float64(1e-15),
    )
    assert diode.junction_voltage(v).item() == pytest.approx(junction, rel=1e-13)
    assert diode.current(v).item() == pytest.approx(float(exact_shockley(bare, junction)), rel=3e-12)
    slope = float(mpmath.diff(lambda x: exact_shockley(bare, x), junction))
    assert diode.conductance(v).item() == pytest.approx(1 / (resistance + 1 / slope), rel=3e-12)
    content = quad(lambda j: float(exact_shockley(bare, j)), 0, junction, epsrel=1e-12, epsabs=0, limit=200)[0]
    content += 0.5 * resistance * float(exact_shockley(bare, junction)) ** 2
    assert diode.cocontent(v).item() == pytest.approx(content, rel=1e-10)


def test_series_resistance_against_lambert_w():
    # With gmin 0 and above the tail, i = (n V_t / R) W(I_S R / n V_t · exp((v + I_S R)/n V_t)) − I_S.
    resistance, saturation, vte = 50.0, 1e-9, 1.5 * THERMAL_VOLTAGE
    diode = ShockleyDiode(saturation, 1.5, series_resistance=resistance, gmin=0.0)
    v = torch.linspace(0.05, 0.8, 16, dtype=torch.float64)
    argument = saturation * resistance / vte * np.exp((v.numpy() + saturation * resistance) / vte)
    truth = vte / resistance * lambertw(argument).real - saturation
    np.testing.assert_allclose(diode.current(v).numpy(), truth, rtol=1e-12)


@pytest.mark.parametrize("change", [1e-15, -1e-9, 1e-3, 0.4, -0.8])
@pytest.mark.parametrize("voltage", [-0.5, -0.1, 0.2, 0.6])
def test_series_resistance_keeps_small_differences(voltage, change):
    diode, bare = ShockleyDiode(1e-9, 1.5, series_resistance=2e3), ShockleyDiode(1e-9, 1.5)

    def current(v):
        low, high = min(float(v), 0.0), max(float(v), 0.0)
        near = brentq(lambda j: float(j + 2000 * exact_shockley(bare, j) - v), low, high)
        root = mpmath.findroot(lambda j: j + 2000 * exact_shockley(bare, j) - v, near, tol=1e-60)
        return exact_shockley(bare, root)

    v, d = (torch.tensor(x, dtype=torch.float64) for x in (voltage, change))
    truth = current(mpmath.mpf(voltage) + mpmath.mpf(change)) - current(mpmath.mpf(voltage))
    assert diode.current_difference(v, d).item() == pytest.approx(float(truth), rel=1e-12, abs=0)


@pytest.mark.ngspice
@pytest.mark.parametrize(("celsius", "ideality", "gap"), [(50.0, 1.3, 1.11), (-20.0, 1.0, 1.11), (85.0, 2.0, 0.69)])
def test_temperature_against_ngspice(tmp_path, celsius, ideality, gap):
    deck = tmp_path / "diode.cir"
    deck.write_text(
        f"""a diode on a source
V1 a 0 0
D1 a 0 m
.model m D(IS=1e-9 N={ideality} EG={gap} XTI=3 TNOM=27)
.options temp={celsius} tnom=27 gmin=1e-15 reltol=1e-9 abstol=1e-20
.control
set numdgt=14
dc v1 -0.5 0.6 0.1
print -i(v1)
quit 0
.endc
.end
"""
    )
    printed = run_plain(deck)
    diode = ShockleyDiode(1e-9, ideality, temperature=celsius + 273.15, energy_gap=gap)
    current = diode.current(torch.from_numpy(printed["v-sweep"]))
    # Below its abstol ngspice may stop early.
    np.testing.assert_allclose(current.numpy(), printed["-i(v1)"], rtol=2e-12, atol=1e-20)


def test_temperature_may_differ_by_element():
    kelvin = [280.0, 300.15, 350.0]
    stacked = ShockleyDiode(1e-12, 1.2, temperature=torch.tensor(kelvin, dtype=torch.float64))
    v = torch.full((3,), 0.3, dtype=torch.float64)
    alone = [ShockleyDiode(1e-12, 1.2, temperature=k).current(v[:1]).item() for k in kelvin]
    assert stacked.current(v).tolist() == pytest.approx(alone, rel=1e-13)
    assert alone[0] < alone[1] < alone[2]


def test_from_points_passes_through_the_points():
    voltages, currents = [-1.0, -0.2, 0.1, 0.3, 0.35, 0.6], [-2e-6, -1e-6, 0.0, 1e-5, 1e-4, 1e-4]
    diode = PiecewiseLinearDiode.from_points(voltages, currents)
    v = torch.tensor(voltages, dtype=torch.float64)
    at_zero = np.interp(0.0, voltages, currents)
    np.testing.assert_allclose(diode.current(v).numpy(), np.array(currents) - at_zero, rtol=1e-12, atol=1e-18)
    assert diode.current(torch.zeros(1, dtype=torch.float64)).item() == 0.0
    beyond = diode.current(torch.tensor([-2.0, 1.0], dtype=torch.float64)) + at_zero
    np.testing.assert_allclose(beyond.numpy(), [-2e-6 - 1.25e-6, 1e-4], rtol=1e-12)


def test_slopes_of_measured_points_are_those_between_them():
    diode = PiecewiseLinearDiode.from_points([-1.0, 0.0, 0.3, 1.0], [-1e-9, 0.0, 1e-3, 1e-3 + 1e-9])
    v = torch.tensor([-0.5, 0.1, 0.5], dtype=torch.float64)
    slopes = [1e-9, 1e-3 / 0.3, 1e-9 / 0.7]
    # Slopes add up from the first, so that a small one after a large one carries the rounding of the large one.
    np.testing.assert_allclose(diode.conductance(v).numpy(), slopes, rtol=1e-14, atol=5e-16 * slopes[1])


def test_slope_at_a_kink_is_the_one_to_the_right():
    v = torch.tensor([0.25, math.nextafter(0.25, 0.0)], dtype=torch.float64)
    right, left = PIECEWISE.conductance(v).tolist()
    assert (right, left) == (2.0**-30 + 2.0**-20 + 2.0**-12, 2.0**-30 + 2.0**-20)


@pytest.mark.parametrize("diode", [SHOCKLEY, PIECEWISE, ShockleyDiode(series_resistance=1e3)])
def test_voltage_estimate_is_near_where_the_current_flows(diode: Diode):
    current = torch.logspace(-9, -4, 6, dtype=torch.float64)
    estimate = diode.voltage_estimate(current)
    ratio = diode.current(estimate) / current
    if isinstance(diode, ShockleyDiode):
        assert ((ratio > 0.5) & (ratio < 2)).all()
    assert torch.isfinite(estimate).all()


def test_ideal_diode_names_its_spice_model():
    diode = IdealDiode(on_conductance=0.5, forward_voltage=0.25)
    v = torch.tensor([0.0, 0.25, 0.5], dtype=torch.float64)
    assert diode.stand_in(1e-3).current(v).tolist() == [0.0, 0.0, 0.125]


@pytest.mark.parametrize(("siemens", "slope"), [(1e-3, 1e3), (1.1e-3, 1e4), (0.07, 1e5)])
def test_an_ideal_diode_without_a_slope_takes_the_power_of_ten_from_a_million_times_the_node_on(siemens, slope):
    assert IdealDiode().stand_in(siemens).increments == (slope,)


def test_defaults_are_those_of_spice():
    assert (ShockleyDiode().saturation_current, ShockleyDiode().gmin) == (1e-14, SIMULATION_GMIN)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda: ShockleyDiode(saturation_current=0.0),
            "ShockleyDiode: saturation_current must be positive, found 0.0",
        ),
        (lambda: ShockleyDiode(ideality=-1.0), "ShockleyDiode: ideality must be positive, found -1.0"),
        (lambda: ShockleyDiode(temperature=0.0), "ShockleyDiode: temperature must be positive, found 0.0"),
        (
            lambda: ShockleyDiode(series_resistance=-5.0),
            "ShockleyDiode: series_resistance must not be negative, found -5.0",
        ),
        (lambda: ShockleyDiode(gmin=-1e-12), "ShockleyDiode: gmin must not be negative, found -1e-12"),
        (lambda: ShockleyDiode(energy_gap=math.nan), "ShockleyDiode: energy_gap must be finite, found nan"),
        (
            lambda: ShockleyDiode(torch.tensor([1e-9, -1e-9])),
            r"ShockleyDiode: saturation_current must be positive, found tensor\(\[ 1.0000e-09, -1.0000e-09\]\)",
        ),
        (
            lambda: ShockleyDiode(nominal_temperature=-1.0),
            "ShockleyDiode: nominal_temperature must be positive, found -1.0",
        ),
        (lambda: PiecewiseLinearDiode((), ()), "PiecewiseLinearDiode: at least one threshold is needed, found none"),
        (
            lambda: PiecewiseLinearDiode((0.1, 0.2), (1.0,)),
            "PiecewiseLinearDiode: thresholds and increments must have one length, found 2 and 1",
        ),
        (
            lambda: PiecewiseLinearDiode((0.2, 0.2), (1.0, 1.0)),
            r"PiecewiseLinearDiode: thresholds must increase, found \(0.2, 0.2\)",
        ),
        (
            lambda: PiecewiseLinearDiode((0.2,), (1.0,), leakage=-1e-9),
            "PiecewiseLinearDiode: leakage must not be negative, found -1e-09",
        ),
        (
            lambda: PiecewiseLinearDiode((0.2,), (-1.0,), leakage=0.5),
            r"PiecewiseLinearDiode: every slope must be at least 0, found increments \(-1.0,\) on leakage 0.5",
        ),
        (lambda: PiecewiseLinearDiode((0.2,), (math.inf,)), "PiecewiseLinearDiode: increments must be finite, found"),
        (
            lambda: PiecewiseLinearDiode((0.2,), (1.0,), offset=math.nan),
            "PiecewiseLinearDiode: offset must be finite, found nan",
        ),
        (
            lambda: PiecewiseLinearDiode.from_points([0.0, 1.0], [0.0, 1.0]),
            "from_points needs at least 3 points, found 2 and 2",
        ),
        (
            lambda: PiecewiseLinearDiode.from_points([0.0, 1.0, 1.0], [0.0, 1.0, 2.0]),
            r"from_points: voltages must increase, found \[0.0, 1.0, 1.0\]",
        ),
        (
            lambda: PiecewiseLinearDiode.from_points([0.5, 1.0, 1.5], [0.0, 1.0, 2.0]),
            "from_points: 0 must lie within the voltages, found 0.5 to 1.5",
        ),
        (
            lambda: PiecewiseLinearDiode.from_points([-1.0, 0.0, 1.0], [0.0, 1.0, 0.5]),
            r"from_points: currents must not decrease, found \[0.0, 1.0, 0.5\]",
        ),
        (lambda: IdealDiode(on_conductance=0.0), "IdealDiode: on_conductance must be positive, found 0.0"),
        (lambda: IdealDiode(forward_voltage=math.inf), "IdealDiode: forward_voltage must be finite, found inf"),
    ],
)
def test_errors_say_what_must_hold(build, words):
    with pytest.raises(DeviceParameterError, match=words):
        build()


@pytest.mark.parametrize("size", [1e-14, 1e-9, 1.0, 1e6])
def test_a_root_of_any_size_has_all_its_digits(size):
    # expm1(x/size) = 1 at size · ln 2.
    start = torch.tensor([0.0, 0.5 * size, 2.0 * size], dtype=torch.float64)
    scale = torch.full_like(start, math.exp(-2) / size)
    root = bracketed_newton(start, lambda x: torch.expm1(x / size) - 1, lambda x: torch.exp(x / size) / size, scale)
    torch.testing.assert_close(root, torch.full_like(root, size * math.log(2)), rtol=4e-16, atol=0)
