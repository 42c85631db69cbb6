"""Pulse response: which model, its parameters, its noise, and how they spread over devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analog_ep.calibration.adequacy import Adequacy
from analog_ep.calibration.fit import Axes, Curve, Fit, deviations_of_mean
from analog_ep.calibration.population import Population, combine
from analog_ep.calibration.pulse_adequacy import adequacy_of
from analog_ep.calibration.pulse_fit import TrainFit, fit_train, standardised
from analog_ep.calibration.pulse_likelihood import PulseTrain
from analog_ep.calibration.pulse_parameters import pulse_estimates
from analog_ep.calibration.step_families import FAMILIES, StepFamily
from analog_ep.cards.measured_steps import pulses_of
from analog_ep.cards.pulse_tables import PULSE_COLUMNS
from analog_ep.errors import DataError
from analog_ep.measurements import Table

COLUMNS = PULSE_COLUMNS

_FEWEST = 30
_PLATEAU = 3
_JUDGES = 4
"""Devices on which the models compete; the winner is fitted to all."""

_AGAINST = 3.0
"""Standard errors, of independent changes, by which a mean step is against its sign; noise of reads makes it fewer."""

_REACH = 1.5
"""Soft bounds further out than this, in half windows, are an extrapolation that the data do not back."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One model on all devices.

    Attributes
    ----------
    family : StepFamily
        The model.
    fits : tuple of TrainFit
        One a device.
    fault : str or None
        Why no such model has these steps.
    """

    family: StepFamily
    fits: tuple[TrainFit, ...]
    fault: str | None

    @property
    def information(self) -> float:
        """BIC over all devices."""
        return sum(fit.bayes_information for fit in self.fits)

    def adequacy(self) -> Adequacy:
        """Tests of all devices.

        Richer families are fitted to those devices alone on which models compete.
        """
        each = [adequacy_of(fit, richer=number < _JUDGES) for number, fit in enumerate(self.fits)]
        compared = _smallest([found.comparisons for found in each[:_JUDGES]])
        return Adequacy(_smallest([found.p_values for found in each]), comparisons=compared)


def _smallest(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The smallest p-value of each test, corrected for the number of devices."""
    names = sorted({name for p_values in each for name in p_values})
    return {name: min(1.0, len(each) * min(p.get(name, 1.0) for p in each)) for name in names}


def fit_pulses(
    table: Table, *, model: str | None = None, window: tuple[float, float] | None = None, averages: int = 1
) -> Fit:
    """Fit the pulse models of `analog_ep.devices.pulses` and choose one by the Bayesian information criterion.

    Parameters
    ----------
    table : Table
        Columns `pulse`, `conductance` [S] and, for several devices, `device`.
    model : str, optional
        A key of `FAMILIES`, to fit that model alone.
    window : (float, float), optional
        Conductances between which the device works, for models without bounds of their own; by default the range of
        the data. [S]
    averages : int
        Repetitions of which each conductance is the mean: the noise of one is √averages times that of the data.

    Raises
    ------
    DataError
        If pulses are anything but −1, 0 and +1, points are too few, one sign is missing, nothing changes, or a train
        begins without a 0.
    """
    if model is not None and model not in FAMILIES:
        raise DataError(f"model must be one of {', '.join(FAMILIES)}, found {model!r}")
    if averages < 1:
        raise DataError(f"averages must be at least 1, found {averages}")
    low, high = _window(table, window)
    trains = _trains(table, low, high)
    families = [FAMILIES[model]] if model else list(FAMILIES.values())
    judges = trains[:_JUDGES]
    candidates = sorted((_candidate(family, judges) for family in families), key=lambda c: c.information)
    usable = [c for c in candidates if c.fault is None] or candidates
    chosen, adequacy = _choose(usable)
    if len(judges) < len(trains):
        chosen = _candidate(chosen.family, trains)
        adequacy = chosen.adequacy()
    return _fit(table, chosen, adequacy, candidates, (low, high), window is not None, averages)


def _choose(candidates: Sequence[Candidate]) -> tuple[Candidate, Adequacy]:
    """The first adequate one in the criterion's order, else the first."""
    best = candidates[0]
    # SoftBounds and LinearStep have the same steps: what tells them apart is whether the bounds were in reach.
    twins = {c.family.name: c for c in candidates}
    if best.family.name in ("SoftBounds", "LinearStep") and len(twins.keys() & {"SoftBounds", "LinearStep"}) == 2:
        soft = twins["SoftBounds"]
        low, high = combine(soft.fits).mean[3], combine(soft.fits).mean[2]
        reached = high < _REACH and low > -_REACH
        best = soft if reached else twins["LinearStep"]
    first = best.adequacy()
    if first.adequate:
        return best, first
    for other in candidates:
        if other is not best and (adequacy := other.adequacy()).adequate:
            return other, adequacy
    return best, first


def _candidate(family: StepFamily, trains: Sequence[PulseTrain]) -> Candidate:
    fits = tuple(fit_train(train, family) for train in trains)
    return Candidate(family, fits, family.fault(combine(fits).mean[: family.n_coordinates]))


def _window(table: Table, window: tuple[float, float] | None) -> tuple[float, float]:
    conductance = table["conductance"]
    if (conductance < 0).any():
        raise DataError(f"{table.name}: conductances must not be negative, found {conductance.min():g} S")
    low, high = (float(conductance.min()), float(conductance.max())) if window is None else window
    if not 0 <= low < high:
        raise DataError(
            f"{table.name}: the conductance must change within 0 <= low < high, found {low:g} to {high:g} S"
        )
    return low, high


def _trains(table: Table, low: float, high: float) -> list[PulseTrain]:
    pulses_of(table)
    pulse = table["pulse"]
    device = table.get("device")
    device = np.zeros(len(table)) if device is None else device
    state = 2 * (table["conductance"] - low) / (high - low) - 1
    return [_train(table.name, pulse[device == d], state[device == d], d) for d in np.unique(device)]


def _train(name: str, pulse: np.ndarray, state: np.ndarray, device: float) -> PulseTrain:
    # The first row has no read before it; a 0 begins anew.
    real = np.flatnonzero((pulse != 0) & (np.arange(len(pulse)) > 0))
    real = real[~_clipped(state)[real]]
    up = pulse[real] > 0
    if len(real) < _FEWEST or min(up.sum(), (~up).sum()) < _FEWEST // 3:
        raise DataError(
            f"{name}, device {device:g}: {_FEWEST} pulses, {_FEWEST // 3} of each sign, are needed inside the bounds, "
            f"found {up.sum()} up and {(~up).sum()} down"
        )
    for sign, word in ((up, "up"), (~up, "down")):
        _require_direction(f"{name}, device {device:g}", word, (state[real] - state[real - 1])[sign])
    if not np.ptp(state[real]):
        raise DataError(f"{name}, device {device:g}: pulses must change the conductance, found one value throughout")
    follows = np.concatenate([[False], np.diff(real) == 1])
    return PulseTrain(state[real - 1], state[real], up, follows)


def _require_direction(where: str, word: str, change: np.ndarray) -> None:
    """Raise `DataError` where pulses of a sign on the whole take the conductance against it."""
    ahead, less = (1, "lowered") if word == "up" else (-1, "raised")
    mean, error = ahead * float(change.mean()), float(change.std()) / np.sqrt(len(change))
    if mean < -_AGAINST * error:
        raise DataError(
            f"{where}: pulses {word} must not on the whole take the conductance against their sign, found that it was "
            f"{less} by {-mean / 2:.2g} of the range a pulse; check the signs, and whether a column goes backwards"
        )


def _clipped(state: np.ndarray) -> np.ndarray:
    """Pulses from or to a hard bound, where one extreme value is read again and again: they say nothing."""
    clipped = np.zeros(len(state), dtype=bool)
    for extreme in (state.max(), state.min()):
        there = np.abs(state - extreme) < 1e-9
        if there.sum() >= _PLATEAU:
            clipped |= there | np.concatenate([[False], there[:-1]])
    return clipped


def _fit(
    table: Table,
    chosen: Candidate,
    adequacy: Adequacy,
    candidates: Sequence[Candidate],
    window: tuple[float, float],
    given: bool,
    averages: int,
) -> Fit:
    population = combine(chosen.fits)
    estimates, constants, correlation, untold = pulse_estimates(population, chosen.family, window, averages)
    if not given and "conductance_min" in constants:
        untold += ("the bounds, which are the range of the data",)
    return Fit(
        kind="pulses",
        model=chosen.family.name,
        estimates=estimates,
        correlation=correlation,
        constants=constants,
        adequacy=adequacy,
        untold=untold,
        noise=_noise_words(population, averages),
        n_points=sum(len(fit.likelihood.train) for fit in chosen.fits),
        validity={"conductance_S": (float(table["conductance"].min()), float(table["conductance"].max()))},
        axes=Axes("conductance before the pulse [S]", "change by one pulse [S]"),
        curves=_curves(chosen, population, window),
        notes=_notes(chosen, adequacy, candidates),
    )


def _notes(chosen: Candidate, adequacy: Adequacy, candidates: Sequence[Candidate]) -> tuple[str, ...]:
    notes = []
    if len(candidates) > 1:
        least = min(c.information for c in candidates)
        listed = [
            f"{c.family.name} {c.information - least:.1f}" + (f" (not: {c.fault})" if c.fault else "")
            for c in candidates
        ]
        notes.append(f"BIC above the smallest: {', '.join(listed)}")
        if not adequacy.adequate:
            notes.append("no model is adequate: the residual tests reject every one of them")
            notes.append(
                'an update draws steps as they were measured where the table is its device: device = "train.csv"'
            )
    if chosen.family.name in ("SoftBounds", "LinearStep"):
        notes.append(
            "SoftBounds and LinearStep have the same steps inside the data; only the reach of the bounds differs"
        )
    return tuple(notes)


def _noise_words(population: Population, averages: int) -> str:
    cycle, write = population.cycle_noise, population.write_noise
    parts = [f"cycle-to-cycle noise of {cycle:.2g} of a step"] if cycle else []
    parts += [f"write noise of {write / 2:.2g} of the window"] if write else []
    of = f" in the mean of {averages} repetitions" if averages > 1 else ""
    return f"Gaussian, {' and '.join(parts) or 'none'}{of}, estimated"


def _curves(chosen: Candidate, population: Population, window: tuple[float, float]) -> tuple[Curve, ...]:
    scale = (window[1] - window[0]) / 2
    n, curves = chosen.family.n_coordinates, []
    states = [fit.likelihood.states for fit in chosen.fits]
    residuals = [standardised(fit)[0] for fit in chosen.fits]
    for up, label in ((True, "potentiation"), (False, "depression")):
        mine = [fit.likelihood.train.up == up for fit in chosen.fits]
        w = np.concatenate([s[m] for s, m in zip(states, mine, strict=True)])
        grid = np.linspace(w.min(), w.max(), 200)
        signs = np.full(len(grid), up)

        def mean(x: np.ndarray, grid=grid, signs=signs, up=up) -> np.ndarray:
            return (1 if up else -1) * chosen.family.step(x[:n], grid, signs)[0]

        x = population.mean
        steps = np.eye(len(x)) * 1e-5
        slopes = np.column_stack([(mean(x + h) - mean(x - h)) / 2e-5 for h in steps])
        value = mean(x)
        spread = np.hypot(population.cycle_noise * value, np.sqrt(2) * population.write_noise)
        changes = [
            (f.likelihood.train.after - f.likelihood.train.before)[m] for f, m in zip(chosen.fits, mine, strict=True)
        ]
        curves.append(
            Curve(
                label=label,
                x=window[0] + (w + 1) * scale,
                y=np.concatenate(changes) * scale,
                residuals=np.concatenate([z[m] for z, m in zip(residuals, mine, strict=True)]),
                grid=window[0] + (grid + 1) * scale,
                mean=value * scale,
                band=deviations_of_mean(slopes, population.covariance) * scale,
                spread=spread * scale,
            )
        )
    return tuple(curves)
