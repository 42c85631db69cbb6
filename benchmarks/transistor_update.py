"""Processor time of an update of 20,000 transistors from one sample: layers 64-120-10, and a square lattice.

Free state by Newton from 0 V, small-signal gradient and a step of Adam, gate voltages new at each; float64, one thread.
The first update, which compiles and finds the order of elimination, is left out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

import analog_ep as aep
from analog_ep.benchmarking.graph import lattice
from analog_ep.networks import GateNetwork, RangedNetwork
from analog_ep.networks.needs import ranged_of
from analog_ep.runs.building import build_cost, build_dataset, build_network, build_solver
from analog_ep.spec.reading import load_spec, with_values

_Made = tuple[RangedNetwork, aep.SmallSignal, list[tuple[torch.Tensor, torch.Tensor]]]

_SPEC = Path(__file__).parent.parent / "specs" / "digits-nmos.toml"


def layers(samples: int, rounds: int) -> _Made:
    """The recipe of digits with 120 hidden units, and its samples."""
    spec = with_values(load_spec(_SPEC), network={"sizes": [64, 120, 10]})
    network = ranged_of(build_network(spec), "an update", "take the recipe of digits")
    data = build_dataset(spec, network)
    inputs, targets = data.train_inputs.double(), torch.eye(10, dtype=torch.float64)[data.train_labels]
    parts = zip(inputs.split(samples), targets.split(samples), strict=True)
    return network, aep.SmallSignal(network, build_cost(spec), build_solver(spec)), list(parts)[: rounds + 1]


def square(samples: int, rounds: int) -> _Made:
    """The lattice of `analog-ep bench graph --edges level1`."""
    random = torch.Generator().manual_seed(0)
    network = GateNetwork(lattice(20_000, 0, "level1"), (0.5, 3.0))
    parts = [
        (
            torch.rand(samples, 2, dtype=torch.float64, generator=random),
            0.1 * torch.randn(samples, 1, dtype=torch.float64, generator=random),
        )
        for _ in range(rounds + 1)
    ]
    return network, aep.SmallSignal(network, solver=aep.Newton()), parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, make in (("layers", layers), ("lattice", square)):
        network, method, parts = make(arguments.samples, arguments.rounds)
        update = aep.Update(torch.optim.Adam(network.parameters(), lr=0.02), network)
        seconds = []
        for inputs, targets in parts:
            began = time.process_time()
            update.zero_grad()
            method.backward(inputs, targets)
            update.step()
            seconds.append(time.process_time() - began)
        count = sum(parameter.numel() for parameter in network.parameters())
        middle = sorted(seconds[1:])[len(seconds[1:]) // 2]
        print(f"{name}, {count} transistors, {arguments.samples} samples: {middle:.3f} s", flush=True)


if __name__ == "__main__":
    main()
