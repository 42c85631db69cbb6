"""Are fits of pulse trains as likely as anything a search finds, do their intervals hold, are wrong models found out?

python benchmarks/pulse_search.py --draws 50

Twenty kinds of train: six models, noise of 0.1 to 10 steps, some with write noise. Steps, simulation, likelihood and
search are of this file alone. Without write noise the likelihood is exact; with it, it is that of an extended Kalman
filter. The search takes the best of many points about the truth, near and far, and of scipy's minimiser from the best
of these.

Wrong models: those whose best likelihood a likelihood-ratio test tells from that of the true model in at least 95 % of
draws, at 1 % of the trains that the wrong model itself makes, must be called inadequate.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from analog_ep.calibration.pulse_fit import TrainFit, adequacy_of, fit_train, most_likely_fit
from analog_ep.calibration.pulse_likelihood import PulseTrain
from analog_ep.calibration.step_families import FAMILIES

PULSES, CYCLES = 200, 2
POINTS, POLISHED = 400, 5
RESOLUTION = 1e-7
LEVEL, POWER = 0.01, 0.95

Steps = Callable[[np.ndarray, np.ndarray, bool], np.ndarray]
"""Sizes `(n_points, n_states)` at coordinates `(n_points, n)` and states `(n_points or 1, n_states)` under one sign."""


def constant(x: np.ndarray, w: np.ndarray, up: bool) -> np.ndarray:
    return np.exp(x[:, [0 if up else 1]]) + 0 * w


def linear(x: np.ndarray, w: np.ndarray, up: bool) -> np.ndarray:
    size, slope = (x[:, [0]], -x[:, [1]]) if up else (x[:, [2]], x[:, [3]])
    return np.maximum(np.exp(size) * (1 + slope * w), 0)


def soft(x: np.ndarray, w: np.ndarray, up: bool) -> np.ndarray:
    return np.maximum(np.exp(x[:, [0]]) * (x[:, [2]] - w) if up else np.exp(x[:, [1]]) * (w - x[:, [3]]), 0)


def exponential(x: np.ndarray, w: np.ndarray, up: bool) -> np.ndarray:
    size, slope, gamma = (x[:, [k]] for k in ((0, 1, 2) if up else (3, 4, 5)))
    ahead = w if up else -w
    gamma = np.where(np.abs(gamma) < 1e-8, 1e-8, gamma)
    return np.maximum(np.exp(size) * (1 + slope * np.expm1(np.clip(gamma * ahead, -50, 50)) / gamma), 0)


def power(x: np.ndarray, w: np.ndarray, up: bool) -> np.ndarray:
    width = np.maximum(x[:, [4]] - x[:, [5]], 1e-9)
    left = (x[:, [4]] - w if up else w - x[:, [5]]) / width
    return np.exp(x[:, [0 if up else 1]]) * np.maximum(left, 1e-9) ** np.exp(x[:, [2 if up else 3]])


def piecewise(x: np.ndarray, w: np.ndarray, up: bool) -> np.ndarray:
    values = np.exp(x[:, :5] if up else x[:, 5:10])
    place = np.clip((w + 1) * 2, 0, 4)
    hats = np.maximum(0, 1 - np.abs(place[..., None] - np.arange(5)))
    return np.einsum("pk,psk->ps", values, np.broadcast_to(hats, (len(x), *hats.shape[1:])))


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
    name: str, x: np.ndarray, noise: float, write: float, random: np.random.Generator, n: int, begin: float = -0.8
) -> np.ndarray:
    """Reads `(n_pulses + 1, n)` of cycles up and down."""
    states = np.full(n, begin)
    path = [states]
    for sign in UP:
        size = STEPS[name](x[None], states[None], bool(sign))[0]
        states = states + (1 if sign else -1) * size * (1 + noise * random.normal(size=n))
        path.append(states)
    return np.array(path) + write * random.normal(size=(len(UP) + 1, n))


def surprise(name: str, points: np.ndarray, reads: np.ndarray, write: bool) -> np.ndarray:
    """−ln likelihood `(n_points,)` of reads `(n_pulses + 1,)`: points are steps, ln σ and, with write noise, ln e."""
    steps = points[:, : -1 - write]
    with np.errstate(all="ignore"):
        value = _filtered(name, steps, points, reads) if write else _exact(name, steps, np.exp(points[:, -1:]), reads)
    return np.where(np.isfinite(value), value, 1e10)


def _exact(name: str, x: np.ndarray, noise: np.ndarray, reads: np.ndarray) -> np.ndarray:
    before, change = reads[:-1], np.diff(reads)
    total = np.zeros(len(x))
    for sign, up in ((1, True), (-1, False)):
        size = STEPS[name](x, before[None, up == UP], up)
        variance = (noise * size) ** 2 + RESOLUTION**2
        total += 0.5 * (np.log(2 * np.pi * variance) + (change[up == UP] - sign * size) ** 2 / variance).sum(1)
    return total


def _filtered(name: str, x: np.ndarray, points: np.ndarray, reads: np.ndarray) -> np.ndarray:
    noise, read = np.exp(points[:, -2]), np.exp(2 * points[:, -1])
    # Of the first state nothing is known but its read.
    state, variance, total = np.full(len(x), reads[0]), read.copy(), np.zeros(len(x))
    h = 1e-5
    for up, row in zip(UP, reads[1:], strict=True):
        sign = 1 if up else -1
        low, size, high = STEPS[name](x, np.stack([state - h, state, state + h], axis=1), bool(up)).T
        state = state + sign * size
        variance = (1 + sign * (high - low) / (2 * h)) ** 2 * variance + (noise * size) ** 2 + RESOLUTION**2
        innovation, spread = row - state, variance + read
        total += 0.5 * (np.log(2 * np.pi * spread) + innovation**2 / spread)
        gain = variance / spread
        state, variance = state + gain * innovation, gain * read
    return total


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

    found = minimize(both, start, jac=True, method="BFGS", options={"maxiter": 60 if write else 300})
    return float(found.fun)


def train_of(reads: np.ndarray) -> PulseTrain:
    return PulseTrain(reads[:-1], reads[1:], UP, np.arange(len(UP)) > 0)


def shortfall(kind: Kind, reads: np.ndarray, seed: int) -> tuple[float, TrainFit, float]:
    """What the fit falls short of the search, in BIC/2; the fit; its seconds.

    The fit may leave a noise out: the search is of both likelihoods, each with the price of its parameters.
    """
    train = train_of(reads)
    began = time.process_time()
    fit = most_likely_fit(train, FAMILIES[kind.name])
    seconds = time.process_time() - began
    price = 0.5 * np.log(len(train))
    noise = fit.cycle_noise or 1e-6
    own = np.concatenate([fit.steps, [np.log(noise)], [np.log(fit.write_noise)] if fit.write_noise else []])
    mine = float(surprise(kind.name, own[None], reads, bool(fit.write_noise))[0])
    best = np.inf
    for write in (False, True) if kind.write else (False,):
        truth = np.concatenate([TRUTH[kind.name], [np.log(kind.noise)], [np.log(kind.write)] if write else []])
        further = [own] if len(own) == len(truth) else []
        best = min(best, searched(kind.name, truth, reads, write, further, seed) + price * len(truth))
    return mine + price * (len(own) - (not fit.cycle_noise)) - best, fit, seconds


def covered(kind: Kind, train: PulseTrain) -> list[float]:
    """Errors in standard deviations of what the data tell: steps, ln σ, ln e."""
    fit = fit_train(train, FAMILIES[kind.name])
    truth = list(TRUTH[kind.name])
    truth += [np.log(kind.noise)] if fit.cycle_noise else []
    truth += [np.log(kind.write or np.nan)] if fit.write_noise else []
    deviations = np.sqrt(np.diag(fit.covariance))
    errors = (fit.coordinates - truth) / deviations
    return [float(e) for e, d in zip(errors, deviations, strict=True) if np.isfinite(d) and np.isfinite(e)]


def told_apart(kind: Kind, all_reads: np.ndarray, draws: int) -> list[dict[str, float | str]]:
    """Of every wrong model: power of the likelihood ratio, and how often the fit of it is called inadequate."""
    rows = []
    trains = [train_of(column) for column in all_reads.T[:draws]]
    right = [most_likely_fit(train, FAMILIES[kind.name]) for train in trains]
    for name in FAMILIES:
        if name == kind.name:
            continue
        wrong = [most_likely_fit(train, FAMILIES[name]) for train in trains]
        ratios = np.array([w.surprise - r.surprise for w, r in zip(wrong, right, strict=True)])
        null = _null_ratios(name, wrong[0], kind, all_reads[0, 0], draws)
        share = float((ratios > np.quantile(null, 1 - LEVEL)).mean())
        called = float(np.mean([not adequacy_of(fit_train(t, FAMILIES[name])).adequate for t in trains]))
        rows.append({"wrong": name, "power": share, "called": called})
    return rows


def _null_ratios(name: str, fit: TrainFit, kind: Kind, begin: float, draws: int) -> np.ndarray:
    random = np.random.default_rng(99)
    reads = drawn(name, fit.steps, fit.cycle_noise, fit.write_noise, random, draws, begin)
    trains = [train_of(column) for column in reads.T]
    pairs = [[most_likely_fit(t, FAMILIES[each]).surprise for each in (name, kind.name)] for t in trains]
    return np.array([wrong - right for wrong, right in pairs])


def main() -> None:
    """A line a kind of train, and one of JSON for `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--power", type=int, default=0, help="draws of the comparison with wrong models")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of kinds")
    parser.add_argument("--out", help="a file for a line of JSON a kind")
    options = parser.parse_args()
    print("kind             noise  write  shortfall: largest  covered %  rejected %  seconds a fit")
    for number, kind in enumerate(KINDS):
        if options.only is not None and number not in options.only:
            continue
        random = np.random.default_rng(number)
        n = max(options.draws, options.power)
        reads = drawn(kind.name, TRUTH[kind.name], kind.noise, kind.write, random, n)
        found = [shortfall(kind, column, k) for k, column in enumerate(reads.T[: options.draws])]
        trains = [train_of(column) for column in reads.T[: options.draws]]
        errors = np.concatenate([covered(kind, train) for train in trains])
        rejected = np.mean([not adequacy_of(fit_train(train, FAMILIES[kind.name])).adequate for train in trains])
        short, share = max(each[0] for each in found), float((np.abs(errors) < 1).mean())
        seconds = float(np.mean([each[2] for each in found]))
        print(
            f"{kind.name:14}  {kind.noise:6}  {kind.write:5}  {short:18.3f}  {100 * share:9.0f}  {100 * rejected:10.0f}"
            f"  {seconds:13.2f}",
            flush=True,
        )
        wrong = told_apart(kind, reads, options.power) if options.power else []
        for row in wrong:
            print(
                f"    {row['wrong']:14} told apart {row['power']:.2f} called inadequate {row['called']:.2f}", flush=True
            )
        if options.out:
            record = {**vars(kind), "short": [each[0] for each in found], "errors": list(errors), "wrong": wrong}
            with open(options.out, "a") as file:
                file.write(json.dumps({**record, "rejected": float(rejected), "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
