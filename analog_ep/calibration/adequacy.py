"""Whether residuals look like the noise that the fit assumes, or hold a structure that the model missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import chdtrc, fdtrc

LEVEL = 0.01
"""Chance of calling an adequate model inadequate."""

_MOST_WAVES = 8
"""Smooth alternatives to a model along each ordering of the data."""

_POINTS_PER_WAVE = 12
"""Points that each of them needs."""

_OUTSIDE = 0.1
"""Sine of the angle to the model from which on a direction is an alternative to it. What is left of directions that the
model holds to 99 % is the noise of the reads in its derivatives, which the residuals share: they would reject a true
model twice as often as stated."""


_COMPARISON = "comparison with "


@dataclass(frozen=True)
class Adequacy:
    """Outcome of the residual tests, and of comparisons with richer models.

    Attributes
    ----------
    p_values : dict of str to float
        By test. A test's p-value is how often noise alone gives residuals that speak at least as loudly.
    level : float
        Chance of rejecting an adequate model, shared by the tests (Bonferroni).
    comparisons : dict of str to float
        By richer model: how often noise alone makes it so much likelier. They share one half of the level, the tests of
        residuals the other.
    """

    p_values: Mapping[str, float]
    level: float = LEVEL
    comparisons: Mapping[str, float] = field(default_factory=dict)

    @property
    def corrected(self) -> dict[str, float]:
        """Of each test and comparison: how often any of them speaks so loudly, at most."""
        compared = {f"{_COMPARISON}{name}": p for name, p in self.comparisons.items()}
        groups = [group for group in (self.p_values, compared) if group]
        return {name: min(1.0, len(groups) * len(group) * p) for group in groups for name, p in group.items()}

    @property
    def adequate(self) -> bool:
        """Whether no test speaks against the model."""
        return all(p >= self.level for p in self.corrected.values())

    def sentence(self, model: str) -> str:
        """What the tests say, in one sentence."""
        if not self.corrected:
            return f"{model} is not tested: no residual test has the {_POINTS_PER_WAVE} points that it needs"
        name, p = min(self.corrected.items(), key=lambda item: item[1])
        n = len(self.corrected)
        corrected = f", corrected for {n} tests" if n > 1 else ""
        if self.adequate:
            found = f"smallest p {p:.2g}{corrected}, {name}"
            tests = "test or comparison" if self.comparisons else "residual test"
            return f"{model} is adequate: no {tests} rejects it at {self.level:.0%} ({found})"
        test = name if name.startswith(_COMPARISON) else f"{name} test"
        return f"{model} is NOT adequate: the {test} rejects it at {self.level:.0%} (p {p:.1e}{corrected})"


def waves(order: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """Smooth functions of the rank in an ordering, cosines of 1, 2, … half periods, for each group of points.

    Parameters
    ----------
    order : ndarray (n,)
        What the points are ordered by.
    groups : ndarray (n,), optional
        Points of one label form a group.

    Returns
    -------
    ndarray (n, n_functions)
    """
    groups = np.zeros(len(order)) if groups is None else groups
    columns = []
    for label in np.unique(groups):
        members = np.flatnonzero(groups == label)
        ranks = np.empty(len(members))
        ranks[np.argsort(order[members], kind="stable")] = np.arange(len(members))
        for k in range(1, min(_MOST_WAVES, len(members) // _POINTS_PER_WAVE) + 1):
            column = np.zeros(len(order))
            column[members] = np.cos(np.pi * k * (ranks + 0.5) / len(members))
            columns.append(column)
    return np.column_stack(columns) if columns else np.zeros((len(order), 0))


def lack_of_fit(
    residuals: np.ndarray, jacobian: np.ndarray, alternatives: np.ndarray, noise_known: bool
) -> float | None:
    """p-value of the test whether `alternatives` explain more of the residuals than noise lets them.

    The model, linear about its optimum, is nested in the one that also has the alternatives; the quotient of the two
    is F-distributed, or χ² where the noise is known.

    Parameters
    ----------
    residuals : ndarray (n,)
        Of the fit, in units of their standard deviation.
    jacobian : ndarray (n, n_parameters)
        Derivatives of the model in the same units.
    alternatives : ndarray (n, n_functions)
        What the model may have missed.
    noise_known : bool
        Whether the standard deviations were measured, not estimated from these residuals.

    Returns
    -------
    float or None
        None where the points are too few to ask.
    """
    span, alternatives = _orthonormal(jacobian), _orthonormal(alternatives)
    directions, sines, _ = np.linalg.svd(alternatives - span @ (span.T @ alternatives), full_matrices=False)
    extra = directions[:, sines > _OUTSIDE]
    explained = float(((extra.T @ residuals) ** 2).sum())
    m, rest = extra.shape[1], len(residuals) - span.shape[1] - extra.shape[1]
    if m == 0 or rest < 1:
        return None
    if noise_known:
        return float(chdtrc(m, explained))
    unexplained = float(residuals @ residuals) - float(((span.T @ residuals) ** 2).sum()) - explained
    return float(fdtrc(m, rest, explained / m * rest / max(unexplained, np.finfo(float).tiny)))


def judge(
    residuals: np.ndarray,
    jacobian: np.ndarray,
    alternatives: Mapping[str, np.ndarray],
    noise_known: bool,
    further: Sequence[tuple[str, float]] = (),
) -> Adequacy:
    """All tests of a fit: the alternatives by name, the total χ² where the noise is known, and `further` p-values."""
    tests = {name: lack_of_fit(residuals, jacobian, columns, noise_known) for name, columns in alternatives.items()}
    if noise_known:
        degrees = max(len(residuals) - jacobian.shape[1], 1)
        tests["chi-squared"] = float(chdtrc(degrees, residuals @ residuals))
    found = {name: p for name, p in tests.items() if p is not None} | dict(further)
    return Adequacy(found)


def _orthonormal(columns: np.ndarray) -> np.ndarray:
    """Orthonormal basis of the span of some columns, without directions that rounding made."""
    norms = np.linalg.norm(columns, axis=0)
    columns = columns[:, norms > 0] / norms[norms > 0]
    if not columns.shape[1]:
        return columns
    u, s, _ = np.linalg.svd(columns, full_matrices=False)
    return u[:, s > 1e-8 * s[0]]
