"""Noise of diodes and of warm resistors against equipartition and closed forms, and standard errors of estimates."""

# Branches take scalars and lists where the fields, once set, are arrays.
# pyright: reportArgumentType=false

import json
import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import mpmath
import numpy as np
import pytest
import torch
from own_kinds import SquareLawTransistors

from analog_ep.analyses.noise import output_noise
from analog_ep.analyses.transient_noise import TransientNoise, independent_samples, output_noise_over_time, with_error
from analog_ep.circuit import (
    Capacitors,
    Chip,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentLaw,
    Diodes,
    VoltageSources,
    johnson_currents,
    shot_currents,
)
from analog_ep.constants import BOLTZMANN, ELEMENTARY_CHARGE, thermal_voltage
from analog_ep.devices import Diode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.dynamics.linear_noise import LinearNoise
from analog_ep.errors import CircuitError, DeviceParameterError

OHMS, FARADS = 1e6, 1e-12


def beside(device: Diode | None, kelvin: float = 300.15, volts: float = 0.0) -> Circuit:
    """A diode beside 1 MΩ and 1 pF, all at one temperature and, at 0 V, at rest."""
    builder = CircuitBuilder("beside", temperature=kelvin)
    a, x = builder.add_nodes(["a", "x"]).tolist()
    builder.add(VoltageSources("v", x, 0, volts))
    builder.add(Conductances("r", x, a, 1 / OHMS))
    builder.add(Capacitors("c", a, 0, FARADS))
    if device is not None:
        builder.add_diodes("d", a, 0, device)
    builder.set_outputs(np.array([a]), np.array([0]))
    return builder.build()


def at(kelvin: float, ideality: float = 1.0, resistance: float = 0.0) -> ShockleyDiode:
    return ShockleyDiode(
        1e-6, ideality, kelvin, nominal_temperature=kelvin, series_resistance=torch.tensor(resistance).double()
    )


RESTING = {
    "junction": (at(300.15), 300.15),
    "hot": (at(400.0), 400.0),
    "emission": (at(300.15, 1.7), 300.15),
    "series": (at(300.15, 1.2, 3e4), 300.15),
    "leaking": (PiecewiseLinearDiode((0.3,), (1e-3,), leakage=1e-5), 300.15),
    "blocked": (PiecewiseLinearDiode((0.3,), (1e-3,)), 350.0),
    "conducting": (PiecewiseLinearDiode((-0.1,), (1e-5,)), 350.0),
    "resistor": (None, 400.0),
}


@pytest.mark.ngspice
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("case", RESTING)
def test_whatever_is_at_rest_has_kt_over_c(case, inside):
    device, kelvin = RESTING[case]
    circuit = beside(device, kelvin)
    if inside and device is not None:
        # The series resistance within the model, as a circuit that no builder has made may have it.
        (group,) = (
            g for g in beside(replace(device, series_resistance=0.0) if case == "series" else device).of_kind(Diodes)
        )
        circuit = beside(None, kelvin)
        circuit = circuit.with_groups([*circuit.groups, replace(group, device=device.expand(1))])
    found = output_noise(circuit, np.zeros(0))
    assert found.outputs[0] == pytest.approx(0.0, abs=1e-12)
    assert found.rms[0] == pytest.approx(math.sqrt(BOLTZMANN * kelvin / FARADS), rel=1e-3)


@pytest.mark.ngspice
def test_both_are_told_where_ngspice_differs():
    found = output_noise(beside(at(300.15)), np.zeros(0))
    # Of 1 MΩ alone, in parallel with the junction's slope.
    share = 1 / (1 + OHMS * 1e-6 / thermal_voltage())
    assert found.ngspice_rms[0] == pytest.approx(math.sqrt(BOLTZMANN * 300.15 / FARADS * share), rel=1e-3)
    assert found.ngspice_rms[0] == pytest.approx(10.2e-6, rel=5e-3)
    assert found.rms[0] == pytest.approx(64.4e-6, rel=1e-3)
    stored = json.loads(found.to_json())
    assert stored["ngspice_rms"] == found.ngspice_rms.tolist()
    assert stored["ngspice_density"][0][0] < 0.2 * stored["density"][0][0]
    resistor = output_noise(beside(None, 400.0), np.zeros(0))
    np.testing.assert_array_equal(resistor.density, resistor.ngspice_density)
    assert resistor.density[0, 0] == pytest.approx(math.sqrt(4 * BOLTZMANN * 400.0 * OHMS), rel=1e-6)


@pytest.mark.parametrize("ideality", [1.0, 1.8])
@pytest.mark.parametrize("kelvin", [200.0, 300.15, 400.0])
def test_a_junction_in_40_digits(kelvin, ideality):
    device = ShockleyDiode(1e-9, ideality, kelvin, nominal_temperature=kelvin, gmin=0.0)
    volts = [-2.9 * ideality * thermal_voltage(kelvin), -1e-3, -1e-9, 0.0, 1e-12, 1e-4, 0.05, 0.4]
    found = device.noise_density(torch.tensor(volts, dtype=torch.float64), 1.0)
    with mpmath.workdps(40):
        vt = mpmath.mpf(BOLTZMANN) * kelvin / mpmath.mpf(ELEMENTARY_CHARGE)
        for v, density in zip(volts, found.tolist(), strict=True):
            current = mpmath.mpf("1e-9") * mpmath.expm1(mpmath.mpf(v) / (ideality * vt))
            slope = mpmath.mpf("1e-9") / (ideality * vt)
            # Two streams i₊ − i₋ = i, in detailed balance; at rest Johnson's.
            forward = current / -mpmath.expm1(-v / vt) if v else 0
            expected = ELEMENTARY_CHARGE * (2 * forward - current) if v else 2 * BOLTZMANN * kelvin * slope
            assert density == pytest.approx(float(expected), rel=1e-12)
            if ideality == 1:
                assert density == pytest.approx(float(ELEMENTARY_CHARGE * (current + mpmath.mpf("2e-9"))), rel=1e-12)


def test_far_from_rest_it_is_shot_noise():
    for device, v, current in (
        (at(300.15), -1.0, 1e-6),
        (at(300.15, 1.8), 0.5, 1e-6 * math.expm1(0.5 / (1.8 * thermal_voltage()))),
        (PiecewiseLinearDiode((0.3,), (1e-3,), leakage=1e-9), 0.5, 0.2e-3 + 0.5e-9),
        (PiecewiseLinearDiode((0.3,), (1e-3,), leakage=1e-9), -2.0, 2e-9),
    ):
        found = device.noise_density(torch.tensor([v], dtype=torch.float64), 300.15)
        assert found.item() == pytest.approx(ELEMENTARY_CHARGE * current, rel=1e-4)


def test_each_diode_has_its_own_temperature_and_resistors_the_circuit_s():
    kelvin = torch.tensor([250.0, 350.0], dtype=torch.float64)
    builder = CircuitBuilder("two")
    nodes = builder.add_nodes(["a", "b"])
    builder.add(Conductances("r", nodes, 0, 1e-6))
    builder.add_diodes("d", nodes, 0, ShockleyDiode(1e-9, temperature=kelvin))
    circuit = builder.build()
    (group,) = circuit.of_kind(Diodes)
    slopes = group.device.conductance(torch.zeros(2, dtype=torch.float64))
    expected = 2 * BOLTZMANN * kelvin * slopes
    np.testing.assert_allclose(shot_currents(circuit, np.zeros(3)).density, expected.numpy(), rtol=1e-12)
    hot = Chip({}, temperature=400.0).apply(circuit)
    for system, warmth in ((circuit, 300.15), (hot, 400.0)):
        np.testing.assert_allclose(johnson_currents(system).density, 2 * BOLTZMANN * warmth * 1e-6, rtol=1e-12)


def test_a_warm_linear_circuit_has_its_own_equipartition():
    noise = LinearNoise(beside(None, 400.0), johnson_currents(beside(None, 400.0)))
    np.testing.assert_allclose(noise.covariance(), BOLTZMANN * 400.0 / FARADS, rtol=1e-9)
    np.testing.assert_allclose(noise.equipartition(), BOLTZMANN * 400.0 / FARADS, rtol=1e-12)


class QuietDiode(PiecewiseLinearDiode):
    """Someone's device, whose noise nobody has told."""

    noise_density = Diode.noise_density


@dataclass(frozen=True, eq=False)
class Shunts(CurrentLaw):
    """Someone's linear branches."""

    positive: Any
    negative: Any

    linear: ClassVar[bool] = True

    def current(self, *volts: np.ndarray) -> np.ndarray:
        return 1e-3 * volts[0]

    def slopes(self, *volts: np.ndarray) -> tuple[np.ndarray]:
        return (np.full(len(self), 1e-3),)


def test_what_is_not_known_is_refused():
    quiet = beside(QuietDiode((0.0,), (1e-3,)))
    with pytest.raises(
        DeviceParameterError, match="QuietDiode must say what noise its current has, found nothing said"
    ):
        shot_currents(quiet, np.zeros(3))
    with pytest.raises(DeviceParameterError, match="give the class a method noise_density"):
        output_noise(quiet, np.zeros(0))
    circuit = beside(None)
    transistors = circuit.with_groups([*circuit.groups, SquareLawTransistors("strange", 1, 0, 1, 1e-4, 0.3)])
    with pytest.raises(CircuitError, match="strange: the noise of SquareLawTransistors is not known; leave the group"):
        shot_currents(transistors, np.zeros(3))
    shunts = circuit.with_groups([*circuit.groups, Shunts("strange", 1, 0)])
    with pytest.raises(CircuitError, match="strange: the noise of Shunts is not known; leave the group out"):
        johnson_currents(shunts)


@pytest.mark.ngspice
@pytest.mark.parametrize("reduced", [False, True])
def test_a_resting_junction_over_time(reduced):
    circuit = beside(at(400.0), 400.0)
    tau = FARADS / (1 / OHMS + 1e-6 / thermal_voltage(400.0))
    found = output_noise_over_time(
        circuit, np.zeros(0), interval=tau / 5, samples=3000, burn_in=50, reduced=reduced, seed=2
    )
    held = math.tanh(0.1) / 0.1
    expected = math.sqrt(BOLTZMANN * 400.0 / FARADS * held)
    assert abs(found.rms[0] - expected) < 4 * found.standard_error[0]
    # ρ = e^(−k/5): one value in coth(1/5).
    assert found.independent_samples[0] == pytest.approx(3000 * math.tanh(0.2), rel=0.3)
    assert found.standard_error[0] == found.rms[0] / math.sqrt(2 * found.independent_samples[0])
    stored = json.loads(found.to_json())
    assert stored["standard_error"] == found.standard_error.tolist()
    assert found.table().row_count == 1


def test_standard_errors_are_what_repetition_shows():
    random, keep, n = np.random.default_rng(5), math.exp(-0.2), 1000
    steps = random.standard_normal((400, n)) * math.sqrt(1 - keep**2)
    values = np.empty((400, n))
    values[:, 0] = random.standard_normal(400)
    for k in range(1, n):
        values[:, k] = keep * values[:, k - 1] + steps[:, k]
    records = [TransientNoise(np.arange(n), row[:, None], row[None] @ row[:, None] / n) for row in values]
    found = np.array([record.rms[0] for record in records])
    told = np.array([record.standard_error[0] for record in records])
    # 3.5 % is one standard deviation of a standard deviation of 400.
    assert np.median(told) == pytest.approx(found.std(), rel=0.12)
    assert np.mean(np.abs(found - 1) < 2 * told) == pytest.approx(0.954, abs=0.04)
    assert independent_samples(values.ravel()) == pytest.approx(400 * n * math.tanh(0.2), rel=0.05)
    assert independent_samples(np.zeros(10)) == 10


def test_digits_are_those_that_the_error_bears():
    assert with_error(6.4371e-5, 2.34e-6) == "(6.4 ± 0.2)e-05"
    assert with_error(6.4371e-5, 1.34e-6) == "(6.44 ± 0.13)e-05"
    assert with_error(6.4371e-5, 9.7e-7) == "(6.44 ± 0.10)e-05"
    assert with_error(9.99e-6, 3e-8) == "(9.99 ± 0.03)e-06"
    assert with_error(2.0, 3.0) == "2e+00 ± 3e+00"
