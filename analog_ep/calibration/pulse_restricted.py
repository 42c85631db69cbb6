r"""Noise of a pulse train by its restricted likelihood [1]_.

Steps that are fitted take a share of the noise with them, so that maximum likelihood states too little of it. Behind
noisy reads 2,000 pulses may say no more of the cycle-to-cycle noise than 80 clean ones, and four parameters of the
steps then take a third of its uncertainty. The restricted likelihood is that of the residuals alone. Its −ln is

.. math:: -\ln L(x, θ) + ½ \ln\det J^T V(θ)^{-1} J

at the best steps x of each noise θ, J the derivatives of the residuals by x and V their covariance. Noise that counts
in steps makes V one of x too: what the determinant says of the noise it says of σ times the steps, and leaves it to
the residuals how many steps that is.

References
----------
.. [1] H. D. Patterson and R. Thompson, "Recovery of inter-block information when block sizes are unequal," Biometrika
   58, 545-554, 1971, doi:10.1093/biomet/58.3.545.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analog_ep.calibration.differences import curvature, derivatives, inverse
from analog_ep.calibration.pulse_likelihood import PulseLikelihood

_ROUNDS, _CLOSE = 10, 1e-5


def restricted(likelihood: PulseLikelihood, x: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates and covariance with the noise of the restricted likelihood, from those of maximum likelihood.

    Parameters
    ----------
    likelihood : PulseLikelihood
        With the smoothed states at the optimum; it has a noise.
    x : ndarray (n_coordinates,)
        The optimum.
    covariance : ndarray (n_coordinates, n_coordinates)
        There; infinite where the data do not tell.

    Returns
    -------
    coordinates : ndarray (n_coordinates,)
    covariance : ndarray (n_coordinates, n_coordinates)
        Infinite where the data do not tell.
    """
    finite = np.where(np.isfinite(covariance), covariance, 0.0)
    for _ in range(_ROUNDS):
        slope = derivatives(likelihood.surprise, x, 1e-4) + derivatives(_taken(likelihood, x), x, 1e-3)
        # A coordinate at an edge beyond which there is no likelihood stays.
        slope = np.where(np.isfinite(slope), slope, 0.0)
        step = -finite @ slope
        ahead = x + step * min(1.0, 0.5 / max(np.abs(step).max(), 1e-300))
        if not np.isfinite(likelihood.surprise(ahead)):
            break
        x = ahead
        # What was left to win, in units of ln likelihood.
        if -slope @ step < _CLOSE:
            break
    hessian = curvature(likelihood.surprise, x, 1e-3)[1] + curvature(_taken(likelihood, x), x, 1e-3)[1]
    return x, inverse(hessian)


def _taken(likelihood: PulseLikelihood, x: np.ndarray) -> Callable[[np.ndarray], float]:
    """½ ln det JᵀV⁻¹J as a function of V, which is one of steps and noise, up to a constant."""
    slopes = likelihood.slopes(x)
    u, s, _ = np.linalg.svd(slopes / np.maximum(np.linalg.norm(slopes, axis=0), 1e-300), full_matrices=False)
    # An orthonormal basis spans the same, and leaves out what the data do not see.
    basis = u[:, s > 1e-8 * s[0]]

    def half_log_determinant(at: np.ndarray) -> float:
        try:
            whitened = likelihood.at(at).whitened(basis)
        except np.linalg.LinAlgError:
            return np.inf
        return 0.5 * float(np.linalg.slogdet(whitened.T @ whitened)[1])

    return half_log_determinant
