"""What a line search has evaluated, so that the step that it chooses is not evaluated again."""

from __future__ import annotations

import numpy as np

from analog_ep.equilibrium.nodal.equations import Equations, State


class Trials:
    """Residuals after steps along given directions, for `line_search`; the states that they belong to are kept.

    Parameters
    ----------
    equations : Equations
        Of the samples that are searched.
    unknowns, caps : ndarray (n_samples, n_unknowns), (n_samples, n_controls)
        Where the steps begin, and up to where exponentials are followed.
    directions : ndarray (n_samples, n_unknowns)
        Of the steps. [V]
    """

    def __init__(self, equations: Equations, unknowns: np.ndarray, caps: np.ndarray, directions: np.ndarray):
        self._equations, self._unknowns, self._caps, self._directions = equations, unknowns, caps, directions
        self._state: State | None = None
        self._lengths = np.full(len(unknowns), np.nan)

    def __call__(self, chosen: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Residual `(n_chosen, n_unknowns)` of the chosen samples, all of them at first, after steps so long."""
        point = self._unknowns[chosen] + lengths[:, None] * self._directions[chosen]
        state = self._equations.select(chosen).at(point, self._caps[chosen])
        if self._state is None:
            self._state = state
        else:
            self._state.put(chosen, state)
        self._lengths[chosen] = lengths
        return state.residual

    def after(self, samples: np.ndarray, lengths: np.ndarray) -> tuple[State, np.ndarray]:
        """State of some samples after steps of these lengths, and which of them were last evaluated after others."""
        assert self._state is not None, "search first"
        return self._state.select(samples), self._lengths[samples] != lengths
