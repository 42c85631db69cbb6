"""Whether a diode agrees with itself, tried when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from analog_ep.devices.agreement import (
    HIGHEST,
    Law,
    array,
    growth_voltage,
    require_agreement,
    rounding,
    trial_voltages,
)
from analog_ep.devices.parameters import Parameter
from analog_ep.devices.tried import Tried

_AGREED = Tried()

_ELEMENTS = 3
"""Elements that a diode of scalars is tried with, so that a wrong shape shows."""

_CHANGES = (1e-15, -1e-15, 1e-7, -1e-3, 0.03, -0.3)
"""Changes of the voltage at which `current_difference` is tried. [V]"""

_SMALL = 1e-6
"""Change up to which the slope tells the difference, since subtracted currents have too few digits. [V]"""

_COUNT = 2.0


class DiodeLaw(Protocol):
    """What of a `Diode` is tried; the methods are said there."""

    @property
    def growth_voltage(self) -> Parameter: ...
    @property
    def fall(self) -> Parameter: ...
    def current(self, voltage: Tensor) -> Tensor: ...
    def conductance(self, voltage: Tensor) -> Tensor: ...
    def cocontent(self, voltage: Tensor) -> Tensor: ...
    def current_difference(self, voltage: Tensor, change: Tensor) -> Tensor: ...
    def voltage_estimate(self, current: Tensor) -> Tensor: ...
    def in_parallel(self, count: float) -> Self: ...
    def condition(self) -> Parameter: ...
    def steepness(self) -> tuple[Parameter, Parameter] | None: ...
    def cpu(self) -> Self: ...
    def expand(self, n_elements: int) -> Self: ...


def require_sound(diode: DiodeLaw) -> None:
    """Raise `DeviceParameterError` where a diode's methods contradict each other; looked at once, see `Tried`.

    See `require_agreement`. Besides, its current must not decrease, `current_difference` must be the difference of its
    currents, for changes down to 1e-15 V too, and `in_parallel` so many diodes. A growth voltage is looked at each
    time, as it is one of the element's own values.
    """
    kind, growth = type(diode), diode.growth_voltage
    if not (isinstance(growth, float) and growth > 0):
        count = torch.as_tensor(growth).numel() if isinstance(growth, Tensor) else 1
        growth_voltage(kind, "growth_voltage", _plain(growth), count)
    if not _AGREED.is_new(kind, vars(diode)):
        return
    whole = _several(diode)
    law = _law(whole)
    require_agreement(law)
    (volts,) = trial_voltages(law)
    _require_differences(law, whole, volts)
    _require_parallel(law, whole, volts)
    _require_estimate(law, whole, volts)
    _AGREED.add(kind, vars(diode))


def _several(diode: DiodeLaw) -> DiodeLaw:
    """The diode in float64 on the CPU, written out for each of its elements, of some where its parameters are one."""
    diode = diode.cpu()
    counts = [value.numel() for value in vars(diode).values() if isinstance(value, Tensor) and value.ndim]
    count = max(counts, default=1)
    return diode.expand(count if count > 1 else _ELEMENTS)


def _law(diode: DiodeLaw) -> Law:
    sizes = [value.numel() for value in vars(diode).values() if isinstance(value, Tensor)]
    count = max(sizes, default=_ELEMENTS)
    return Law(
        kind=type(diode),
        n_elements=count,
        growth=[growth_voltage(type(diode), "growth_voltage", _plain(diode.growth_voltage), count)],
        current=_on_arrays(diode.current),
        slopes=lambda volts: (_on_arrays(diode.conductance)(volts),),
        cocontent=_on_arrays(diode.cocontent),
        names=("current", "conductance", "growth_voltage"),
        condition=lambda: _plain(diode.condition()),
        steepness=lambda: _each_plain(diode.steepness()),
        does_not_decrease=True,
        fall=array(type(diode), "fall", lambda: _plain(diode.fall), (count,), ()),
    )


def _on_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method of tensors as one of arrays."""
    return lambda *arrays: _plain(function(*(torch.from_numpy(np.ascontiguousarray(each)) for each in arrays)))


def _plain(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value


def _each_plain(values: Any) -> Any:
    return [_plain(value) for value in values] if isinstance(values, tuple | list) else values


def _require_differences(law: Law, diode: DiodeLaw, volts: np.ndarray) -> None:
    function = _on_arrays(diode.current_difference)
    here = law.at([volts])
    for change in _CHANGES:
        moved = np.sign(change) * np.minimum(abs(change), law.growth[0]) * np.ones_like(volts)
        # Beyond what is tried, exponentials overflow.
        moved = np.where(volts + moved > HIGHEST * law.growth[0], -moved, moved)
        found = array(law.kind, "current_difference", lambda moved=moved: function(volts, moved), volts.shape)
        if abs(change) <= _SMALL:
            slopes = [law.slopes(volts + part * moved)[0] * moved for part in (0.0, 0.5, 1.0)]
            low, high = np.minimum.reduce(slopes), np.maximum.reduce(slopes)
            slack = 1e-3 * np.maximum(np.abs(low), np.abs(high))
        else:
            there = law.at([volts + moved])
            low = high = there - here
            slack = 1e-9 * np.abs(low) + 1e-12 * (np.abs(there) + np.abs(here)) + rounding(here)
        wrong = ~((found >= low - slack) & (found <= high + slack))
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0])
            small = abs(change) <= _SMALL
            raise law.refuse(
                f"must agree with itself, found a current_difference of {found[at]:.12g} A from {volts[at]:.4g} V by "
                f"{moved[at]:.3g} V where {'the slope' if small else 'the current'} gives {low[at]:.12g} A "
                f"(element {at[-1]})" + ("; form it without subtracting currents" if small else "")
            )


def _require_parallel(law: Law, diode: DiodeLaw, volts: np.ndarray) -> None:
    try:
        several = diode.in_parallel(_COUNT)
    except NotImplementedError:
        return
    found = array(law.kind, "in_parallel", lambda: _on_arrays(several.current)(volts), volts.shape)
    wanted = _COUNT * law.at([volts])
    wrong = ~(np.abs(found - wanted) <= 1e-9 * np.abs(wanted) + rounding(wanted))
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0])
        raise law.refuse(
            f"must be {_COUNT:g} times as large for {_COUNT:g} in parallel, found in_parallel to give "
            f"{found[at]:.6g} A at {volts[at]:.4g} V in place of {wanted[at]:.6g} A (element {at[-1]})"
        )


def _require_estimate(law: Law, diode: DiodeLaw, volts: np.ndarray) -> None:
    """An estimate may be far off, but begins an iteration: it must be a number."""
    amperes = np.abs(law.at([volts])) + 1e-12
    found = array(law.kind, "voltage_estimate", lambda: _on_arrays(diode.voltage_estimate)(amperes), volts.shape)
    if np.isnan(found).any():
        at = tuple(np.argwhere(np.isnan(found))[0])
        raise law.refuse(f"must give a voltage_estimate, found no number at {amperes[at]:.4g} A (element {at[-1]})")
