"""Time of one stochastic-coincidence update of 784 × 100 devices on one thread, beside the ideal outer product."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from analog_ep.devices.pulses import ConstantStep, PulsedArray, SoftBounds
from analog_ep.learning.coincidence import outer_pulses

N_ROWS, N_COLUMNS, VECTORS = 784, 100, 200
TRAIN_LENGTH, STEP = 31, 0.001


def main() -> None:
    """Print milliseconds a vector, pulsed devices a vector, and the ratio to the ideal update."""
    torch.set_num_threads(1)
    spread: dict[str, Any] = {"step_noise": 0.3, "step_spread": 0.3, "up_down_spread": 0.01}
    spread |= {"w_min_spread": 0.3, "w_max_spread": 0.3}
    print("device       products   pulses    ms a vector   ideal ms   ratio")
    for model in (ConstantStep(step=STEP, **spread), SoftBounds(step=STEP, **spread)):
        for name, rate in (("small", 0.001), ("middle", 0.01), ("large", 0.1)):
            _measure(model, name, rate)


def _measure(model: ConstantStep | SoftBounds, name: str, rate: float) -> None:
    random = torch.Generator().manual_seed(0)
    start = torch.full((N_ROWS, N_COLUMNS), 5e-5)
    array = PulsedArray.over(model, start, (1e-7, 1e-4), seed=0)
    # Rows as the pixels of a digit, a fifth of them bright; columns as back-propagated errors.
    rows = torch.rand((VECTORS, N_ROWS), generator=random) * (torch.rand((VECTORS, N_ROWS), generator=random) < 0.2)
    columns = 0.1 * torch.randn((VECTORS, N_COLUMNS), generator=random) * rate * array.map.slope
    pulsed = _milliseconds(lambda k: outer_pulses(array, rows[k], columns[k], TRAIN_LENGTH, True))
    ideal = _milliseconds(lambda k: start.addr_(rows[k], columns[k]))
    pulses = float((array.potentiations + array.depressions).sum()) / (2 * VECTORS)
    print(f"{type(model).__name__:<12} {name:<9} {pulses:7.0f}   {pulsed:11.3f}   {ideal:8.4f}   {pulsed / ideal:5.1f}")


def _milliseconds(update: Callable[[int], object]) -> float:
    times = []
    for _ in range(2):
        for k in range(VECTORS):
            began = time.perf_counter()
            update(k)
            times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)


if __name__ == "__main__":
    main()
