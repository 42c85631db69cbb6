"""A network that was trained with ideal wires, with wires of a resistance, and after learning with them.

    python benchmarks/wires_training.py RUN --data DIR --ohms 1 --tile 128 --epochs 1

Ideal diodes and amplifiers have no scale of their own, so that voltages depend on the product of segment resistance and
conductances alone: 1 ohm beside 1 µS to 1 mS is 10 ohm beside 0.1 µS to 100 µS. Prints accuracy on the test part with
ideal wires, with wires, and after every epoch with wires, and seconds of an epoch.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from analog_ep.equilibrium import Relaxation, solve
from analog_ep.learning import SmallSignal, Update
from analog_ep.networks import CrossbarNetwork, Wires
from analog_ep.runs.building import build_cost, build_dataset
from analog_ep.runs.trained import test_samples, trained_network

_PART = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", help="folder of the data, if it is not where the run has it")
    parser.add_argument("--ohms", type=float, nargs="+", default=[1.0], help="of a segment of rows and columns")
    parser.add_argument("--tile", type=int, help="most rows and columns of a tile")
    parser.add_argument("--epochs", type=int, default=1, help="of learning with the wires")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.002, help="Adam's, of θ = g/g_max; it falls to 0 as a cosine")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    spec, trained = trained_network(options.run, torch.float32)
    if options.data:
        spec = spec.model_copy(update={"data": spec.data.model_copy(update={"source": options.data})})
    data = build_dataset(spec)
    test, targets = test_samples(spec, trained, slice(0, None), None)
    for ohms in options.ohms:
        wires = Wires(ohms, ohms, tile_rows=options.tile, tile_columns=options.tile)
        network = trained.rewired(wires)
        found = {"ohms": ohms, "ideal": accuracy(trained, test, targets), "untrained": accuracy(network, test, targets)}
        print(json.dumps(found), flush=True)
        learn(network, spec, data, options, test, targets)


def accuracy(network: CrossbarNetwork, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    """Share of samples whose largest output is their class."""
    right = 0
    for part, wanted in zip(inputs.split(_PART), targets.split(_PART), strict=True):
        outputs = solve(network, part.float(), solver=Relaxation()).outputs
        right += int((outputs.argmax(1) == wanted.argmax(1)).sum())
    return right / len(inputs)


def learn(network: CrossbarNetwork, spec, data, options, test: torch.Tensor, targets: torch.Tensor) -> None:
    """Train with the wires, and print what came of each epoch."""
    cost = build_cost(spec)
    method = SmallSignal(network, cost)
    optimizer = torch.optim.Adam(network.parameters(), lr=options.rate)
    update = Update(optimizer, network)
    inputs = data.train_inputs.float()
    labels = torch.nn.functional.one_hot(data.train_labels.long()).float()
    steps = options.epochs * -(-len(inputs) // options.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    noise = torch.Generator().manual_seed(0)
    for epoch in range(options.epochs):
        begun = time.perf_counter()
        for index in torch.randperm(len(inputs), generator=noise).split(options.batch):
            spread = spec.training.input_noise * spec.data.input_voltage
            batch = inputs[index] + spread * torch.randn(len(index), inputs.shape[1], generator=noise)
            update.zero_grad()
            method.backward(batch, labels[index])
            update.step()
            schedule.step()
        seconds = time.perf_counter() - begun
        found = {"epoch": epoch + 1, "trained": accuracy(network, test, targets), "seconds": round(seconds, 1)}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
