"""What becomes of a circuit's outputs at other temperatures and process corners."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from rich.table import Table
from torch import Tensor

from analog_ep.circuit import Branches, Circuit, CurrentLaw
from analog_ep.constants import ZERO_CELSIUS
from analog_ep.equilibrium.equilibrium import Solver, solve
from analog_ep.errors import CircuitError, StimulusError


@dataclass(frozen=True)
class Corner:
    """One combination of conditions, and what it does.

    Attributes
    ----------
    celsius : float
        Temperature of the circuit and all its junctions. [°C]
    conductance_scale : float
        Factor on all conductances, against junctions that do not change with them.
    saturation_scale : float
        Factor on the junctions' saturation currents.
    largest_change : float
        Largest change of an output against the circuit as it is described. [V]
    same_class : float
        Share of the samples whose largest output stays the same.
    """

    celsius: float
    conductance_scale: float
    saturation_scale: float
    largest_change: float
    same_class: float


@dataclass(frozen=True)
class Corners:
    """All corners that were looked at.

    Attributes
    ----------
    corners : tuple of Corner
        One for each combination.
    unchanged : tuple of str
        Labels of nonlinear elements that stay as described at every corner, since their device does not tell how it
        depends on temperature and process.
    """

    corners: tuple[Corner, ...]
    unchanged: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps({"corners": [asdict(corner) for corner in self.corners], "unchanged": list(self.unchanged)})

    def table(self) -> Table:
        """A row a corner."""
        table = Table("temperature", "conductances", "saturation currents", "largest change", "same class")
        if self.unchanged:
            table.caption = f"the same at every corner, since their device does not tell: {', '.join(self.unchanged)}"
        for c in self.corners:
            cells = f"{c.celsius:g} °C", f"× {c.conductance_scale:g}", f"× {c.saturation_scale:g}"
            table.add_row(*cells, f"{c.largest_change:.3e} V", f"{c.same_class:.2%}")
        return table


def corners(
    circuit: Circuit,
    inputs: Tensor,
    *,
    solver: Solver,
    celsius: Sequence[float] = (0.0, 27.0, 85.0),
    conductance_scales: Sequence[float] = (0.9, 1.0, 1.1),
    saturation_scales: Sequence[float] = (0.5, 1.0, 2.0),
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
    celsius : sequence of float
        Temperatures of the circuit and all its Shockley junctions, in place of their own. [°C]
    conductance_scales, saturation_scales : sequence of float
        Factors, positive.

    Raises
    ------
    StimulusError
        If the circuit has no outputs, or a factor is not positive.
    ConvergenceError
        If a corner has no equilibrium that the solver finds.
    """
    if circuit.outputs is None:
        raise StimulusError(f"corners need outputs, found none in {circuit.title!r}; declare them with set_outputs")
    if not all(0 < scale < float("inf") for scale in (*conductance_scales, *saturation_scales)):
        raise StimulusError(f"scales must be positive, found {list(conductance_scales)} and {list(saturation_scales)}")
    nominal = solve(circuit, inputs, solver=solver).outputs
    found = []
    for temperature in celsius:
        for conductance in conductance_scales:
            for saturation in saturation_scales:
                groups = (_at_corner(group, temperature, conductance, saturation) for group in circuit.groups)
                there = replace(circuit, groups=tuple(groups), temperature=temperature + ZERO_CELSIUS)
                outputs = solve(there, inputs, solver=solver).outputs
                change = float((outputs - nominal).abs().max())
                same = float((outputs.argmax(-1) == nominal.argmax(-1)).double().mean())
                found.append(Corner(temperature, conductance, saturation, change, same))
    return Corners(tuple(found), _unchanged(circuit))


def _at_corner(group: Branches, celsius: float, conductance: float, saturation: float) -> Branches:
    there = group.at_corner(celsius + ZERO_CELSIUS, conductance, saturation)
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
