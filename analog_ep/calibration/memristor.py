"""Memristor models from a measured trace of voltage and current over time."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence

import numpy as np

from analog_ep.calibration.adequacy import judge, waves
from analog_ep.calibration.fit import Axes, Curve, Estimate, Fit, Unknown, deviations_of_mean, estimates_of
from analog_ep.calibration.plausible import require_no_plateau, require_signs_agree
from analog_ep.calibration.regression import Noise, Regression, regress
from analog_ep.cards.units import unit_of
from analog_ep.devices.memristors import MEMRISTORS, Memristor, integrate
from analog_ep.errors import ConvergenceError, DataError, DeviceParameterError
from analog_ep.measurements import CURRENT, VOLTAGE, Column, Table

COLUMNS = (
    Column("time", "s", others=("t", "timestamp")),
    VOLTAGE,
    CURRENT,
    Column("current_std", "A", required=False),
)
"""Columns of a table of a memristor's trace."""

_FEWEST = 30
_STRONG = 0.2
"""Share of the largest voltage from which on a current tells a resistance."""
_TOLERANCE = 1e-6
_STEP = 1e-4
"""Of the central differences: small against the parameters, large against the integrator's tolerance."""

_FAR_STEP = 1e-3
"""Of those that must agree with them where the trace is smooth."""

_AWAY = 1e6
"""A parameter is looked for within this factor of what the trace suggests."""

_STEPS, _FEWEST_STEPS = 100, 20_000
"""Steps of the integrator, for each point of a trace and at least: fits take 5,000 to 15,000, a millisecond each."""

_OFF = 0.5
"""Root mean square of what is left, relative to that of the current, beyond which a model is not near a trace."""

_PARENTS, _CHILDREN, _GENERATIONS = 6, 16, 5
"""Of the search about the guesses: members that are kept, changes of each, and how often."""

_FITTED = {
    "vteam": ("r_on", "r_off", "k_off", "k_on", "v_off", "v_on", "alpha_off", "alpha_on", "x0"),
    "team": ("r_on", "r_off", "k_off", "k_on", "i_off", "i_on", "alpha_off", "alpha_on", "x0"),
    "joglekar": ("r_on", "r_off", "mu", "x0"),
    "biolek": ("r_on", "r_off", "mu", "x0"),
    "prodromakis": ("r_on", "r_off", "mu", "x0"),
    "yakopcic": ("a", "b", "v_p", "v_n", "amplitude_p", "amplitude_n", "x0"),
}
"""Models, and which of their parameters are fitted; the others keep the start's values."""

_KEPT = {
    "vteam": "d, of which only k_off/d and k_on/d act",
    "team": "d, of which only k_off/d and k_on/d act",
    "joglekar": "d, of which only mu r_on/d² acts",
    "biolek": "d, of which only mu r_on/d² acts",
    "prodromakis": "d, of which only mu r_on/d² acts",
    "yakopcic": "x_p, x_n, alpha_p and alpha_n, which are kept as given",
}
"""What no trace tells, by model."""


def fit_memristor(
    table: Table, *, model: str = "vteam", start: dict[str, float] | None = None, noise: Noise | None = None
) -> Fit:
    """Fit a model of `analog_ep.devices.memristors` to the current under a voltage that is linear between its points.

    Parameters
    ----------
    table : Table
        Columns `time` [s], `voltage` [V], `current` [A]; optionally `current_std` [A].
    model : str
        A key of `MEMRISTORS`; Stanford's has too many parameters for one trace.
    start : dict of str to float, optional
        Parameters to begin from, or, those that are not fitted, to keep. By default they follow from the trace.
    noise : Noise, optional
        By default relative noise and a floor, both estimated; a column `current_std` goes first.

    Raises
    ------
    DataError
        If the model is unknown, times do not increase, points are too few, currents have the wrong sign or stand still
        as in the compliance of an instrument, the trace shows no resistance that changes, or the model is not found
        near the trace.
    """
    if model not in _FITTED:
        raise DataError(f"model must be one of {', '.join(_FITTED)}, found {model!r}")
    _require_trace(table)
    current, deviation = table["current"], table.get("current_std")
    noise = Noise(deviation=deviation) if deviation is not None else noise or Noise()
    trace = _Trace(model, table, start or {})
    found = trace.best(current)
    begin = [u.outside(x) for u, x in zip(trace.unknowns, found, strict=True)]
    result = regress(trace.unknowns, trace.current, begin, current, noise, trace.slopes, tolerance=1e-6)
    off = float(np.sqrt(((result.prediction - current) ** 2).sum() / (current**2).sum()))
    if not off < _OFF:
        raise DataError(
            f"{table.name}: {model} must come near the trace, found it off by {off:.0%} of the current (rms); another "
            "model, or a start near the trace, may come nearer"
        )
    return _described(table, model, trace, result, noise)


def _described(table: Table, model: str, trace: _Trace, result: Regression, noise: Noise) -> Fit:
    time, voltage, unknowns = table["time"], table["voltage"], trace.unknowns
    jumps = trace.jumps(result.coordinates)
    unseen = jumps | trace.at_ends(result.coordinates)
    result = dataclasses.replace(result, covariance=_without(result.covariance, unseen))
    estimates, correlation, untold = estimates_of(unknowns, result.coordinates, result.covariance)
    untold += (_KEPT[model],)
    alternatives = {
        "trend with time": waves(time),
        "trend with voltage": waves(voltage),
        "trend with voltage, rising and falling": waves(voltage, np.gradient(voltage) > 0),
    }
    return Fit(
        kind="memristor",
        model=model,
        estimates=estimates,
        correlation=correlation,
        constants=_held(model, trace.device(result.coordinates), set(estimates)),
        adequacy=judge(result.residuals, result.whitened, alternatives, noise.known),
        untold=untold,
        noise=_noise_words(noise, result),
        n_points=len(table),
        validity={
            "voltage_V": (float(voltage.min()), float(voltage.max())),
            "time_s": (float(time[0]), float(time[-1])),
        },
        axes=Axes("voltage [V]", "current [A]"),
        curves=(_curve(table, trace, result),),
        notes=_notes([u.name for u, jump in zip(unknowns, jumps, strict=True) if jump]),
    )


def _require_trace(table: Table) -> None:
    table.require_rows(_FEWEST, "a memristor")
    time, voltage = table["time"], table["voltage"]
    if not (np.diff(time) > 0).all():
        late = int(np.flatnonzero(np.diff(time) <= 0)[0]) + 1
        raise DataError(f"{table.name}: times must increase, found {time[late]:g} s late, in {table.where(late)}")
    require_signs_agree(table, np.abs(voltage) > _STRONG * np.abs(voltage).max())
    require_no_plateau(table)


def _held(model: str, device: Memristor, fitted: set[str]) -> dict[str, Estimate]:
    """The device's parameters that were not fitted."""
    names = [field.name for field in dataclasses.fields(MEMRISTORS[model]) if field.name not in fitted]
    return {name: Estimate(float(getattr(device, name)), 0.0, unit_of("memristor", model, name)) for name in names}


class _Trace:
    """Currents of many members of a model at once under the measured voltage."""

    def __init__(self, model: str, table: Table, given: dict[str, float]):
        self.kind, self._name, self._model = MEMRISTORS[model], table.name, model
        known = {field.name for field in dataclasses.fields(self.kind)}
        if unknown := sorted(given.keys() - known):
            raise DataError(f"{model} has no parameter {unknown[0]!r}; it has {', '.join(sorted(known))}")
        self.given = given
        self._guesses = [{**guess, **given} for guess in _guesses(table, model, given)]
        self.unknowns = tuple(_unknown(self.kind, name, [g[name] for g in self._guesses]) for name in _FITTED[model])
        self._last: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
        self._time, self._voltage = table["time"], table["voltage"]
        self._most = self._left = max(_STEPS * len(table), _FEWEST_STEPS)

    def device(self, coordinates: np.ndarray) -> Memristor:
        """The member at coordinates `(n_unknowns,)`, or members at `(n_unknowns, n)`."""
        values = {}
        for unknown, column in zip(self.unknowns, coordinates, strict=True):
            inside = np.clip(column, *unknown.ends)
            value = unknown.sign * np.exp(inside) if unknown.logarithmic else inside
            values[unknown.name] = value if isinstance(value, np.ndarray) else float(value)
        held = {name: value for name, value in self.given.items() if name not in values}
        return self.kind(**{**held, **values})

    def currents(self, coordinates: np.ndarray) -> np.ndarray:
        """`(n_times, n)` at coordinates `(n_unknowns, n)`."""
        voltages = np.repeat(self._voltage[:, None], coordinates.shape[1], axis=1)
        path = integrate(self.device(coordinates), self._time, voltages, tolerance=_TOLERANCE, on_step=self._spend)
        with np.errstate(all="ignore"):
            return path.currents

    def _spend(self) -> None:
        """Raise `DataError` where the search has had its steps."""
        self._left -= 1
        if self._left < 0:
            raise DataError(
                f"{self._name}: {self._model} must be found near the trace within {self._most} steps of integration, "
                "found none that stands; another model, or a start near the trace, may be"
            )

    def current(self, coordinates: np.ndarray) -> np.ndarray:
        """`(n_times,)`."""
        return self._evaluated(coordinates)[0]

    def slopes(self, coordinates: np.ndarray) -> np.ndarray:
        """Derivatives `(n_times, n_unknowns)`."""
        return self._evaluated(coordinates)[1]

    def _evaluated(self, coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # A search asks for the value and then for the slopes: members side by side cost little more than one.
        key = coordinates.tobytes()
        if key not in self._last:
            self._last = {key: self._evaluate(coordinates)}
        return self._last[key]

    def jumps(self, coordinates: np.ndarray) -> np.ndarray:
        """Whether the trace jumps with a parameter, so that its derivative depends on the step, `(n_unknowns,)`."""
        near, far = self.slopes(coordinates), self._evaluate(coordinates, _FAR_STEP)[1]
        sizes = np.maximum(np.linalg.norm(near, axis=0), np.linalg.norm(far, axis=0))
        return np.linalg.norm(near - far, axis=0) > 0.5 * sizes

    def _evaluate(self, coordinates: np.ndarray, step: float = _STEP) -> tuple[np.ndarray, np.ndarray]:
        n = len(coordinates)
        steps = step * np.eye(n)
        shifted = np.concatenate([coordinates + steps, coordinates - steps, coordinates[None]]).T
        # A parameter at its bound is differentiated inward.
        for k, unknown in enumerate(self.unknowns):
            shifted[k] = shifted[k].clip(*unknown.ends)
        try:
            currents = self.currents(shifted)
        except (ConvergenceError, DeviceParameterError):
            return np.full(len(self._time), np.inf), np.zeros((len(self._time), n))
        widths = np.diag(shifted[:, :n]) - np.diag(shifted[:, n : 2 * n])
        return currents[:, -1], (currents[:, :n] - currents[:, n : 2 * n]) / widths

    def at_ends(self, coordinates: np.ndarray) -> np.ndarray:
        """Whether a parameter that is fitted as a logarithm lies where the search ends, `(n_unknowns,)`."""
        return np.array(
            [
                u.logarithmic and bool(np.abs(x - np.array(u.ends)).min() < 1e-3)
                for u, x in zip(self.unknowns, coordinates, strict=True)
            ]
        )

    def best(self, current: np.ndarray) -> np.ndarray:
        """Coordinates near the data: the best guesses, changed at random by less and less."""
        points = np.array([[u.inside(guess[u.name]) for u in self.unknowns] for guess in self._guesses])
        try:
            misfits = self._misfits(points, current)
        except (ConvergenceError, DeviceParameterError) as error:
            raise DataError(f"{self._name}: no start near the data was found ({error}); give one") from None
        generator = np.random.default_rng(0)
        for generation in range(_GENERATIONS):
            order = np.argsort(misfits)[:_PARENTS]
            points, misfits = points[order], misfits[order]
            changes = generator.standard_normal((_CHILDREN, *points.shape)) * 0.5 * 0.7**generation
            children = (points + changes).reshape(-1, points.shape[1])
            for k, unknown in enumerate(self.unknowns):
                children[:, k] = children[:, k].clip(*unknown.ends)
            # A child that cannot be followed takes its generation with it; the parents stay.
            with contextlib.suppress(ConvergenceError, DeviceParameterError):
                misfits = np.concatenate([misfits, self._misfits(children, current)])
                points = np.concatenate([points, children])
        return points[int(misfits.argmin())]

    def _misfits(self, points: np.ndarray, current: np.ndarray) -> np.ndarray:
        """Squares of relative deviations, with a floor, of members `(n, n_unknowns)`."""
        floor = 0.05 * float(np.abs(current).max())
        deviations = (self.currents(points.T) - current[:, None]) / (np.abs(current) + floor)[:, None]
        return np.nan_to_num((deviations**2).sum(0), nan=np.inf)


def _guesses(table: Table, model: str, given: dict[str, float]) -> list[dict[str, float]]:
    """Starts that the trace suggests: resistances from its extremes, speeds and thresholds on a grid."""
    voltage, current = table["voltage"], table["current"]
    strong = np.abs(voltage) > _STRONG * np.abs(voltage).max()
    conductance = current[strong] / voltage[strong]
    conductance = conductance[conductance > 0]
    if len(conductance) < _FEWEST // 3 or not np.quantile(conductance, 0.95) > 1.1 * np.quantile(conductance, 0.05):
        raise DataError(
            f"{table.name}: the trace must show a resistance that changes, found none; apply larger voltages"
        )
    r_on, r_off = 1 / float(np.quantile(conductance, 0.98)), 1 / float(np.quantile(conductance, 0.02))
    begin = float(np.clip((1 / conductance[0] - r_on) / (r_off - r_on), 0.02, 0.98))
    duration = float(table["time"][-1] - table["time"][0])
    high, low = _both_signs(voltage)
    base = {"r_on": r_on, "r_off": r_off, "x0": begin}
    cls = MEMRISTORS[model]
    d = given.get("d", getattr(cls, "d", 1.0))
    if model in ("joglekar", "biolek", "prodromakis"):
        rates = np.logspace(-1, 3, 13) / duration
        return [
            {**base, "x0": x0, "mu": rate * d**2 / max(high, -low) * r_off / r_on}
            for rate in rates for x0 in (0.1, 0.5, 1 - begin)
        ]  # fmt: skip
    if model == "yakopcic":
        top = float(np.abs(current).max())
        return [
            {"a": top / np.sinh(b * high) / 0.5, "b": b, "v_p": p * high, "v_n": -p * low, "amplitude_p": s / duration,
             "amplitude_n": s / duration, "x0": x0}
            for b in (0.05, 0.5, 2.0) for p in (0.3, 0.6) for s in (1, 10, 100, 1e3) for x0 in (0.1, 0.5)
        ]  # fmt: skip
    top, bottom = (high, low) if model == "vteam" else _both_signs(current)
    letter = "v" if model == "vteam" else "i"
    return [
        {**base, f"{letter}_off": p * top, f"{letter}_on": n * bottom, "alpha_off": alpha, "alpha_on": alpha,
         "k_off": k * d / duration / (1 / p - 1) ** alpha, "k_on": -q * d / duration / (1 / n - 1) ** alpha}
        for p in (0.3, 0.7) for n in (0.3, 0.7) for alpha in (1.2, 2.5) for k in (3, 15, 80) for q in (3, 15, 80)
    ]  # fmt: skip


def _both_signs(values: np.ndarray) -> tuple[float, float]:
    """Largest and smallest value; where there are none of a sign, what the other one has."""
    high, low = float(values.max()), float(values.min())
    return (high if high > 0 else -low), (low if low < 0 else -high)


def _unknown(kind: type[Memristor], name: str, guesses: Sequence[float]) -> Unknown:
    if name == "x0":
        return Unknown(name, "1", logarithmic=False, lower=0.0, upper=1.0)
    if name in kind.exponents:
        return Unknown(name, "1", logarithmic=False, lower=1.0)
    sizes = np.abs(guesses)
    unit, sign = unit_of("memristor", "", name), -1.0 if name in kind.negative else 1.0
    return Unknown(name, unit, lower=float(sizes.min()) / _AWAY, upper=float(sizes.max()) * _AWAY, sign=sign)


def _curve(table: Table, trace: _Trace, result: Regression) -> Curve:
    return Curve(
        label="trace",
        x=table["voltage"],
        y=table["current"],
        residuals=result.residuals,
        grid=table["voltage"],
        mean=result.prediction,
        band=deviations_of_mean(trace.slopes(result.coordinates), result.covariance),
        spread=result.deviation,
    )


def _without(covariance: np.ndarray, untold: np.ndarray) -> np.ndarray:
    """Covariance that says nothing of some parameters."""
    covariance = np.where(untold[:, None] | untold, 0.0, covariance)
    covariance[untold, untold] = np.inf
    return covariance


def _notes(jumping: Sequence[str]) -> tuple[str, ...]:
    if not jumping:
        return ()
    return (
        f"the trace jumps with {', '.join(jumping)}, as where a state sticks at a bound; smaller voltages would tell",
    )


def _noise_words(noise: Noise, result: Regression) -> str:
    if noise.deviation is not None:
        return "independent Gaussian noise of the standard deviations in the column current_std"
    origin = "as given" if noise.known else "estimated from the residuals"
    floor = f"a floor of {result.floor:.2g} A"
    return f"independent Gaussian noise, {result.relative:.2g} of the current and {floor}, {origin}"
