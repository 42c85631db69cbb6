"""Time and memory of fused steps of 784-32768-10 at batch 4, with the MNIST recipe and random inputs, on one thread."""

from __future__ import annotations

import json
import resource
import statistics
import time

import torch

from analog_ep.learning.gradients.propagation import SmallSignal
from analog_ep.learning.updates.fused import FusedStep
from analog_ep.runs.building import build_resistive
from analog_ep.spec import default_spec, with_values
from analog_ep.stimulus import CrossEntropy

SIZES, BATCH, STEPS = [784, 32768, 10], 4, 12


def main() -> None:
    """Print JSON: median seconds of a step, without the first two, and the peak memory of the process in GB."""
    torch.set_num_threads(1)
    network = build_resistive(with_values(default_spec("mnist-ideal"), network={"sizes": SIZES}))
    cost, random = CrossEntropy(0.05), torch.Generator().manual_seed(0)
    fused, seconds = FusedStep(SmallSignal(network, cost), 1e-3), []
    for _ in range(STEPS):
        inputs = 20.0 * torch.rand((BATCH, SIZES[0]), generator=random)
        targets = cost.encode(torch.randint(SIZES[-1], (BATCH,), generator=random), SIZES[-1], like=inputs)
        began = time.perf_counter()
        fused.step(inputs, targets)
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"step_s": statistics.median(seconds[2:]), "peak_gb": peak}))


if __name__ == "__main__":
    main()
