"""What becomes of a circuit's outputs at other temperatures, supplies and process corners."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from rich.table import Table
from torch import Tensor

from analog_ep.circuit import Branches, Circuit, CurrentLaw
from analog_ep.constants import DEFAULT_TEMPERATURE, ZERO_CELSIUS
from analog_ep.equilibrium.equilibrium import Solver, solve
from analog_ep.errors import CircuitError, StimulusError
from analog_ep.spec import Spec
from analog_ep.support.shown import Tabled

_HOTTEST = 1700.0
"""Beyond what silicon bears. [°C]"""


@dataclass(frozen=True)
class ResistorsOverTemperature:
    """How conductances follow the temperature, against those of the circuit as it is described.

    Attributes
    ----------
    per_kelvin : float
        Relative change of the conductances per kelvin above 27 °C. [1/K]
    tc1, tc2 : float
        R(T) = R (1 + tc1 ΔT + tc2 ΔT²) of their resistances, as SPICE has it, ΔT from 27 °C. [1/K, 1/K²]
    wires : float
        Relative change of the resistances of wires per kelvin. [1/K]
    described : float
        Factor that the conductances as they are described have already.
    wires_described : float
        The same of the conductances of wires.
    """

    per_kelvin: float = 0.0
    tc1: float = 0.0
    tc2: float = 0.0
    wires: float = 0.0
    described: float = 1.0
    wires_described: float = 1.0

    @classmethod
    def of(cls, spec: Spec, kelvin: float, tc: tuple[float, float] | None = None) -> ResistorsOverTemperature:
        """As a spec says, whose chip is at `kelvin`; tc1 and tc2 in place of [chip] temperature_coefficient."""
        own = 0.0 if spec.chip is None else spec.chip.temperature_coefficient
        law = cls(per_kelvin=own, wires=0.0 if spec.wires is None else spec.wires.temperature_coefficient)
        there = {"described": law.cells_at(kelvin), "wires_described": law.wires_at(kelvin)}
        return replace(law, **there) if tc is None else replace(law, per_kelvin=0.0, tc1=tc[0], tc2=tc[1], **there)

    def cells_at(self, kelvin: float) -> float:
        """Factor on the conductances of resistors at a temperature [K].

        Raises
        ------
        StimulusError
            If none would be left.
        """
        change = kelvin - DEFAULT_TEMPERATURE
        resistance = 1 + self.tc1 * change + self.tc2 * change**2
        return self._positive(1 + self.per_kelvin * change, resistance, kelvin) / self.described

    def wires_at(self, kelvin: float) -> float:
        """The same of wires."""
        change = kelvin - DEFAULT_TEMPERATURE
        return self._positive(1.0, 1 + self.wires * change, kelvin) / self.wires_described

    def _positive(self, conductance: float, resistance: float, kelvin: float) -> float:
        for what, factor in (("conductances", conductance), ("resistances", resistance)):
            if not 0 < factor < float("inf"):
                raise StimulusError(
                    f"temperature coefficients must leave {what} positive, found a factor of {factor:.3g} at "
                    f"{kelvin - ZERO_CELSIUS:g} °C; give smaller ones"
                )
        return conductance / resistance

    def applied(self, circuit: Circuit, kelvin: float) -> Circuit:
        """The circuit with its resistors and wires at a temperature. [K]"""
        cells, wires = self.cells_at(kelvin), self.wires_at(kelvin)
        return replace(circuit, groups=tuple(group.with_resistances(cells, wires) for group in circuit.groups))


@dataclass(frozen=True)
class Corner:
    """One combination of conditions, and what it does.

    Attributes
    ----------
    celsius : float
        Temperature of the circuit and all its junctions. [°C]
    supply_scale : float
        Factor on all independent voltage sources: what converters drive the inputs with, biases, the rails of clamps.
    conductance_scale : float
        Factor on all conductances, against junctions that do not change with them.
    saturation_scale : float
        Factor on the junctions' saturation currents.
    largest_change : float
        Largest change of an output against the circuit as it is described. [V]
    same_class : float
        Share of the samples whose largest output stays the same.
    accuracy : float or None
        Share of the samples whose largest output is their class; None where they have none.
    """

    celsius: float
    conductance_scale: float
    saturation_scale: float
    largest_change: float
    same_class: float
    supply_scale: float = 1.0
    accuracy: float | None = None


@dataclass(frozen=True)
class Corners(Tabled):
    """All corners that were looked at.

    Attributes
    ----------
    corners : tuple of Corner
        One for each combination.
    unchanged : tuple of str
        Labels of nonlinear elements that stay as described at every corner, since their device does not tell how it
        depends on temperature and process.
    samples : int
        How many were solved at each corner.
    """

    corners: tuple[Corner, ...]
    unchanged: tuple[str, ...] = ()
    samples: int = 1

    def to_json(self) -> str:
        """The figures as a JSON object."""
        found = [asdict(corner) for corner in self.corners]
        return json.dumps({"samples": self.samples, "corners": found, "unchanged": list(self.unchanged)})

    def table(self) -> Table:
        """A row a corner."""
        heads = ("temperature", "supply", "g", "IS", "largest change", "same class", "accuracy")
        table = Table(*heads, title=f"{self.samples} test sample{'s' * (self.samples > 1)}")
        if self.unchanged:
            table.caption = f"the same at every corner, since their device does not tell: {', '.join(self.unchanged)}"
        for c in self.corners:
            scales = (f"× {scale:g}" for scale in (c.supply_scale, c.conductance_scale, c.saturation_scale))
            found = f"{1e3 * c.largest_change:.3g} mV", f"{c.same_class:.2%}"
            table.add_row(f"{c.celsius:g} °C", *scales, *found, "" if c.accuracy is None else f"{c.accuracy:.2%}")
        return table


def corners(
    circuit: Circuit,
    inputs: Tensor,
    *,
    solver: Solver,
    labels: Tensor | None = None,
    celsius: Sequence[float] = (0.0, 27.0, 85.0),
    supply_scales: Sequence[float] = (1.0,),
    conductance_scales: Sequence[float] = (0.9, 1.0, 1.1),
    saturation_scales: Sequence[float] = (0.5, 1.0, 2.0),
    resistors: ResistorsOverTemperature | None = None,
) -> Corners:
    """Solve the circuit in every combination of conditions.

    Parameters
    ----------
    circuit : Circuit
        With outputs.
    inputs : Tensor (n_samples, n_inputs)
        Inputs. [V]
    solver : Solver
        Such as `Ngspice()`.
    labels : Tensor (n_samples,), optional
        Classes, for the accuracy.
    celsius : sequence of float
        Temperatures of the circuit and all its Shockley junctions, in place of their own. [°C]
    supply_scales : sequence of float
        Factors on every independent voltage source, inputs included; positive.
    conductance_scales, saturation_scales : sequence of float
        Factors, positive.
    resistors : ResistorsOverTemperature, optional
        By default they stay as they are at every temperature.

    Raises
    ------
    StimulusError
        If the circuit has no outputs, a factor is not positive, or a temperature not above absolute zero.
    ConvergenceError
        If a corner has no equilibrium that the solver finds.
    """
    if circuit.outputs is None:
        raise StimulusError(f"corners need outputs, found none in {circuit.title!r}; declare them with set_outputs")
    scales = (supply_scales, conductance_scales, saturation_scales)
    if not all(0 < scale < float("inf") for each in scales for scale in each):
        raise StimulusError(f"scales must be positive, found {' and '.join(str(list(each)) for each in scales)}")
    if not all(-ZERO_CELSIUS < t <= _HOTTEST for t in celsius):
        raise StimulusError(
            f"temperatures must be above absolute zero and {_HOTTEST:g} °C at most, found {list(celsius)}"
        )
    resistors = ResistorsOverTemperature() if resistors is None else resistors
    nominal, found = solve(circuit, inputs, solver=solver).outputs, []
    for temperature, supply, conductance, saturation in itertools.product(celsius, *scales):
        kelvin = temperature + ZERO_CELSIUS
        heated = _at_supply(resistors.applied(circuit, kelvin), supply)
        groups = (_at_corner(group, kelvin, conductance, saturation) for group in heated.groups)
        there = replace(heated, groups=tuple(groups), temperature=kelvin)
        outputs = solve(there, inputs, solver=solver).outputs
        found.append(
            Corner(
                temperature,
                conductance,
                saturation,
                largest_change=float((outputs - nominal).abs().max()),
                same_class=_share(outputs, nominal.argmax(-1)),
                supply_scale=supply,
                accuracy=None if labels is None else _share(outputs, labels),
            )
        )
    return Corners(tuple(found), _unchanged(circuit), len(inputs))


def _share(outputs: Tensor, classes: Tensor) -> float:
    return float((outputs.argmax(-1) == classes).double().mean())


def _at_supply(circuit: Circuit, scale: float) -> Circuit:
    """The circuit with every independent voltage source multiplied, the inputs' among them."""
    if scale == 1:
        return circuit
    return replace(circuit, groups=tuple(group.at_supply(scale) for group in circuit.groups))


def _at_corner(group: Branches, kelvin: float, conductance: float, saturation: float) -> Branches:
    there = group.at_corner(kelvin, conductance, saturation)
    if there is None:
        return group
    if there.label != group.label or len(there) != len(group):
        raise CircuitError(
            f"{group.label}: {type(group).__name__} must give its own {len(group)} elements, found at_corner to give "
            f"{len(there)} called {there.label!r}"
        )
    return there


def _unchanged(circuit: Circuit) -> tuple[str, ...]:
    silent = [group for group in circuit.groups if group.at_corner(ZERO_CELSIUS, 1.0, 1.0) is None]
    return tuple(group.label for group in silent if _may_change(circuit.with_groups([group])))


def _may_change(circuit: Circuit) -> bool:
    return any(not law.linear and not law.has_own_supply for law in circuit.of_kind(CurrentLaw))
