r"""Likelihood of a train of pulses: steps with cycle-to-cycle noise, read with write noise.

The state goes w → w + s f(w) (1 + σ ξ), s the pulse's sign; what is read is y = w + e ζ. With e_k the noise of a read,

.. math:: r_k = y_{k+1} - y_k - s_k f(w_k) = s_k σ f(w_k) ξ_k + e_{k+1} - (1 + s_k f'(w_k)) e_k

to first order in the noise of the read, exactly where f is linear: a Gaussian vector whose covariance is tridiagonal.
So the likelihood of n pulses costs one banded Cholesky factorisation. Where f is curved it is linearised about the
smoothed states, which are found in turn with the parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import (  # pyright: ignore[reportAttributeAccessIssue]
    dpbtrf,  # pyright: ignore[reportAttributeAccessIssue]
    dpbtrs,  # pyright: ignore[reportAttributeAccessIssue]
    dtbtrs,  # pyright: ignore[reportAttributeAccessIssue]
)

from analog_ep.calibration.differences import derivatives
from analog_ep.calibration.step_families import StepFamily

RESOLUTION = 1e-7
"""Finest step that is told from rounding, in the state that spans −1…1."""


@dataclass(frozen=True, eq=False)
class PulseTrain:
    """Reads of one device and the pulses between them, in a state w that spans −1…1.

    Attributes
    ----------
    before, after : ndarray (n,)
        What was read before and after each pulse.
    up : ndarray of bool (n,)
        Whether the pulse potentiates.
    follows : ndarray of bool (n,)
        Whether the pulse before stands in the entry before, so that the two share a read.
    """

    before: np.ndarray
    after: np.ndarray
    up: np.ndarray
    follows: np.ndarray

    def __len__(self) -> int:
        return len(self.up)

    @property
    def sign(self) -> np.ndarray:
        """+1 up, −1 down, `(n,)`."""
        return np.where(self.up, 1.0, -1.0)

    @property
    def size(self) -> np.ndarray:
        """Measured steps in the direction of their pulses, `(n,)`."""
        return self.sign * (self.after - self.before)


@dataclass(frozen=True, eq=False)
class Linearised:
    """Residuals of a train at some parameters, and the factor of their covariance.

    Attributes
    ----------
    residuals : ndarray (n,)
        r.
    share : ndarray (n,)
        1 + s f', which a read's noise keeps over the pulse.
    factor : ndarray (2, n)
        Lower Cholesky factor, banded.
    read_variance : float
        e².
    """

    residuals: np.ndarray
    share: np.ndarray
    factor: np.ndarray
    read_variance: float

    @property
    def surprise(self) -> float:
        """−ln likelihood."""
        weights, _ = dpbtrs(self.factor, self.residuals, lower=1)
        constant = 0.5 * len(weights) * math.log(2 * math.pi)
        return float(np.log(self.factor[0]).sum() + 0.5 * self.residuals @ weights + constant)

    def whitened(self, columns: np.ndarray) -> np.ndarray:
        """L⁻¹ columns: what has unit covariance."""
        # Of no columns SciPy's wrapper writes outside its memory.
        if not columns.size:
            return np.zeros_like(columns)
        return dtbtrs(self.factor, columns, uplo="L")[0]

    def read_noise_so_far(self, follows: np.ndarray) -> np.ndarray:
        """Expected noise of the read before each pulse, given the reads up to it, `(n,)`."""
        # Of what came before, only the last innovation holds that noise, with a covariance of e².
        innovation = self.whitened(self.residuals) / self.factor[0]
        return np.where(follows, self.read_variance * np.concatenate([[0.0], innovation[:-1]]), 0.0)

    def read_noise(self, follows: np.ndarray) -> np.ndarray:
        """Expected noise of the read before each pulse, given all the data, `(n,)`."""
        weights, _ = dpbtrs(self.factor, self.residuals, lower=1)
        earlier = np.where(follows, np.concatenate([[0.0], weights[:-1]]), 0.0)
        return self.read_variance * (earlier - self.share * weights)


class PulseLikelihood:
    """Likelihood of one train under a family of steps.

    Parameters
    ----------
    train : PulseTrain
        The data.
    family : StepFamily
        Its coordinates are the first of the likelihood's.
    cycle, write : bool
        Whether there is cycle-to-cycle noise σ and write noise e; ln σ and ln e are the last coordinates.
    """

    def __init__(self, train: PulseTrain, family: StepFamily, cycle: bool = True, write: bool = True):
        self.train, self.family, self.cycle, self.write = train, family, cycle, write
        self.states = train.before
        self._sign = train.sign

    def copy(self) -> PulseLikelihood:
        """The same at its present states."""
        return self.of(self.family)

    def of(self, family: StepFamily) -> PulseLikelihood:
        """That of another family, at the present states."""
        twin = PulseLikelihood(self.train, family, self.cycle, self.write)
        twin.states = self.states
        return twin

    @property
    def n_coordinates(self) -> int:
        """Parameters of the steps and of the noise."""
        return self.family.n_coordinates + self.cycle + self.write

    @np.errstate(all="ignore")
    def at(self, x: np.ndarray) -> Linearised:
        """Residuals and covariance about the present `states`.

        Searches turn back where these overflow, and begin there at times, which is nothing to warn of.
        """
        cycle = np.exp(x[self.family.n_coordinates]) if self.cycle else 0.0
        write = np.exp(x[-1]) if self.write else 0.0
        residuals, size, share = self._about(x)
        variance = (cycle * size) ** 2 + RESOLUTION**2 + write**2 * (1 + share**2)
        band = np.zeros((2, len(size)))
        band[0] = variance
        band[1, :-1] = np.where(self.train.follows[1:], -(write**2) * share[1:], 0.0)
        factor, fault = dpbtrf(band, lower=1)
        if fault:
            raise np.linalg.LinAlgError("the covariance is not positive definite")
        return Linearised(residuals, share, factor, write**2)

    @np.errstate(all="ignore")
    def slopes(self, x: np.ndarray) -> np.ndarray:
        """Derivatives of the residuals by the steps' parameters, `(n, family.n_coordinates)`.

        Those at an edge beyond which steps make no sense are 0, as of parameters that the data do not see.
        """
        n = self.family.n_coordinates
        found = derivatives(lambda steps: self._about(np.concatenate([steps, x[n:]]))[0], x[:n])
        return np.where(np.isfinite(found).all(axis=0), found, 0.0)

    def _about(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Residuals, step sizes, and shares, see `Linearised`."""
        size, slope = self.family.step(x[: self.family.n_coordinates], self.states, self.train.up)
        share = 1 + self._sign * slope
        mean = self._sign * size + (share - 1) * (self.train.before - self.states)
        return self.train.after - self.train.before - mean, size, share

    def surprise(self, x: np.ndarray) -> float:
        """−ln likelihood; infinite where the parameters make no sense."""
        with np.errstate(all="ignore"):
            try:
                value = self.at(x).surprise
            except np.linalg.LinAlgError:
                return np.inf
        return value if np.isfinite(value) else np.inf

    def innovations(self, x: np.ndarray) -> np.ndarray:
        """Log of the deviation of each change given those before it, and the change in these deviations, `(2, n)`."""
        linear = self.at(x)
        with np.errstate(all="ignore"):
            return np.stack([np.log(linear.factor[0]), linear.whitened(linear.residuals)])

    def smooth(self, x: np.ndarray) -> float:
        """Move `states` to what the data say at these parameters; returns the largest move."""
        if not self.write:
            return 0.0
        before = self.states
        self.states = self.train.before - self.at(x).read_noise(self.train.follows)
        return float(np.abs(self.states - before).max())
