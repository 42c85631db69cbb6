"""Time of one stochastic-coincidence update of 784 × 100 devices on one thread, beside the ideal outer product.

The settings are the defaults of aihwkit 1.1.0: trains of at most 31 slots, only as long as the largest product needs
(update_bl_management), balanced between rows and columns (update_management), mean step 0.001, cycle-to-cycle noise
0.3, spread of steps and bounds 0.3, range ±0.6. Rows are like the pixels of a digit, a fifth of them bright, uniform in
0…1; columns like errors, normal with deviation 0.1. The time depends on how many pulses a vector gives, and that on the
learning rate: 0.001, 0.01, 0.044 and 0.1 give about 620, 6,270, 27,500 and 62,400. At 27,500 aihwkit takes 0.27 ms.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from analog_ep.devices.pulses import ConstantStep, PulsedArray, SoftBounds
from analog_ep.learning.updates.coincidence import outer_pulses

N_ROWS, N_COLUMNS, VECTORS, ROUNDS = 784, 100, 200, 3
TRAIN_LENGTH, STEP = 31, 0.001


def main() -> None:
    """Print JSON: milliseconds a vector (median and fastest tenth), pulses a vector, and ratios to the ideal update."""
    torch.set_num_threads(1)
    spread: dict[str, Any] = {"step_noise": 0.3, "step_spread": 0.3, "up_down_spread": 0.01}
    spread |= {"w_min_spread": 0.3, "w_max_spread": 0.3}
    models = (ConstantStep(step=STEP, **spread), SoftBounds(step=STEP, **spread))
    print(json.dumps([_measured(model, rate) for model in models for rate in (0.001, 0.01, 0.044, 0.1)], indent=1))


def _measured(model: ConstantStep | SoftBounds, rate: float) -> dict[str, Any]:
    random = torch.Generator().manual_seed(0)
    start = torch.full((N_ROWS, N_COLUMNS), 5e-5)
    array = PulsedArray.over(model, start, (1e-7, 1e-4), seed=0)
    rows = torch.rand((VECTORS, N_ROWS), generator=random) * (torch.rand((VECTORS, N_ROWS), generator=random) < 0.2)
    columns = 0.1 * torch.randn((VECTORS, N_COLUMNS), generator=random) * rate * array.map.slope
    pulsed, ideal = _interleaved(
        lambda k: outer_pulses(array, rows[k], columns[k], TRAIN_LENGTH, True),
        lambda k: start.addr_(rows[k], columns[k]),
    )
    counts = array.potentiations + array.depressions
    median, ideal_median = statistics.median(pulsed), statistics.median(ideal)
    return {
        "device": type(model).__name__,
        "learning_rate": rate,
        "pulses_per_vector": float(counts.sum()) / (ROUNDS * VECTORS),
        "pulsed_ms": median,
        "pulsed_fastest_tenth_ms": statistics.quantiles(pulsed, n=10)[0],
        "ideal_ms": ideal_median,
        "ratio": median / ideal_median,
    }


def _interleaved(*updates: Callable[[int], object]) -> list[list[float]]:
    """Milliseconds of each call of each update, in turn."""
    times: list[list[float]] = [[] for _ in updates]
    for _ in range(ROUNDS):
        for k in range(VECTORS):
            for update, own in zip(updates, times, strict=True):
                began = time.perf_counter()
                update(k)
                own.append(1e3 * (time.perf_counter() - began))
    return times


if __name__ == "__main__":
    main()
