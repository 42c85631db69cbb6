"""What a training step of a spec costs: seconds here, and floating-point operations, which hold anywhere.

    python benchmarks/convolution_cost.py specs/cifar10-conv.toml --batch 16 --samples 50000 --tera 20

On made-up samples that fit the network, so that no data are needed; steps before the measurement take the network from
its random beginning, where few sweeps are enough. Operations are those of products with kernels and matrices, as
`torch.utils.flop_counter` counts them, two for a multiplication and an addition. Prints them for a sample,
the free state and of the response, seconds of a step, and hours of an epoch: here, and on a device that sustains
`--tera` times 1e12 operations a second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from analog_ep.benchmarking.recipe import made_up
from analog_ep.datasets import targets_of
from analog_ep.runs.building import build_gradient, build_resistive, build_update
from analog_ep.spec import load_spec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--warm-up", type=int, default=20, help="steps of training before the measurement")
    parser.add_argument("--steps", type=int, default=5, help="that are timed; their median counts")
    parser.add_argument("--samples", type=int, default=50_000, help="of an epoch")
    parser.add_argument("--tera", type=float, default=20.0, help="1e12 operations a second that a device sustains")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    spec = load_spec(options.spec)
    network = build_resistive(spec).to(options.device)
    method, update = build_gradient(spec, network), build_update(spec, network)
    data = made_up(spec)
    inputs, labels = (each.to(options.device) for each in data.part("train"))
    random = torch.Generator().manual_seed(0)
    costs: list[float] = []

    def step() -> float:
        index = torch.randint(len(labels), (options.batch,), generator=random).to(options.device)
        targets = targets_of(labels[index], method.cost, network.n_outputs, like=inputs)
        begin = time.perf_counter()
        update.zero_grad()
        costs.append(float(method.backward(inputs[index], targets)))
        update.step()
        if options.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    for _ in range(options.warm_up):
        step()
    seconds = statistics.median(step() for _ in range(options.steps)) / options.batch
    with FlopCounterMode(display=False) as counter:
        step()
    flop = counter.get_total_flops() / options.batch
    print(
        json.dumps(
            {
                "flop_a_sample": flop,
                "seconds_a_sample": seconds,
                "tera_here": flop / seconds / 1e12,
                "hours_an_epoch_here": seconds * options.samples / 3600,
                "hours_an_epoch_there": flop * options.samples / (options.tera * 1e12) / 3600,
                "cost_first_last": [costs[0], costs[-1]],
            }
        )
    )


if __name__ == "__main__":
    main()
