"""Does a fit of pulse trains find the largest likelihood there is?

python benchmarks/pulse_maxima.py --draws 5

Trains of every family are drawn with noise of 0.1 to 10 steps, with write noise and without. Each is fitted, and its
likelihood maximised from the truth and from points about it, with write noise and without: what the fit falls short of
the best of these, in BIC/2.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from analog_ep.calibration.pulse_fit import _maximise, most_likely_fit
from analog_ep.calibration.pulse_likelihood import PulseLikelihood, PulseTrain
from analog_ep.calibration.step_families import FAMILIES, StepFamily

TRUTH = {
    "ConstantStep": np.log([0.004, 0.005]),
    "LinearStep": np.array([np.log(0.004), 0.7, np.log(0.005), 0.6]),
    "SoftBounds": np.array([np.log(0.004), np.log(0.005), 1.1, -1.1]),
    "ExpStep": np.array([np.log(0.004), -0.5, 1.0, np.log(0.005), -0.4, 1.2]),
    "PowStep": np.array([np.log(0.008), np.log(0.009), 0.3, 0.2, 1.2, -1.2]),
    "PiecewiseStep": np.log([0.008, 0.006, 0.005, 0.004, 0.002, 0.002, 0.003, 0.004, 0.006, 0.007]),
}
NOISES, WRITE = (0.1, 1.0, 3.0, 5.0, 10.0), (0.0, 0.005)
PULSES, CYCLES, STARTS = 400, 2, 5


def drawn(family: StepFamily, x: np.ndarray, noise: float, write: float, random: np.random.Generator) -> PulseTrain:
    """Cycles up and down from w = −0.8."""
    up = np.tile(np.repeat([True, False], PULSES), CYCLES)
    states = np.empty(len(up) + 1)
    states[0] = -0.8
    for k, sign in enumerate(up):
        size = family.step(x, states[k : k + 1], np.array([sign]))[0][0]
        states[k + 1] = states[k] + (1 if sign else -1) * size * (1 + noise * random.normal())
    reads = states + write * random.normal(size=len(states))
    return PulseTrain(reads[:-1], reads[1:], up, np.arange(len(up)) > 0)


def best(train: PulseTrain, family: StepFamily, x: np.ndarray, noise: float, random: np.random.Generator) -> float:
    """Smallest BIC from the truth and from points about it."""
    found = []
    for write in (True, False):
        for k in range(STARTS):
            start = [x + 0.3 * bool(k) * random.normal(size=len(x)), [np.log(noise)], [np.log(5e-3)] if write else []]
            found.append(
                _maximise(PulseLikelihood(train, family, write=write), np.concatenate(start)).bayes_information
            )
    return min(found)


def main() -> None:
    """Print, for every family and noise, what fits fall short of the best, and their time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    print("family          noise  write  largest shortfall  seconds a fit")
    for name, x in TRUTH.items():
        for noise in NOISES:
            for write in WRITE:
                short, seconds = [], 0.0
                for _ in range(options.draws):
                    train = drawn(FAMILIES[name], x, noise, write, random)
                    began = time.process_time()
                    fit = most_likely_fit(train, FAMILIES[name])
                    seconds += time.process_time() - began
                    short.append((fit.bayes_information - best(train, FAMILIES[name], x, noise, random)) / 2)
                print(
                    f"{name:14}  {noise:5}  {write:5}  {max(short):17.3f}  {seconds / options.draws:13.2f}", flush=True
                )


if __name__ == "__main__":
    main()
