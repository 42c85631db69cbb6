"""What every fit gives: estimates with uncertainties, a verdict on the model, and what the data cannot tell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.table import Table

from analog_ep.calibration.adequacy import Adequacy
from analog_ep.support.shown import Tabled

UNTOLD = 0.5
"""A positive parameter that the data leave open by more than this relative uncertainty counts as not told."""


@dataclass(frozen=True)
class Unknown:
    """A parameter that is fitted.

    Attributes
    ----------
    name, unit : str
        As a card carries them.
    logarithmic : bool
        Whether it has one sign and is fitted as the logarithm of its size.
    lower, upper : float
        Bounds, of one that is fitted as a logarithm those of its size.
    sign : float
        +1 or −1, of one that is.
    """

    name: str
    unit: str
    logarithmic: bool = True
    lower: float = -np.inf
    upper: float = np.inf
    sign: float = 1.0

    def inside(self, value: float) -> float:
        """The coordinate in which the fit works."""
        return float(np.clip(np.log(self.sign * value) if self.logarithmic else value, *self.ends))

    @property
    def ends(self) -> tuple[float, float]:
        """Bounds of the coordinate."""
        if not self.logarithmic:
            return self.lower, self.upper
        return (float(np.log(self.lower)) if self.lower > 0 else -np.inf), float(np.log(self.upper))

    def outside(self, coordinate: float) -> float:
        """The parameter of a coordinate."""
        return self.sign * float(np.exp(coordinate)) if self.logarithmic else float(coordinate)


@dataclass(frozen=True)
class Estimate:
    """A fitted parameter, its standard uncertainty (1 σ), and its unit; one that is given may be a list."""

    value: Any
    uncertainty: float
    unit: str


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve of the data beside what the model says of it.

    Attributes
    ----------
    label : str
        What tells it from the others.
    x, y : ndarray (n,)
        The data.
    residuals : ndarray (n,)
        Data minus model, in standard deviations.
    grid, mean : ndarray (m,)
        The model.
    band : ndarray (m,)
        1 σ of the model's mean, from the uncertainties of the parameters.
    spread : ndarray (m,)
        1 σ of a measurement about the mean.
    """

    label: str
    x: np.ndarray
    y: np.ndarray
    residuals: np.ndarray
    grid: np.ndarray
    mean: np.ndarray
    band: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True)
class Axes:
    """Labels of a fit's picture, and the powers of ten that its values are drawn in."""

    x: str
    y: str
    logarithmic: bool = False


@dataclass(frozen=True, eq=False)
class Fit(Tabled):
    """The result of a calibration.

    Attributes
    ----------
    kind : str
        "diode", "pulses", "memristor" or "amplifier".
    model : str
        Name of the model.
    estimates : dict of str to Estimate
        Fitted parameters.
    correlation : ndarray (n_estimates, n_estimates)
        Of the estimates, in their order.
    constants : dict of str to Estimate
        Parameters that were not fitted but given or fixed; their uncertainty is 0.
    adequacy : Adequacy
        Outcome of the residual tests.
    untold : tuple of str
        What the data cannot tell, a phrase each.
    noise : str
        The noise model, with its figures.
    n_points : int
        Measurements used.
    validity : dict of str to (float, float)
        Range of the data, by quantity with its unit, such as "voltage_V".
    axes : Axes
        Of the picture.
    curves : tuple of Curve
        What it shows.
    notes : tuple of str
        Further sentences of the report.
    """

    kind: str
    model: str
    estimates: Mapping[str, Estimate]
    correlation: np.ndarray
    constants: Mapping[str, Estimate]
    adequacy: Adequacy
    untold: tuple[str, ...]
    noise: str
    n_points: int
    validity: Mapping[str, tuple[float, float]]
    axes: Axes
    curves: tuple[Curve, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def values(self) -> dict[str, float]:
        """All parameters of the model."""
        return {name: entry.value for name, entry in (*self.constants.items(), *self.estimates.items())}

    def to_json(self) -> str:
        """Parameters with their uncertainties and units, tests and range, as a JSON object."""
        entries = {"estimates": self.estimates, "constants": self.constants}
        return json.dumps(
            {
                "kind": self.kind,
                "model": self.model,
                **{what: {name: asdict(each) for name, each in found.items()} for what, found in entries.items()},
                "adequate": self.adequacy.adequate,
                "p_values": dict(self.adequacy.p_values),
                "comparisons": dict(self.adequacy.comparisons),
                "untold": list(self.untold),
                "noise": self.noise,
                "points": self.n_points,
                "validity": {name: list(ends) for name, ends in self.validity.items()},
                "notes": list(self.notes),
            }
        )

    def table(self) -> Table:
        """A row a parameter, and the verdict below."""
        table = Table("parameter", "value", "1 σ", "unit", title=f"{self.kind}: {self.model}", caption=self.sentence())
        for name, each in self.estimates.items():
            table.add_row(name, _shown(each.value), f"{each.uncertainty:.2g}", each.unit)
        for name, each in self.constants.items():
            table.add_row(name, _shown(each.value), "given", each.unit)
        return table

    def sentence(self) -> str:
        """Whether the model is adequate, and what the data cannot tell."""
        untold = (
            f"the data cannot tell {', nor '.join(self.untold)}" if self.untold else "the data tell every parameter"
        )
        return f"{self.adequacy.sentence(self.model)}; {untold}."


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def covariance_of(jacobian: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Inverse Fisher information (JᵀJ)⁻¹ times `scale`; a direction that the data do not see gets infinite variance."""
    norms = np.linalg.norm(jacobian, axis=0)
    seen = norms > 0
    safe = np.where(seen, norms, 1.0)
    _, s, vt = np.linalg.svd(jacobian / safe, full_matrices=False)
    blind = s < 1e-9 * s[0]
    inverse = (vt.T[:, ~blind] / s[~blind] ** 2) @ vt[~blind]
    covariance = scale * inverse / np.outer(safe, safe)
    lost = ~seen | ((vt[blind] ** 2).sum(0) > 1e-6 if blind.any() else np.zeros_like(seen))
    covariance[lost, :], covariance[:, lost] = 0.0, 0.0
    covariance[lost, lost] = np.inf
    return covariance


def estimates_of(
    unknowns: Sequence[Unknown], coordinates: np.ndarray, covariance: np.ndarray
) -> tuple[dict[str, Estimate], np.ndarray, tuple[str, ...]]:
    """Estimates, their correlations, and phrases for those that the data cannot tell."""
    deviations = np.sqrt(np.diag(covariance))
    estimates, untold = {}, []
    for unknown, coordinate, deviation in zip(unknowns, coordinates, deviations, strict=True):
        value = unknown.outside(coordinate)
        uncertainty = deviation * (abs(value) if unknown.logarithmic else 1.0)
        estimates[unknown.name] = Estimate(value, float(uncertainty), unknown.unit)
        if unknown.logarithmic and not deviation < UNTOLD:
            untold.append(f"{unknown.name} to better than {_percent(deviation)}")
        elif not unknown.logarithmic and not is_told(value, uncertainty):
            untold.append(f"{unknown.name} from 0 (it is {value:.2g} ± {uncertainty:.2g} {unknown.unit})")
    finite = np.where(np.isfinite(deviations) & (deviations > 0), deviations, 1.0)
    correlation = np.where(np.isfinite(covariance), covariance, 0.0) / np.outer(finite, finite)
    np.fill_diagonal(correlation, 1.0)
    return estimates, correlation, tuple(untold)


def is_told(value: float, uncertainty: float) -> bool:
    """Whether a parameter of either sign can be told from 0."""
    return bool(abs(value) > 2 * uncertainty)


def _percent(deviation: float) -> str:
    return f"a factor {np.exp(deviation):.2g}" if deviation < 10 else "any factor"


def deviations_of_mean(slopes: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """1 σ of a model `(n,)` whose derivatives by the coordinates are `slopes`, `(n, n_unknowns)`."""
    finite = np.where(np.isfinite(covariance), covariance, 0.0)
    return np.sqrt(np.einsum("ni,ij,nj->n", slopes, finite, slopes).clip(min=0))
