"""Floor of a training on a chip before and after it has calibrated itself, and what that takes.

    python benchmarks/chip_calibration.py [--chips 3] [--epochs 300] [--offset 5e-3,5e-2,0.2] [--bias 1e-6]

A student of 6-12-3 with Shockley diodes learns 24 samples of a teacher of the same sizes, whose cost can be 0, by the
signs of comparators and a rate that falls to 0.6 % of itself. The floor is the mean cost of the last tenth of the
epochs. Each chip draws offsets of its amplifiers and biases of its comparators (mean as given, spread 0.3 of it). Both
together have the first of the offsets. The line without either is the floor that the rate leaves.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace

import torch

from analog_ep.calibration.chip import calibrate_chip
from analog_ep.circuit import Chip, LearningCircuit
from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium import Relaxation, solve
from analog_ep.learning import EquilibriumPropagation, Update
from analog_ep.networks import ResistiveNetwork
from analog_ep.stimulus import SquaredError

SIZES, SAMPLES = (6, 12, 3), 24
NUDGING = 1e-6
"""Of both phases. [S]"""

LEARNING_RATE, LAST = 0.02, 0.006


def network(seed: int, biased: bool) -> ResistiveNetwork:
    """Teacher or student."""
    voltage = 1.0 if biased else None
    return ResistiveNetwork(
        SIZES, diode=ShockleyDiode(), gain=4.0, bias_voltage=voltage, seed=seed, dtype=torch.float64
    )


def drawn(seed: int, biased: bool, offset: float, bias: float) -> Chip:
    """A chip with comparators beside its cells.

    Parameters
    ----------
    seed : int
        Of the chip.
    biased : bool
        Whether the network has bias rows.
    offset : float
        Standard deviation of the amplifiers' offsets. [V]
    bias : float
        Mean of the comparators' biases. [V²]
    """
    circuit = network(2, biased).circuit()
    return replace(
        Chip.draw(circuit, seed, offset=offset),
        learning=LearningCircuit.draw(circuit, seed, 0.3 * bias, bias, comparator=True),
    )


def floor(chip: Chip, known: Chip | None, biased: bool, epochs: int) -> float:
    """Mean cost of the last tenth of a training. [V²]"""
    inputs = 2 * torch.rand(SAMPLES, SIZES[0], dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
    targets = solve(network(1, biased), inputs, solver=Relaxation()).outputs.detach()
    student = network(2, biased)
    method = EquilibriumPropagation(student, NUDGING, SquaredError(), chip=chip, known=known)
    optimizer = torch.optim.SGD(student.parameters(), lr=LEARNING_RATE)
    update, costs = Update(optimizer, student), []
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, LAST ** (1 / epochs))
    for _ in range(epochs):
        optimizer.zero_grad()
        costs.append(float(method.backward(inputs, targets)))
        update.step()
        schedule.step()
    return statistics.mean(costs[-max(epochs // 10, 1) :])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chips", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--offset", default="5e-3,5e-2,0.2", help="standard deviations over the amplifiers [V]")
    parser.add_argument("--bias", type=float, default=1e-6, help="mean over the comparators [V²]")
    options = parser.parse_args()
    torch.set_num_threads(1)
    offsets = [float(text) for text in options.offset.split(",")]
    cases = [(0.0, 0.0), *((offset, 0.0) for offset in offsets), (0.0, options.bias), (offsets[0], options.bias)]
    heads = (
        "bias rows",
        "offset [V]",
        "bias [V²]",
        "chip",
        "before [V²]",
        "after [V²]",
        "ratio",
        "reads",
        "comparisons",
    )
    print(" ".join(f"{head:>11}" for head in heads))
    for biased in (True, False):
        for offset, bias in cases:
            for seed in range(options.chips if offset or bias else 1):
                chip = drawn(seed, biased, offset, bias)
                found = calibrate_chip(network(2, biased), chip)
                before, after = (floor(chip, known, biased, options.epochs) for known in (None, found.known))
                measured = (
                    f"{before:11.2e} {after:11.2e} {before / after:11.1f} {found.reads:11} {found.comparisons:11}"
                )
                print(f"{'yes' if biased else 'no':>11} {offset:11g} {bias:11g} {seed:11} {measured}", flush=True)


if __name__ == "__main__":
    main()
