"""What a law of a user's own must not say: each contradiction, wrong shape and overflow is one line that names it."""

import re
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from own_kinds import Batteries, CubicDiode, SquareLawTransistors, SteepnessOfCubicDiode
from test_own_kinds import FACTOR, GATES, THRESHOLD, SteepVaristor, varistor, with_law

from analog_ep import Newton, ResistiveNetwork, solve
from analog_ep.analyses.corners import corners
from analog_ep.analyses.power import branch_power
from analog_ep.circuit import (
    Capacitors,
    Chip,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentLaw,
    CurrentSources,
    Diodes,
    check_circuit,
    circuit_energy,
)
from analog_ep.circuit.law_check import check_law
from analog_ep.circuit.noise import johnson_currents, shot_currents, unknown_to_spice
from analog_ep.designs.vendor_diode import VendorDiode
from analog_ep.devices import Diode, IdealDiode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.devices.agreement import require_agreement
from analog_ep.devices.diode_check import _law as diode_law
from analog_ep.devices.diode_check import require_sound
from analog_ep.devices.tried import MOST, Tried
from analog_ep.errors import AnalogEPError, CircuitError, DeviceParameterError

HERE = r"\(.*test_own_laws.py:\d+\)"


def refused(use) -> str:
    """The one line with which something is refused."""
    with pytest.raises(AnalogEPError) as caught:
        use()
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Falling(CubicDiode):
    """Falls between 0.1 and 0.2 V only, by a slope and a co-content that are the current's own."""

    def current(self, voltage):
        return super().current(voltage) - 2e-4 * _hat(voltage)

    def conductance(self, voltage):
        return super().conductance(voltage) - 2e-4 * _hat_slope(voltage)

    def cocontent(self, voltage):
        return super().cocontent(voltage) - 2e-4 * _hat_area(voltage)

    def current_difference(self, voltage, change):
        return self.current(voltage + change) - self.current(voltage)


def _hat(v):
    inside = torch.clamp((v - 0.1) / 0.1, 0, 1)
    return torch.sin(torch.pi / 2 * inside) ** 2


def _hat_slope(v):
    inside = (v - 0.1) / 0.1
    slope = torch.sin(torch.pi * inside) * torch.pi / 2 / 0.1
    return torch.where((inside > 0) & (inside < 1), slope, 0.0)


def _hat_area(v):
    inside = torch.clamp((v - 0.1) / 0.1, 0, 1)
    ramp = 0.1 * (inside / 2 - torch.sin(torch.pi * inside) / (2 * torch.pi))
    return ramp + torch.clamp(v - 0.2, min=0)


class NaiveDifference(CubicDiode):
    def current_difference(self, voltage, change):
        return self.current(voltage + change) - self.current(voltage)


class WrongDifference(CubicDiode):
    def current_difference(self, voltage, change):
        return change * self.conductance(voltage)


class Mixing(CubicDiode):
    def current(self, voltage):
        return super().current(voltage) + 0 * voltage.mean() + 1e-9 * (voltage - voltage.mean(0))


class ScalarCurrent(CubicDiode):
    def current(self, voltage):
        return super().current(voltage).sum()


class FlatSlope(CubicDiode):
    def conductance(self, voltage):
        return super().conductance(voltage)[..., :1]


class SinglePrecision(CubicDiode):
    def current(self, voltage):
        return super().current(voltage).float()


class Shifted(CubicDiode):
    def cocontent(self, voltage):
        return super().cocontent(voltage) + 1e-3


class TwiceParallel(CubicDiode):
    def in_parallel(self, count):
        return replace(self, linear=self.linear * count)


class NoEstimate(CubicDiode):
    def voltage_estimate(self, current):
        return torch.log(-current)


class Unsteady(SteepnessOfCubicDiode):
    def steepness(self):
        return 1.0, 0.0


class Overflowing(CubicDiode):
    def current(self, voltage):
        return 1e-12 * torch.expm1(voltage / 1e-3)

    def conductance(self, voltage):
        return 1e-9 * torch.exp(voltage / 1e-3)


class MethodGrowth(SteepVaristor):
    def growth_voltage(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.volts


class Growing(SteepVaristor):
    @property
    def growth_voltage(self):
        return self.volts


WRONG = {
    Falling: r"must not let the current fall while the voltage rises, found \S+ A at 0\.\d+ V and",
    NaiveDifference: r"must agree with itself, found a current_difference of .* by 1e-15 V where the slope gives",
    WrongDifference: r"must agree with itself, found a current_difference of .* where the current gives",
    Mixing: "must be one of each element alone, found current to mix states of a batch",
    ScalarCurrent: r"must give an array of shape \(\d, \d\), found current to give \(\)",
    FlatSlope: r"must give an array of shape \(\d+, \d\) or \(\d,\), found \w+ to give \(\d+, 1\)",
    SinglePrecision: "must give numbers of float64, found current to give float32",
    Shifted: "must have a co-content of 0 at 0 V, from where it is integrated, found 0.001 W",
    TwiceParallel: "must be 2 times as large for 2 in parallel, found in_parallel to give",
    NoEstimate: "must give a voltage_estimate, found no number at",
    Unsteady: r"must not be steeper than its steepness says, di/dv ≤ \|i\|/V \+ g, found that it is at",
    Overflowing: "must be finite where it is tried, found current to give inf at .* say by growth_voltages? how fast",
}


@pytest.mark.parametrize("kind", WRONG, ids=lambda kind: kind.__name__)
def test_a_diode_that_contradicts_itself_is_refused_where_it_is_first_used(kind):
    said = f"the law of {kind.__name__} {HERE} {WRONG[kind]}"
    layered = refused(lambda: ResistiveNetwork([3, 4, 2], diode=kind()))
    assert re.match(said, layered), layered
    in_circuit = refused(lambda: solve(common(kind()), GATES[:, :0], solver=Newton()))
    assert re.match(f"d: {said}", in_circuit), in_circuit


def common(device: Diode) -> Circuit:
    """Three such diodes, so that a wrong shape shows."""
    builder = CircuitBuilder("three")
    nodes = builder.add_nodes(["a", "b", "c"])
    builder.add(Batteries("cell", nodes[:1], 0, 1.0))
    builder.add(Conductances("r", nodes, np.roll(nodes, 1), [1e-3, 2e-3, 3e-3]))
    builder.add(Diodes("d", nodes, [0, 0, 0], device))
    return builder.build()


@pytest.mark.parametrize(
    "device",
    [
        ShockleyDiode(),
        ShockleyDiode(1e-9, 1.7, series_resistance=50.0),
        ShockleyDiode(temperature=400.0),
        PiecewiseLinearDiode((0.1, 0.4), (1e-4, 1e-3), leakage=1e-9),
        PiecewiseLinearDiode((0.3,), (5e-4,), leakage=0.0),
        VendorDiode(2e-9, 1.8, breakdown_voltage=0.9, recombination_current=1e-8, knee_current=1e-3),
        VendorDiode(2e-9, 1.8, reverse_knee_current=1e-3),
        IdealDiode().stand_in(1e-3),
        PiecewiseLinearDiode((-0.5, 0.5), (-1e-3, 2e-3), leakage=1e-3, offset=0.1),  # 0 A between
        CubicDiode(),
        SteepnessOfCubicDiode(),
        Growing(0.01),
    ],
    ids=lambda device: type(device).__name__,
)
def test_diodes_that_agree_with_themselves_are_left_alone(device, monkeypatch):
    monkeypatch.setattr("analog_ep.devices.diode_check._AGREED", Tried())
    require_sound(device)
    require_sound(device.expand(4))


def test_a_fall_that_a_law_tells_of_is_allowed_and_no_other(monkeypatch):
    """The recombination of ngspice begins at −3 N V_t with a jump."""
    device = VendorDiode(2e-9, 1.8, recombination_current=1e-8)
    steps = torch.tensor([-3.0 - 1e-9, -3.0 + 1e-9], dtype=torch.float64) * 1.8 * device._thermal
    below, above = device.current(steps).tolist()
    assert below - above == pytest.approx(float(torch.as_tensor(device.fall)), rel=1e-6)
    monkeypatch.setattr(VendorDiode, "fall", property(lambda self: 0.5 * self.recombination_current))
    monkeypatch.setattr("analog_ep.devices.diode_check._AGREED", Tried())
    assert "must not let the current fall" in refused(lambda: require_sound(device))


def test_a_growth_voltage_that_is_a_method_is_one_line():
    for use in (
        lambda: ResistiveNetwork([3, 4, 2], diode=MethodGrowth()),
        lambda: check_circuit(common(MethodGrowth())),
    ):
        assert "must give growth_voltage as a number, found a method; put @property before its definition" in refused(
            use
        )


def test_a_growth_voltage_of_zero_is_one_line_whatever_was_used_before():
    check_circuit(common(Growing(0.2)))
    ResistiveNetwork([3, 4, 2], diode=Growing(0.2))
    for use in (lambda: ResistiveNetwork([3, 4, 2], diode=Growing(0.0)), lambda: check_circuit(common(Growing(0.0)))):
        assert "must have a positive growth_voltage, found 0.0 V at element 0" in refused(use)


def test_a_current_that_is_no_number_at_rest_is_one_line_whatever_was_used_before():
    check_circuit(common(SteepVaristor(0.2)))
    said = refused(lambda: check_circuit(common(SteepVaristor(0.0))))
    assert "d: the law of SteepVaristor" in said
    assert re.search(r"must be finite where it is tried, found current to give inf at \S+ V \(element 0\)", said)


def transistors(kind: type) -> Circuit:
    """Two transistors side by side, of one kind."""
    return with_law(kind("m", [3, 3], [0, 0], [2, 2], FACTOR, THRESHOLD))


class TransposedCurrent(SquareLawTransistors):
    def current(self, *volts):
        return np.asarray(super().current(*volts)).T


class OneSlope(SquareLawTransistors):
    def slopes(self, *volts):
        return tuple(slope[..., :1] for slope in super().slopes(*volts))


class OneControl(SquareLawTransistors):
    def controls(self):
        return ((self.gate[:1], self.source), (self.gate, self.drain))


class OneGrowth(SquareLawTransistors):
    def growth_voltages(self):
        return (np.full(len(self), 1.0),)


class SingleGrowth(SquareLawTransistors):
    def growth_voltages(self):
        return np.full(len(self), 1.0)


class LongConducts(SquareLawTransistors):
    def conducts(self):
        return np.zeros(len(self) + 1, dtype=bool)


class LongCondition(SquareLawTransistors):
    def condition(self):
        return np.ones(len(self) + 1)


class Raising(SquareLawTransistors):
    def current(self, *volts):
        return super().current(*volts) + np.ones(7)


class OnlyLinearInName(SquareLawTransistors):
    linear = True


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (TransposedCurrent, r"must give an array of shape \(4, 2\), found current to give \(2, 4\)"),
        (OneSlope, r"must give an array of shape \(\d+, 2\) or \(2,\), found slopes to give \(\d+, 1\)"),
        (
            OneControl,
            r"must give pairs of nodes of shape \(2,\) each, found controls to give shapes \[\(1,\), \(2,\)\]",
        ),
        (OneGrowth, "must give 2 growth_voltages, one for each control, found 1"),
        (SingleGrowth, "must give 2 growth_voltages, one for each control, found a ndarray"),
        (LongConducts, r"must give an array of shape \(2,\), found conducts to give \(3,\)"),
        (LongCondition, r"must give an array of shape \(2,\) or \(\), found condition to give \(3,\)"),
        (Raising, "must give numbers, found current to raise ValueError: operands could not be broadcast"),
        (OnlyLinearInName, "is said to be linear, found a current of .* leave `linear` out"),
    ],
)
def test_a_kind_that_gives_something_else_is_named_with_its_method(kind, said):
    found = refused(lambda: solve(transistors(kind), GATES, solver=Newton()))
    assert re.match(f"m: .*{kind.__name__}.* {said}", found), found


def test_a_kind_that_one_element_could_not_show_is_looked_at_again():
    class First(SquareLawTransistors):
        def slopes(self, *volts):
            return tuple(slope[..., :1] for slope in super().slopes(*volts))

    check_circuit(with_law(First("m", 3, 0, 2, FACTOR, THRESHOLD)))
    assert "found slopes to give (16, 1)" in refused(lambda: check_circuit(transistors(First)))


class WrongNoise(SquareLawTransistors):
    def noise_density(self, kelvin, *volts):
        return np.array([1e-24])


class NegativeNoise(SquareLawTransistors):
    def noise_density(self, kelvin, *volts):
        return np.array([1e-24, -1e-24])


class NoiseForSpice(SquareLawTransistors):
    def noise_density(self, kelvin, *volts):
        return np.full(len(self), 1e-24)

    def noise_in_spice(self, *volts):
        return np.zeros((1, len(self)))


def test_noise_of_another_shape_is_refused():
    volts = np.zeros(4)
    cases = [
        (shot_currents, WrongNoise, "must give an array of shape (2,), found noise_density to give (1,)"),
        (shot_currents, NegativeNoise, "noise must be finite and not negative, found -1e-24 A²/Hz by noise_density"),
        (unknown_to_spice, NoiseForSpice, "must give an array of shape (2,), found noise_in_spice to give (1, 2)"),
    ]
    for currents, kind, said in cases:
        found = refused(lambda currents=currents, kind=kind: currents(transistors(kind), volts))
        assert found.startswith("m: ")
        assert said in found


class WrongSource(CurrentSources):
    def current(self, *volts):
        return self.amperes.sum()


class WrongCapacitors(Capacitors):
    def capacitances(self):
        return self.farads[:1]


class WrongBatteries(Batteries):
    def rows(self):
        return replace(super().rows(), volts=np.ones(1))


class WrongStages(Batteries):
    def stages(self):
        return np.zeros(1, int)


def loaded(group) -> Circuit:
    builder = CircuitBuilder("loaded")
    nodes = builder.add_nodes(["a", "b"])
    builder.add(Conductances("r", nodes, [0, 0], 1e-3))
    builder.add(group(nodes))
    return builder.build()


@pytest.mark.parametrize(
    ("group", "said"),
    [
        (lambda n: WrongSource("i", n, [0, 0], 1e-3), r"shape \(2,\), found current to give \(\)"),
        (lambda n: WrongCapacitors("i", n, [0, 0], 1e-12), r"shape \(2,\), found capacitances to give \(1,\)"),
        (
            lambda n: WrongBatteries("i", n, [0, 0], 1.0),
            r"WrongBatteries .* found volts of shape \(1,\) beside positive",
        ),
        (lambda n: WrongStages("i", n, [0, 0], 1.0), r"shape \(2,\), found stages to give \(1,\)"),
    ],
)
def test_sources_and_capacitors_of_another_shape_are_refused(group, said):
    found = refused(lambda: check_circuit(loaded(group)))
    assert re.match(f"i: .*{said}", found), found


def test_power_energy_and_noise_look_at_laws_that_no_solver_has_seen():
    class Unseen(ScalarCurrent):
        pass

    circuit, volts = common(Unseen()), np.zeros((1, 4))
    for use in (
        lambda: branch_power(circuit, volts),
        lambda: circuit_energy(circuit, volts),
        lambda: johnson_currents(circuit),
    ):
        assert "found current to give ()" in refused(use)


class Shrinking(SquareLawTransistors):
    def at_corner(self, kelvin, conductance_scale, saturation_scale):
        return self.select(np.zeros(1, int))


def test_a_corner_with_other_elements_is_refused():
    said = refused(lambda: corners(transistors(Shrinking), GATES, solver=Newton(), celsius=(0.0,)))
    assert "m: Shrinking must give its own 2 elements, found at_corner to give 1 called 'm'" in said


class OddParameters(SquareLawTransistors):
    def parameters(self):
        return {"factor": self.factor[:1]}


class OddPlaces(SquareLawTransistors):
    def places(self):
        return np.zeros(1, int)


@pytest.mark.parametrize(("kind", "method"), [(OddParameters, "parameters"), (OddPlaces, "places")])
def test_a_chip_of_parameters_of_another_shape_is_refused(kind, method):
    circuit = transistors(kind)

    def use():
        Chip.draw(circuit, 0, factor=0.1).apply(circuit)

    assert re.match(rf"m: .* must give an array of shape \(2,\), found {method} to give \(1,\)", refused(use))


def test_errors_of_a_device_are_its_own_and_of_a_circuit_name_the_group():
    class Once(ScalarCurrent):
        pass

    with pytest.raises(DeviceParameterError, match=r"^the law of Once"):
        Once().clamp(0.0)
    with pytest.raises(CircuitError, match=r"^d: the law of Once"):
        check_circuit(varistor_of(Once()))


def varistor_of(device: Diode) -> Circuit:
    return varistor(device)  # pyright: ignore[reportArgumentType]


def with_threshold(fault: str) -> Diode:
    """A current that nothing shows below some volts: 1 mA (v/5 V)^20 beside 1 µS, with a fault beyond the threshold."""

    @dataclass(frozen=True)
    class Varistor(Diode):
        volts: float = 5.0
        siemens: float = 1e-6

        def current(self, voltage: torch.Tensor) -> torch.Tensor:
            sign = 1.0 if fault == "sign" else torch.sign(voltage)
            return 1e-3 * sign * (voltage.abs() / self.volts) ** 20 + self.siemens * voltage

        def conductance(self, voltage: torch.Tensor) -> torch.Tensor:
            power = 1 if fault == "slope" else 20
            return 1e-3 * power / self.volts * (voltage.abs() / self.volts) ** 19 + self.siemens

        def cocontent(self, voltage: torch.Tensor) -> torch.Tensor:
            power = 20 if fault == "content" else 21
            share = (voltage.abs() / self.volts) ** 21 / power
            return 1e-3 * self.volts * share + self.siemens * voltage.square() / 2

        def current_difference(self, voltage: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
            a, b = voltage / self.volts, (voltage + change) / self.volts
            # Σ a^k b^(19−k), times b − a, where both have one sign.
            terms = torch.stack([a.abs() ** k * b.abs() ** (19 - k) for k in range(20)]).sum(0)
            apart = torch.sign(b) * b.abs() ** 20 - torch.sign(a) * a.abs() ** 20
            return 1e-3 * torch.where(a * b > 0, terms * change / self.volts, apart) + self.siemens * change

        def voltage_estimate(self, current: torch.Tensor) -> torch.Tensor:
            return self.volts * (current / 1e-3) ** 0.05

        def in_parallel(self, count: float) -> Diode:
            raise NotImplementedError

    return Varistor()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("slope", "a slope by control 0 of .* where the differences give"),
        ("sign", "a slope by control 0 of .* at -"),
        ("content", "must agree with differences of its co-content"),
    ],
)
def test_a_fault_beyond_a_threshold_is_seen(fault: str, words: str):
    with pytest.raises(DeviceParameterError, match=words):
        require_sound(with_threshold(fault))


def test_a_law_with_a_threshold_is_sound():
    require_sound(with_threshold(""))


def high_voltage_transistors(fault: str) -> SquareLawTransistors:
    """Two transistors with thresholds of 5 and 40 V beside a leakage, a fault far beyond them."""

    class HighVoltage(SquareLawTransistors):
        def current(self, *volts):
            sign = -1.0 if fault == "sign" else 1.0
            return sign * super().current(*volts) + 1e-9 * (volts[0] - volts[1])

        def slopes(self, *volts):
            forward, reverse = super().slopes(*volts)
            if fault == "reverse":
                reverse = 0.9 * reverse
            return (0.5 if fault == "forward" else 1.0) * forward + 1e-9, reverse - 1e-9

    return HighVoltage("m", [1, 2], 0, [3, 4], FACTOR, [5.0, 40.0])


@pytest.mark.parametrize("fault", ["sign", "forward", "reverse"])
def test_a_fault_beyond_the_threshold_of_a_law_of_several_voltages_is_seen(fault: str):
    assert re.search(
        "slope by control [01] of .* \\(element [01]\\)", refused(lambda: check_law(high_voltage_transistors(fault)))
    )


def test_transistors_with_high_thresholds_are_sound():
    check_law(high_voltage_transistors(""))


@dataclass(frozen=True, eq=False)
class OfEitherPolarity(SquareLawTransistors):
    """Whose slopes are right for one polarity alone."""

    polarity: int = 1

    def current(self, *volts):
        return self.polarity * super().current(*(self.polarity * v for v in volts))

    def slopes(self, *volts):
        forward, reverse = super().slopes(*(self.polarity * v for v in volts))
        return self.polarity * forward, self.polarity * reverse


def test_a_kind_of_ones_own_is_tried_for_other_values_too():
    """Each value of a parameter may be another law."""
    right = OfEitherPolarity("n", [1, 2], 0, [3, 4], FACTOR, THRESHOLD)
    check_law(right)
    assert "slope by control" in refused(lambda: check_law(replace(right, label="p", polarity=-1)))


def test_a_diode_of_ones_own_is_tried_for_other_values_too():
    class Switched(CubicDiode):
        def conductance(self, voltage):
            right = super().conductance(voltage)
            return torch.where(torch.as_tensor(self.cubic) < 0.1, right, 2 * right)

    require_sound(Switched())  # pyright: ignore[reportArgumentType]
    assert "must agree with differences" in refused(lambda: require_sound(Switched(cubic=0.2)))  # pyright: ignore[reportArgumentType]


def test_a_kind_that_learns_is_not_tried_without_end(monkeypatch):
    calls = []
    monkeypatch.setattr("analog_ep.devices.diode_check.require_agreement", lambda law: calls.append(law))

    class Learning(CubicDiode):
        pass

    for cubic in np.linspace(0.01, 0.02, 2 * MOST).tolist():
        require_sound(Learning(cubic=cubic))  # pyright: ignore[reportArgumentType]
    assert len(calls) == MOST


def in_triode(polarity: int, threshold: float, wrong: bool) -> CurrentLaw:
    """By gate and drain against the source; where it is wrong, the gate's slope is half of it in triode alone."""

    @dataclass(frozen=True, eq=False)
    class Triode(CurrentLaw):
        drain: Any
        source: Any
        gate: Any

        terminals: ClassVar[tuple[str, ...]] = ("drain", "source", "gate")

        def controls(self):
            return ((self.gate, self.source), (self.drain, self.source))

        def current(self, *volts):
            over, d = np.maximum(polarity * volts[0] - threshold, 0.0), polarity * volts[1]
            return polarity * 1e-4 * np.where(d < 0, 0.0, np.where(d < over, over * d - d**2 / 2, over**2 / 2))

        def slopes(self, *volts):
            over, d = np.maximum(polarity * volts[0] - threshold, 0.0), polarity * volts[1]
            by_gate = np.where(d < over, (0.5 if wrong else 1.0) * d, over)
            by_drain = np.where(d < over, over - d, 0.0)
            return 1e-4 * np.where(d < 0, 0.0, by_gate), 1e-4 * np.where(d < 0, 0.0, by_drain)

    return Triode("m", [1, 2], 0, [3, 4])


@pytest.mark.parametrize("polarity", [1, -1])
@pytest.mark.parametrize("threshold", [0.4, 5.0, 60.0])
def test_a_fault_in_triode_alone_is_seen(polarity: int, threshold: float):
    check_law(in_triode(polarity, threshold, wrong=False))
    assert "slope by control 0" in refused(lambda: check_law(in_triode(polarity, threshold, wrong=True)))


@pytest.mark.parametrize("fault", [False, True])
@pytest.mark.parametrize("bend", [lambda v: torch.clamp(v - 5, min=0), lambda v: torch.clamp(v, -2, 2) - v / 2])
def test_a_fault_beyond_a_slight_bend_is_seen(bend, fault: bool):
    class Bent(CubicDiode):
        def current(self, voltage):
            return 1e-3 * (voltage + bend(voltage))

        def conductance(self, voltage):
            near = voltage.detach() if not fault else voltage.detach().clamp(-1.9, 1.9)
            point = near.clone().requires_grad_()
            with torch.enable_grad():
                (slope,) = torch.autograd.grad((1e-3 * (point + bend(point))).sum(), point)
            return slope

        def cocontent(self, voltage):
            edges = torch.linspace(0, 1, 4001, dtype=torch.float64)
            points = self.current(voltage[..., None] * edges)
            return voltage * torch.trapezoid(points, edges, dim=-1)

        def current_difference(self, voltage, change):
            return self.current(voltage + change) - self.current(voltage)

        def in_parallel(self, count):
            raise NotImplementedError

    law = diode_law(Bent().expand(3))  # pyright: ignore[reportArgumentType]
    if fault:
        assert "slope by control 0" in refused(lambda: require_agreement(law))
    else:
        require_agreement(law)
