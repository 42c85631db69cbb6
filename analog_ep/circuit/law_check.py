"""Whether kinds of branches agree with themselves, and give what is asked of them, tried when they are first used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from analog_ep.circuit.laws import Branches, ChargeLaw, CurrentLaw, VoltageLaw
from analog_ep.circuit.voltage_rows import VoltageRows
from analog_ep.devices.agreement import Law, array, growth_voltage, require_agreement
from analog_ep.devices.tried import Tried
from analog_ep.errors import CircuitError, DeviceParameterError

if TYPE_CHECKING:
    from analog_ep.circuit.circuit import Circuit

_AGREED = Tried()


def check_laws(circuit: Circuit) -> None:
    """`check_law` of every group with a current, and the shapes of what the others prescribe."""
    for group in circuit.of_kind(CurrentLaw):
        check_law(group)
    for group in circuit.of_kind(VoltageLaw):
        _check_rows(group)
    for group in circuit.of_kind(ChargeLaw):
        answered(group, "capacitances", group.capacitances, (len(group),))


def check_law(group: CurrentLaw) -> None:
    """Raise `CircuitError` where a law contradicts itself; looked at once for each class that has one, see `Tried`.

    See `require_agreement`, and `require_sound` of diodes. Growth voltages and the currents at 0 V are looked at each
    time, as they are of the elements' own values.
    """
    if not len(group):
        return
    try:
        group.require_sound()
        _check_controls(group)
        law = _law(group)
        if not group.is_defined_everywhere:
            return
        rest = [np.zeros(len(group))] * len(group.controls())
        law.evaluated("current", lambda: group.current(*rest), (len(group),), rest)
        # One element does not show a wrong shape.
        tried = type(group), _values(group), group.law_type, len(group) > 1
        if not _AGREED.is_new(*tried):
            return
        array(law.kind, "conducts", group.conducts, (len(group),))
        if law.growth:
            require_agreement(law)
        _AGREED.add(*tried)
    except DeviceParameterError as error:
        raise CircuitError(f"{group.label}: {error}") from error.__cause__


def _values(group: CurrentLaw) -> dict[str, Any]:
    """What a kind may make its law of: all but names and nodes."""
    nodes = {"label", *group.terminals, *group.optional_terminals}
    return {name: value for name, value in vars(group).items() if name not in nodes}


def answered(group: Branches, name: str, function: Callable[[], Any], shape: tuple[int, ...], *others) -> np.ndarray:
    """What a method of a kind gives, as a float64 array of a shape that is allowed.

    Raises
    ------
    CircuitError
        Naming the kind and the method, if it gives another shape or no numbers, or raises.
    """
    try:
        return array(group.law_type, name, function, shape, *others)
    except DeviceParameterError as error:
        raise CircuitError(f"{group.label}: {error}") from error.__cause__


def _law(group: CurrentLaw) -> Law:
    kind, count = group.law_type, len(group)
    controls, growth = len(group.controls()), group.growth_voltages()
    if growth is None:
        growth = (np.full(count, np.inf),) * controls
    if not isinstance(growth, tuple | list) or len(growth) != controls:
        found = len(growth) if isinstance(growth, tuple | list) else f"a {type(growth).__name__}"
        raise DeviceParameterError(
            f"{kind.__name__} must give {controls} growth_voltages, one for each control, found {found}"
        )
    own = group.is_two_terminal
    return Law(
        kind=kind,
        n_elements=count,
        growth=[growth_voltage(kind, "growth_voltages", volts, count) for volts in growth],
        current=group.current,
        slopes=group.slopes,
        cocontent=group.cocontent if own and group.has_cocontent else None,
        names=("current", "slopes", "growth_voltages"),
        condition=group.condition,
        steepness=group.steepness if own else lambda: None,
        # A device's own current has been tried by itself.
        does_not_decrease=own and group.is_monotone() and kind is type(group),
        linear=group.linear,
    )


def _check_controls(group: CurrentLaw) -> None:
    for pair in group.controls():
        if len(pair) != 2 or any(np.shape(nodes) != (len(group),) for nodes in pair):
            found = [np.shape(nodes) for nodes in pair]
            raise DeviceParameterError(
                f"{type(group).__name__} must give pairs of nodes of shape ({len(group)},) each, found controls to "
                f"give shapes {found}"
            )


def _check_rows(group: VoltageLaw) -> None:
    rows = group.rows()
    if not isinstance(rows, VoltageRows):
        raise CircuitError(
            f"{group.label}: {type(group).__name__} must give VoltageRows, found rows to give a {type(rows).__name__}"
        )
    shape = (len(np.atleast_1d(rows.positive)),)
    for name in (field.name for field in fields(rows)):
        value = getattr(rows, name)
        if value is None or name in ("chained", "inductive"):
            continue
        for part in value if name == "control" else (value,):
            if np.shape(part) != shape:
                raise CircuitError(
                    f"{group.label}: {type(group).__name__} must give rows of arrays of one length, found {name} of "
                    f"shape {np.shape(part)} beside positive nodes of shape {shape}"
                )
    answered(group, "stages", group.stages, shape)
