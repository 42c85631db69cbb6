"""The pulse models as families of step sizes over a state w that spans −1…1, in coordinates that a fit works in."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

_LEAST_SLOPE = 0.02
"""Of steps relative to that at w = 0, over w: bounds 50 half windows away leave steps nearly constant."""


_AT_BOUND = 1e-9
"""Share of the window that is left where a power law is at its bound."""


class StepFamily(ABC):
    """Steps up and down as a function of w and of the fit's coordinates.

    Attributes
    ----------
    name : str
        Of the pulse model that a member of the family is.
    n_coordinates : int
        How many numbers choose a member.
    inner : StepFamily or None
        A simpler family near whose best member one of this family's lies: where to begin too.
    """

    name: str
    n_coordinates: int
    inner: StepFamily | None = None

    @abstractmethod
    def step(self, x: np.ndarray, w: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Size of the step from each state under its pulse, not negative, and its derivative by w, `(n,)` each."""

    @abstractmethod
    def start(self, w: np.ndarray, size: np.ndarray, up: np.ndarray) -> np.ndarray:
        """Coordinates near the optimum, in closed form, from noisy steps of size `size` at `w`."""

    @abstractmethod
    def flat(self, up: float, down: float) -> np.ndarray:
        """Coordinates of steps that hardly depend on the state: where to start when the closed form fails."""

    def around(self, x: np.ndarray) -> np.ndarray:
        """Coordinates of this family's member that has, or nearly has, the steps of the inner one's at `x`."""
        raise NotImplementedError(f"{self.name} has no inner family")

    @abstractmethod
    def fields(self, x: np.ndarray) -> dict[str, float]:
        """Fields of the pulse model, with the states `low` and `high` that its bounds −1 and 1 stand for."""

    def fault(self, x: np.ndarray) -> str | None:
        """Why no pulse model has these steps, if none has."""
        return None


class ConstantFamily(StepFamily):
    """ConstantStep: ln up, ln down."""

    name = "ConstantStep"
    n_coordinates = 2

    def step(self, x: np.ndarray, w: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.where(up, *np.exp(x)), np.zeros(len(w))

    def start(self, w: np.ndarray, size: np.ndarray, up: np.ndarray) -> np.ndarray:
        return np.log([_positive(size[up].mean(), size), _positive(size[~up].mean(), size)])

    def flat(self, up: float, down: float) -> np.ndarray:
        return np.log([up, down])

    def fields(self, x: np.ndarray) -> dict[str, float]:
        return {**_steps(*np.exp(x)), "low": -1.0, "high": 1.0}


class LinearFamily(StepFamily):
    """LinearStep between the ends of the window: ln up, γ_up, ln down, γ_down."""

    name = "LinearStep"
    n_coordinates = 4
    inner = ConstantFamily()

    def step(self, x: np.ndarray, w: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size, slope = np.where(up, np.exp(x[0]), np.exp(x[2])), np.where(up, -x[1], x[3])
        return _clamped(size * (1 + slope * w), size * slope)

    def start(self, w: np.ndarray, size: np.ndarray, up: np.ndarray) -> np.ndarray:
        (a_up, b_up), (a_down, b_down) = _lines(w, size, up)
        p_up, p_down = _positive(a_up, size), _positive(a_down, size)
        return np.array([np.log(p_up), -b_up / p_up, np.log(p_down), b_down / p_down])

    def flat(self, up: float, down: float) -> np.ndarray:
        return np.array([np.log(up), 0.0, np.log(down), 0.0])

    def around(self, x: np.ndarray) -> np.ndarray:
        return np.array([x[0], 0.0, x[1], 0.0])

    def fields(self, x: np.ndarray) -> dict[str, float]:
        slopes = {"gamma_up": float(x[1]), "gamma_down": float(x[3])}
        return {**_steps(np.exp(x[0]), np.exp(x[2])), **slopes, "low": -1.0, "high": 1.0}

    def fault(self, x: np.ndarray) -> str | None:
        return "steps that grow towards the bound ahead" if min(x[1], x[3]) < 0 else None


class SoftBoundsFamily(StepFamily):
    """SoftBounds: ln of the rates up and down, and the states at which the steps vanish."""

    name = "SoftBounds"
    n_coordinates = 4
    inner = LinearFamily()

    def step(self, x: np.ndarray, w: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rate = np.where(up, *np.exp(x[:2]))
        return _clamped(rate * np.where(up, x[2] - w, w - x[3]), np.where(up, -rate, rate))

    def start(self, w: np.ndarray, size: np.ndarray, up: np.ndarray) -> np.ndarray:
        (a_up, b_up), (a_down, b_down) = _lines(w, size, up)
        r_up, r_down = _positive(-b_up, 0.01 * size), _positive(b_down, 0.01 * size)
        # No bound is taken to lie so far inside the data that steps would vanish where there are some.
        high, low = max(a_up / r_up, np.quantile(w, 0.95)), min(-a_down / r_down, np.quantile(w, 0.05))
        return np.array([np.log(r_up), np.log(r_down), high, low])

    def flat(self, up: float, down: float) -> np.ndarray:
        return np.array([np.log(up / 5), np.log(down / 5), 5.0, -5.0])

    def around(self, x: np.ndarray) -> np.ndarray:
        # Steps that grow towards the bound ahead are nearest to those of a bound far away.
        up, down = max(x[1], _LEAST_SLOPE), max(x[3], _LEAST_SLOPE)
        return np.array([x[0] + np.log(up), x[2] + np.log(down), 1 / up, -1 / down])

    def fields(self, x: np.ndarray) -> dict[str, float]:
        return {**_steps(*np.exp(x[:2])), "low": float(x[3]), "high": float(x[2])}


class ExpFamily(StepFamily):
    """ExpStep: for each sign ln of the step at w = 0, its relative slope there, and the exponent γ."""

    name = "ExpStep"
    n_coordinates = 6
    inner = LinearFamily()

    def step(self, x: np.ndarray, w: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ahead = np.where(up, w, -w)
        size, slope, gamma = (np.where(up, x[k], x[k + 3]) for k in range(3))
        exponent = np.clip(gamma * ahead, -50, 50)
        # (e^γw − 1)/γ, which is w where γ vanishes: a line, without a seam.
        bend = np.where(np.abs(gamma) > 1e-9, np.expm1(exponent) / np.where(gamma == 0, 1, gamma), ahead)
        size = np.exp(size)
        return _clamped(size * (1 + slope * bend), size * slope * np.exp(exponent) * np.where(up, 1, -1))

    def start(self, w: np.ndarray, size: np.ndarray, up: np.ndarray) -> np.ndarray:
        parts = []
        for sign, ahead in ((up, w[up]), (~up, -w[~up])):
            best = (np.inf, np.zeros(3))
            for gamma in (-4, -2, -1, -0.3, 0.3, 1, 2, 4):
                basis = np.column_stack([np.ones(len(ahead)), np.expm1(gamma * ahead) / gamma])
                (value, slope), *_ = np.linalg.lstsq(basis, size[sign], rcond=None)
                misfit = float(((basis @ [value, slope] - size[sign]) ** 2).sum())
                if misfit < best[0]:
                    value = _positive(value, size)
                    best = (misfit, np.array([np.log(value), slope / value, gamma]))
            parts.append(best[1])
        return np.concatenate(parts)

    def flat(self, up: float, down: float) -> np.ndarray:
        return np.array([np.log(up), -0.1, -1.0, np.log(down), -0.1, -1.0])

    def around(self, x: np.ndarray) -> np.ndarray:
        return np.array([x[0], -x[1], 0.0, x[2], -x[3], 0.0])

    def fields(self, x: np.ndarray) -> dict[str, float]:
        # v (1 + m (e^γw − 1)/γ) = p (1 − A e^γw) with p = v (1 − m/γ), A = −(m/γ)/(1 − m/γ).
        base, amplitude = [], []
        for value, slope, gamma in (x[:3], x[3:]):
            quotient = slope / gamma if gamma else np.inf
            base.append(np.exp(value) * (1 - quotient))
            amplitude.append(-quotient / (1 - quotient))
        shape = {
            "amplitude_up": float(amplitude[0]),
            "amplitude_down": float(amplitude[1]),
            "gamma_up": float(x[2]),
            "gamma_down": float(x[5]),
        }
        return {**_steps(*base), **shape, "a": 1.0, "b": 0.0, "low": -1.0, "high": 1.0}

    def fault(self, x: np.ndarray) -> str | None:
        for _, slope, gamma in (x[:3], x[3:]):
            if gamma == 0 or slope / gamma >= 1:
                return "a step that is the negative of an ExpStep"
        return None


class PowFamily(StepFamily):
    """PowStep: ln of the full steps, ln of the powers, and the states at which the steps vanish."""

    name = "PowStep"
    n_coordinates = 6
    inner = SoftBoundsFamily()

    def step(self, x: np.ndarray, w: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size, power = np.where(up, *np.exp(x[:2])), np.where(up, *np.exp(x[2:4]))
        width = max(x[4] - x[5], 1e-9)
        left = np.maximum(np.where(up, x[4] - w, w - x[5]) / width, _AT_BOUND)
        slope = size * power * left ** (power - 1) / width * np.where(up, -1, 1)
        # Beyond its bound a step is none, whatever the state.
        return size * left**power, np.where(left > _AT_BOUND, slope, 0.0)

    def start(self, w: np.ndarray, size: np.ndarray, up: np.ndarray) -> np.ndarray:
        soft = SoftBoundsFamily().start(w, size, up)
        margin = 0.02 * np.ptp(w)
        high, low = max(soft[2], w.max() + margin), min(soft[3], w.min() - margin)
        # ln step is linear in ln of the distance left; far outliers of small steps are left out of the start.
        parts = []
        for sign, left in ((up, (high - w[up]) / (high - low)), (~up, (w[~up] - low) / (high - low))):
            positive = size[sign] > 0.05 * np.abs(size[sign]).mean()
            power, log_size = np.polyfit(np.log(left[positive]), np.log(size[sign][positive]), 1)
            parts.append((log_size, np.log(np.clip(power, 0.1, 10))))
        return np.array([parts[0][0], parts[1][0], parts[0][1], parts[1][1], high, low])

    def flat(self, up: float, down: float) -> np.ndarray:
        return np.array([np.log(2 * up), np.log(2 * down), 0.0, 0.0, 2.0, -2.0])

    def around(self, x: np.ndarray) -> np.ndarray:
        width = np.log(max(x[2] - x[3], _LEAST_SLOPE))
        return np.array([x[0] + width, x[1] + width, 0.0, 0.0, x[2], x[3]])

    def fields(self, x: np.ndarray) -> dict[str, float]:
        # A step of the whole window is one of 2 in w.
        scale = 2 / (x[4] - x[5])
        gamma_up, gamma_down = np.exp(x[2:4])
        gamma = max(gamma_up, gamma_down)
        tilt = gamma_up / gamma - 1 if gamma_up < gamma_down else 1 - gamma_down / gamma
        shape = {"gamma": float(gamma), "gamma_up_down": float(tilt)}
        return {**_steps(*(scale * np.exp(x[:2]))), **shape, "low": float(x[5]), "high": float(x[4])}


class PiecewiseFamily(StepFamily):
    """PiecewiseStep on equally spaced states: ln of the steps up at each, then of those down."""

    name = "PiecewiseStep"
    n_nodes = 5
    n_coordinates = 2 * n_nodes
    inner = LinearFamily()
    _nodes = np.linspace(-1, 1, n_nodes)

    def step(self, x: np.ndarray, w: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = np.exp(x).reshape(2, -1)
        slopes = np.diff(values, axis=1) / np.diff(self._nodes)
        place = np.clip(((w + 1) / 2 * (self.n_nodes - 1)).astype(int), 0, self.n_nodes - 2)
        inside = (w > -1) & (w < 1)
        row = np.where(up, 0, 1)
        size = values[row, place] + slopes[row, place] * (np.clip(w, -1, 1) - self._nodes[place])
        return size, np.where(inside, slopes[row, place], 0.0)

    def start(self, w: np.ndarray, size: np.ndarray, up: np.ndarray) -> np.ndarray:
        parts = []
        for sign in (up, ~up):
            hats = np.column_stack([np.interp(w[sign], self._nodes, row) for row in np.eye(self.n_nodes)])
            # A pull to the mean step where the data have no states.
            pull = 0.1 * np.eye(self.n_nodes)
            target = np.concatenate([size[sign], np.full(self.n_nodes, 0.1 * size[sign].mean())])
            values, *_ = np.linalg.lstsq(np.vstack([hats, pull]), target, rcond=None)
            parts.append(np.log([_positive(value, 0.05 * size[sign]) for value in values]))
        return np.concatenate(parts)

    def flat(self, up: float, down: float) -> np.ndarray:
        return np.log(np.repeat([up, down], self.n_nodes))

    def around(self, x: np.ndarray) -> np.ndarray:
        sizes = [LinearFamily().step(x, self._nodes, np.full(self.n_nodes, up))[0] for up in (True, False)]
        return np.log(np.concatenate([np.maximum(each, 0.02 * each.mean() + 1e-300) for each in sizes]))

    def fields(self, x: np.ndarray) -> dict[str, float]:
        up, down = np.exp(x).reshape(2, -1)
        factors = {f"factors_up_{k}": float(v / up.mean()) for k, v in enumerate(up)}
        factors |= {f"factors_down_{k}": float(v / down.mean()) for k, v in enumerate(down)}
        return {**_steps(up.mean(), down.mean()), **factors, "low": -1.0, "high": 1.0}


FAMILIES: dict[str, StepFamily] = {
    family.name: family
    for family in (
        ConstantFamily(),
        SoftBoundsFamily(),
        LinearFamily(),
        PowFamily(),
        ExpFamily(),
        PiecewiseFamily(),
    )
}
"""Families that a fit chooses from, by the name of the pulse model, simple ones first."""


def _steps(up: float, down: float) -> dict[str, float]:
    step = max(up, down)
    return {"step": float(step), "up_down": float(up / step - 1 if up < down else 1 - down / step)}


def _clamped(size: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(size, 0.0), np.where(size > 0, slope, 0.0)


def _positive(value: float, sizes: np.ndarray) -> float:
    return float(max(value, 0.05 * np.abs(sizes).mean(), 1e-12))


def _lines(w: np.ndarray, size: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope of the steps up, and of those down."""
    return np.polyfit(w[up], size[up], 1)[::-1], np.polyfit(w[~up], size[~up], 1)[::-1]
