"""Are fits of pulse trains as likely as anything a search finds, do their intervals hold, are wrong models found out?

python benchmarks/pulse_search.py --draws 50 --power 50 --out trains.jsonl

Twenty kinds of train: six models, noise of 0.1 to 10 steps, some with write noise. Steps, simulation, likelihood and
search are of this file alone. Without write noise the likelihood is exact; with it, it is that of an extended Kalman
filter. The search takes the best of many points about the truth, near and far, and of scipy's minimiser from the best
of these.

Wrong models: those whose best likelihood a likelihood-ratio test tells from that of the true model in at least 95 % of
draws, at 1 % of the trains that the wrong model itself makes, must be called inadequate.

What is found goes to `--out`, a line a draw, as it comes; draws that stand there are not done again.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from scipy.optimize import minimize

from analog_ep.calibration.fit import Estimate
from analog_ep.calibration.population import Population, combine
from analog_ep.calibration.pulse_adequacy import adequacy_of
from analog_ep.calibration.pulse_fit import TrainFit, fit_train, most_likely_fit
from analog_ep.calibration.pulse_likelihood import PulseTrain
from analog_ep.calibration.pulse_parameters import pulse_estimates
from analog_ep.calibration.step_families import FAMILIES

PULSES, CYCLES = 200, 2
POINTS, POLISHED = 400, 5
RESOLUTION = 1e-7
LEVEL, POWER = 0.01, 0.95

Steps = Callable[[np.ndarray, float, bool], float]
"""Size of the step at coordinates `(n,)` and a state, up or down."""

compiled = numba.njit(error_model="numpy")


@compiled
def constant(x: np.ndarray, w: float, up: bool) -> float:
    return math.exp(x[0] if up else x[1])


@compiled
def linear(x: np.ndarray, w: float, up: bool) -> float:
    size, slope = (x[0], -x[1]) if up else (x[2], x[3])
    return max(math.exp(size) * (1 + slope * w), 0.0)


@compiled
def soft(x: np.ndarray, w: float, up: bool) -> float:
    return max(math.exp(x[0]) * (x[2] - w) if up else math.exp(x[1]) * (w - x[3]), 0.0)


@compiled
def exponential(x: np.ndarray, w: float, up: bool) -> float:
    size, slope, gamma = (x[0], x[1], x[2]) if up else (x[3], x[4], x[5])
    ahead = w if up else -w
    gamma = 1e-8 if abs(gamma) < 1e-8 else gamma
    return max(math.exp(size) * (1 + slope * math.expm1(min(max(gamma * ahead, -50.0), 50.0)) / gamma), 0.0)


@compiled
def power(x: np.ndarray, w: float, up: bool) -> float:
    left = (x[4] - w if up else w - x[5]) / max(x[4] - x[5], 1e-9)
    return math.exp(x[0] if up else x[1]) * max(left, 1e-9) ** math.exp(x[2] if up else x[3])


@compiled
def piecewise(x: np.ndarray, w: float, up: bool) -> float:
    place = min(max((w + 1) * 2, 0.0), 4.0)
    k = min(int(place), 3)
    first = k if up else 5 + k
    low, high = math.exp(x[first]), math.exp(x[first + 1])
    return low + (place - k) * (high - low)


@dataclass(frozen=True)
class Kind:
    """What trains are made of: a model's steps at the truth, and noise."""

    name: str
    noise: float
    write: float = 0.0


STEPS: dict[str, Steps] = {
    "ConstantStep": constant, "LinearStep": linear, "SoftBounds": soft, "ExpStep": exponential, "PowStep": power,
    "PiecewiseStep": piecewise,
}  # fmt: skip
TRUTH = {
    "ConstantStep": np.log([0.006, 0.007]),
    "LinearStep": np.array([np.log(0.006), 0.7, np.log(0.007), 0.6]),
    "SoftBounds": np.array([np.log(0.007), np.log(0.008), 1.1, -1.1]),
    "ExpStep": np.array([np.log(0.006), -0.5, 1.0, np.log(0.007), -0.4, 1.2]),
    "PowStep": np.array([np.log(0.014), np.log(0.016), 0.3, 0.2, 1.2, -1.2]),
    "PiecewiseStep": np.log([0.014, 0.010, 0.008, 0.006, 0.003, 0.003, 0.004, 0.006, 0.009, 0.012]),
}
KINDS = (
    *(Kind("ConstantStep", noise) for noise in (0.1, 1.0, 10.0)),
    Kind("LinearStep", 0.1), Kind("LinearStep", 1.0), Kind("LinearStep", 0.3, 0.01),
    *(Kind("SoftBounds", noise) for noise in (0.1, 3.0, 10.0)), Kind("SoftBounds", 1.0, 0.01),
    *(Kind("ExpStep", noise) for noise in (0.1, 1.0, 10.0)), Kind("ExpStep", 0.3, 0.01),
    *(Kind("PowStep", noise) for noise in (0.1, 1.0, 5.0)), Kind("PowStep", 0.3, 0.01),
    Kind("PiecewiseStep", 0.1), Kind("PiecewiseStep", 1.0),
)  # fmt: skip
UP = np.tile(np.repeat([True, False], PULSES), CYCLES)


def drawn(
    name: str,
    x: np.ndarray,
    noise: float,
    write: float,
    random: np.random.Generator,
    begin: float = -0.8,
    end: float = math.inf,
) -> np.ndarray:
    """Reads `(n_pulses + 1,)` of cycles up and down, of states no farther from 0 than `end`."""
    size, state = STEPS[name], begin
    path = [state]
    for sign, fluctuation in zip(UP, random.normal(size=len(UP)), strict=True):
        state += (1 if sign else -1) * size(x, state, sign) * (1 + noise * fluctuation)
        state = min(max(state, -end), end)
        path.append(state)
    return np.array(path) + write * random.normal(size=len(path))


def surprise(name: str, points: np.ndarray, reads: np.ndarray, write: bool) -> np.ndarray:
    """−ln likelihood `(n_points,)` of reads `(n_pulses + 1,)`: points are steps, ln σ and, with write noise, ln e."""
    value = (_filtered if write else _exact)(STEPS[name], points, reads)
    return np.where(np.isfinite(value), value, 1e10)


@compiled
def _exact(steps: Steps, points: np.ndarray, reads: np.ndarray) -> np.ndarray:
    totals = np.zeros(len(points))
    for p in range(len(points)):
        x, noise = points[p], math.exp(points[p, -1])
        for k in range(len(UP)):
            size = steps(x, reads[k], UP[k])
            variance = (noise * size) ** 2 + RESOLUTION**2
            missed = reads[k + 1] - reads[k] - (size if UP[k] else -size)
            totals[p] += 0.5 * (math.log(2 * math.pi * variance) + missed**2 / variance)
    return totals


@compiled
def _filtered(steps: Steps, points: np.ndarray, reads: np.ndarray) -> np.ndarray:
    totals, h = np.zeros(len(points)), 1e-5
    for p in range(len(points)):
        x, noise, read = points[p], math.exp(points[p, -2]), math.exp(2 * points[p, -1])
        # Of the first state nothing is known but its read.
        state, variance = reads[0], read
        for k in range(len(UP)):
            sign = 1 if UP[k] else -1
            size = steps(x, state, UP[k])
            slope = (steps(x, state + h, UP[k]) - steps(x, state - h, UP[k])) / (2 * h)
            state += sign * size
            variance = (1 + sign * slope) ** 2 * variance + (noise * size) ** 2 + RESOLUTION**2
            innovation, spread = reads[k + 1] - state, variance + read
            totals[p] += 0.5 * (math.log(2 * math.pi * spread) + innovation**2 / spread)
            gain = variance / spread
            state, variance = state + gain * innovation, gain * read
            if not math.isfinite(state):
                totals[p] = np.inf
                break
    return totals


def searched(
    name: str, truth: np.ndarray, reads: np.ndarray, write: bool, further: Sequence[np.ndarray], seed: int
) -> float:
    """Smallest −ln likelihood that a search finds."""
    random = np.random.default_rng(seed)
    scales = np.repeat([0.1, 0.5, 2.0], POINTS // 3)[:, None]
    cloud = np.vstack([truth, *further, truth + scales * random.normal(size=(len(scales), len(truth)))])
    values = surprise(name, cloud, reads, write)
    best = float(values.min())
    order = [*range(1 + len(further)), *np.argsort(values)][: POLISHED + len(further)]
    for start in cloud[list(dict.fromkeys(order))]:
        best = min(best, _polished(name, start, reads, write))
    return best


def _polished(name: str, start: np.ndarray, reads: np.ndarray, write: bool) -> float:
    h = 1e-5 * np.eye(len(start))

    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        values = surprise(name, np.vstack([x, x + h, x - h]), reads, write)
        n = len(x)
        return float(values[0]), (values[1 : n + 1] - values[n + 1 :]) / 2e-5

    found = minimize(both, start, jac=True, method="BFGS", options={"maxiter": 300})
    return float(found.fun)


def train_of(reads: np.ndarray) -> PulseTrain:
    return PulseTrain(reads[:-1], reads[1:], UP, np.arange(len(UP)) > 0)


def shortfall(kind: Kind, reads: np.ndarray, fit: TrainFit, seed: int) -> float:
    """What a fit falls short of the search, in BIC/2.

    The fit may leave a noise out: the search is of both likelihoods, each with the price of its parameters.
    """
    price = 0.5 * np.log(len(UP))
    noise = fit.cycle_noise or 1e-6
    own = np.concatenate([fit.steps, [np.log(noise)], [np.log(fit.write_noise)] if fit.write_noise else []])
    mine = float(surprise(kind.name, own[None], reads, bool(fit.write_noise))[0])
    best = np.inf
    for write in (False, True) if kind.write else (False,):
        truth = np.concatenate([TRUTH[kind.name], [np.log(kind.noise)], [np.log(kind.write)] if write else []])
        further = [own] if len(own) == len(truth) else []
        best = min(best, searched(kind.name, truth, reads, write, further, seed) + price * len(truth))
    return mine + price * (len(own) - (not fit.cycle_noise)) - best


def reads_of(number: int, draw: int) -> np.ndarray:
    """Of a draw of a kind."""
    kind = KINDS[number]
    return drawn(kind.name, TRUTH[kind.name], kind.noise, kind.write, np.random.default_rng([number, draw]))


def study(number: int, draw: int) -> dict[str, Any]:
    """Shortfall, seconds of the fit, errors in σ of what its card states, and whether the fit is rejected."""
    kind, reads = KINDS[number], reads_of(number, draw)
    train = train_of(reads)
    began = time.process_time()
    likeliest = most_likely_fit(train, FAMILIES[kind.name])
    seconds = time.process_time() - began
    fit = fit_train(train, FAMILIES[kind.name])
    truth = list(TRUTH[kind.name])
    truth += [np.log(kind.noise)] if fit.cycle_noise else []
    truth += [np.log(kind.write or np.nan)] if fit.write_noise else []
    found = combine([fit])
    stated, right = card_of(found, kind), card_of(replace(found, mean=np.array(truth)), kind)
    told = {name: each for name, each in stated.items() if 0 < each.uncertainty < np.inf}
    errors = {name: (each.value - right[name].value) / each.uncertainty for name, each in told.items()}
    short = shortfall(kind, reads, likeliest, draw)
    return {"short": short, "seconds": seconds, "errors": errors, "rejected": not adequacy_of(fit).adequate}


def card_of(population: Population, kind: Kind) -> dict[str, Estimate]:
    """Parameters and their uncertainties as a card has them."""
    estimates, constants, *_ = pulse_estimates(population, FAMILIES[kind.name], (-1.0, 1.0))
    return constants | estimates


def wrong_models(number: int, draw: int) -> dict[str, Any]:
    """Of each: ln likelihood ratio to the true one, of the draw and of a train that it made; whether it is rejected."""
    kind, train, found = KINDS[number], train_of(reads_of(number, draw)), {}
    for wrong in FAMILIES.keys() - {kind.name}:
        random = np.random.default_rng([99, number, draw])
        # Outside the window, which the fit has seen, exponentials and lines may lead anywhere.
        null = train_of(drawn(wrong, *made_by(number, wrong), random, reads_of(number, 0)[0], end=2.0))
        called = not adequacy_of(fit_train(train, FAMILIES[wrong])).adequate
        ratios = [
            most_likely_fit(each, FAMILIES[wrong]).surprise - most_likely_fit(each, FAMILIES[kind.name]).surprise
            for each in (train, null)
        ]
        found[wrong] = {"ratio": ratios[0], "null": ratios[1], "called": called}
    return found


@lru_cache
def made_by(number: int, wrong: str) -> tuple[np.ndarray, float, float]:
    """Steps and noises of a wrong model as it was fitted to the first draw."""
    fit = most_likely_fit(train_of(reads_of(number, 0)), FAMILIES[wrong])
    return fit.steps, fit.cycle_noise, fit.write_noise


class Records:
    """What was found of draws, by what was asked, kind and draw; kept in a file where one is given."""

    def __init__(self, path: Path | None):
        self._path = path
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self._found = {tuple(of): found for of, found in map(json.loads, lines)}

    def get(self, ask: Callable[[int, int], dict[str, Any]], number: int, draw: int) -> dict[str, Any]:
        """A draw's record, made where there is none."""
        of = (ask.__name__, number, draw)
        if of not in self._found:
            self._found[of] = ask(number, draw)
            if self._path is not None:
                with self._path.open("a") as file:
                    file.write(json.dumps([of, self._found[of]]) + "\n")
        return self._found[of]


def row(kind: Kind, found: list[dict[str, Any]]) -> str:
    """A kind's line of the table."""
    errors = np.array([error for each in found for error in each["errors"].values()])
    short, share = max(each["short"] for each in found), float((np.abs(errors) < 1).mean())
    rejected, seconds = (np.mean([each[name] for each in found]) for name in ("rejected", "seconds"))
    return (
        f"{kind.name:14}  {kind.noise:6}  {kind.write:5}  {short:18.2g}  {100 * share:9.0f}  {100 * rejected:10.0f}"
        f"  {seconds:13.2f}"
    )


def wrong_row(wrong: str, found: list[dict[str, Any]]) -> str:
    """Of a wrong model: power of the likelihood ratio, and how often the fit of it is called inadequate."""
    limit = np.quantile([each[wrong]["null"] for each in found], 1 - LEVEL)
    apart = np.mean([each[wrong]["ratio"] > limit for each in found])
    called = np.mean([each[wrong]["called"] for each in found])
    missed = "  missed" if apart >= POWER > called else ""
    return f"    {wrong:14} told apart {apart:.2f}  called inadequate {called:.2f}{missed}"


def main() -> None:
    """A line a kind of train, and one a wrong model of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--power", type=int, default=0, help="draws of the comparison with wrong models")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of kinds")
    parser.add_argument("--out", type=Path, help="a file for a line of JSON a draw; what it holds is not done again")
    options = parser.parse_args()
    records = Records(options.out)
    print("kind             noise  write  shortfall: largest  covered %  rejected %  seconds a fit")
    for number, kind in enumerate(KINDS):
        if options.only is not None and number not in options.only:
            continue
        if options.draws:
            print(row(kind, [records.get(study, number, k) for k in range(options.draws)]), flush=True)
        if options.power:
            found = [records.get(wrong_models, number, k) for k in range(options.power)]
            print(f"{kind.name}, noise of {kind.noise}, write noise of {kind.write}")
            print(*(wrong_row(wrong, found) for wrong in FAMILIES if wrong != kind.name), sep="\n", flush=True)


if __name__ == "__main__":
    main()
