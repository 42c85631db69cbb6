"""The path of memristors' states under given voltages, many devices at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from analog_ep.devices.memristors.memristor import Memristor, Values, like
from analog_ep.errors import ConvergenceError, StimulusError

# Dormand & Prince 1980: nodes, stages, and the weights of the error estimate.
_NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)

_SHORTEST = 1e-9
"""Shortest step, relative to its segment, before the integration is given up."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Memristors at the corners of a waveform.

    Attributes
    ----------
    memristor : Memristor
        The model.
    times : Tensor or ndarray (n_times,)
        [s]
    voltages, states : Tensor or ndarray (n_times, *devices)
        Voltage across each device [V], and its state.
    """

    memristor: Memristor
    times: Values
    voltages: Values
    states: Values

    @property
    def currents(self) -> Values:
        """`(n_times, *devices)`. [A]"""
        return self.memristor.current(self.voltages, self.states)


def integrate(
    memristor: Memristor,
    times: Values,
    voltages: Values,
    start: Values | None = None,
    tolerance: float = 1e-7,
    on_step: Callable[[], object] | None = None,
) -> Trajectory:
    """Follow the states under voltages that are linear between their corners, as SPICE's PWL sources are.

    The fifth-order steps of Dormand and Prince, one length for all devices, never across a corner; the state is held
    within its bounds after each. Gradients with respect to parameters, voltages and start pass through the steps of
    tensors; NumPy arrays have none, and take a fraction of the time where devices are few.

    Parameters
    ----------
    memristor : Memristor
        The model; its parameters broadcast with the devices, and are numbers or of the voltages' kind.
    times : Tensor or ndarray (n_times,)
        Corners, increasing. [s]
    voltages : Tensor or ndarray (n_times, *devices)
        Kind, dtype and device of the result. [V]
    start : Tensor or ndarray (*devices), optional
        States at the first corner; by default the model's x0.
    tolerance : float
        Largest estimated error of a step, as a share of the range of states; not below ten roundings of the dtype.
    on_step : callable, optional
        Called before each step; what it raises ends the integration.

    Raises
    ------
    StimulusError
        If the times do not increase, the shapes do not fit, or tensors and arrays are mixed.
    ConvergenceError
        If steps become too short, where a rate is not finite.
    """
    _check(memristor, times, voltages)
    arrays = isinstance(voltages, np.ndarray)
    eps = (np.finfo if arrays else torch.finfo)(voltages.dtype).eps
    low, high = (like(bound, voltages) for bound in memristor.bounds)
    begin = like(memristor.x0 if start is None else start, voltages)
    state: Values = (np.broadcast_to if arrays else torch.broadcast_to)(begin, voltages.shape[1:])
    steps = _Steps(memristor, low, high, max(tolerance, 10 * float(eps)), on_step)
    states: list[Values] = [state]
    instants = times.tolist()
    # A rate that overflows is told of by the length of the steps.
    with np.errstate(all="ignore"):
        for k in range(len(instants) - 1):
            state = steps.cross(state, voltages[k], voltages[k + 1], instants[k + 1] - instants[k])
            states.append(state)
    return Trajectory(memristor, times, voltages, (np.stack if arrays else torch.stack)(states))


def pulse_train(heights: Tensor, width: float, edge: float | None = None) -> tuple[Tensor, Tensor]:
    """Corners of trapezoidal pulses, each in a slot of twice its width, half a width after the slot begins.

    Parameters
    ----------
    heights : Tensor (n_pulses, *devices)
        Voltage of each pulse; 0 where a device has none. [V]
    width : float
        Time at full height. [s]
    edge : float, optional
        Rise and fall time, by default a tenth of the width; below a quarter of it. [s]

    Returns
    -------
    times : Tensor (4 n_pulses + 2,)
        [s]
    voltages : Tensor (4 n_pulses + 2, *devices)
        [V]
    """
    edge = width / 10 if edge is None else edge
    if not 0 < edge < width / 4:
        raise StimulusError(
            f"edges must be longer than 0 and below a quarter of the width {width:g} s, found {edge:g} s"
        )
    begins = width / 2 + 2 * width * torch.arange(len(heights), dtype=heights.dtype, device=heights.device)
    offsets = torch.tensor([0, edge, edge + width, 2 * edge + width], dtype=heights.dtype, device=heights.device)
    ends = torch.tensor([0.0, 2 * width * len(heights)], dtype=heights.dtype, device=heights.device)
    times = torch.cat([ends[:1], (begins[:, None] + offsets).flatten(), ends[1:]])
    zero = torch.zeros_like(heights)
    corners = torch.stack([zero, heights, heights, zero], dim=1).flatten(0, 1)
    return times, torch.cat([zero[:1], corners, zero[:1]])


def _check(memristor: Memristor, times: Values, voltages: Values) -> None:
    if isinstance(times, Tensor) != isinstance(voltages, Tensor):
        raise StimulusError("times and voltages must be two tensors or two arrays, found one of each")
    other = np.ndarray if isinstance(voltages, Tensor) else Tensor
    for field in fields(memristor):
        if isinstance(getattr(memristor, field.name), other):
            raise StimulusError(
                f"parameters must be numbers or of the voltages' kind, {type(voltages).__name__}, found {field.name} "
                f"of {other.__name__}"
            )
    if times.ndim != 1 or len(times) < 2 or len(times) != len(voltages):
        raise StimulusError(
            f"voltages must have a row for each of at least two times, found {tuple(voltages.shape)} and "
            f"{tuple(times.shape)}"
        )
    finite = (torch if isinstance(voltages, Tensor) else np).isfinite(voltages)
    if not bool((times[1:] > times[:-1]).all()) or not bool(finite.all()):
        raise StimulusError("times must increase and voltages be finite, found others")


class _Steps:
    """Steps through one segment after the other; the length and the last rate of a step begin the next."""

    def __init__(
        self,
        memristor: Memristor,
        low: Values,
        high: Values,
        tolerance: float,
        on_step: Callable[[], object] | None = None,
    ):
        self.memristor, self.low, self.high, self.on_step = memristor, low, high, on_step
        self.allowed = tolerance * (high - low)
        self.length = float("inf")
        self.rate: Values | None = None

    def cross(self, state: Values, first: Values, last: Values, duration: float) -> Values:
        """The state at the end of a segment over which the voltage goes from `first` to `last`."""
        done, slope = 0.0, (last - first) / duration
        if self.rate is None:
            self.rate = self.memristor.rate(first, state.clip(self.low, self.high))
        while done < duration:
            if self.on_step is not None:
                self.on_step()
            length = min(self.length, duration - done)
            rates, point = self._stages(state, self.rate, first, slope, done, length)
            error = self._error(rates, length)
            if error <= 1:
                # The last stage of a step is the first one of the next, across a corner too: voltages are continuous.
                state, self.rate = point.clip(self.low, self.high), rates[-1]
                # Rounding must not leave a sliver of the segment.
                done = duration if length >= (duration - done) * (1 - 1e-12) else done + length
            elif length < _SHORTEST * duration:
                raise ConvergenceError(
                    f"{type(self.memristor).__name__} must follow its voltage, found steps below {length:.1e} s; "
                    "look for voltages at which its rate is not finite"
                )
            wanted = length * (0.1 if error != error else min(5.0, max(0.2, 0.9 * max(error, 1e-10) ** -0.2)))
            # A good step that only the segment cut short says nothing against longer ones.
            cut_short = error <= 1 and length < self.length
            self.length = max(self.length, wanted) if cut_short else wanted
        return state

    def _stages(
        self, state: Values, rate: Values, first: Values, slope: Values, done: float, length: float
    ) -> tuple[list[Values], Values]:
        """Rates of the seven stages, of which the first is given, and the state at the end of the step."""
        rates, point = [rate], state
        for node, weights in zip(_NODES[1:], _STAGES[1:], strict=True):
            point = _combined(state, length, weights, rates)
            voltage = first + slope * (done + node * length)
            rates.append(self.memristor.rate(voltage, point.clip(self.low, self.high)))
        return rates, point

    def _error(self, rates: list[Values], length: float) -> float:
        with torch.no_grad():
            error = _combined(0 * rates[0], length, _ERROR, rates)
            return float((abs(error) / self.allowed).max())


def _combined(state: Values, length: float, weights: Sequence[float], rates: list[Values]) -> Values:
    """The state after a step with a weighted sum of rates."""
    for weight, rate in zip(weights, rates, strict=True):
        if weight and isinstance(state, Tensor):
            # A product and a sum in one call: calls are what small tensors take the time of.
            state = torch.add(state, rate, alpha=length * weight)
        elif weight:
            state = state + length * weight * rate
    return state
